"""The plan of a training: its data, the memory that it needs on this computer, and how long it takes.

The time is that of a few steps on real patches with a copy of the network, so that planning changes nothing.
Memory is counted before that, without computing.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from gliomaseg.inference import hardware
from gliomaseg.storage import files
from gliomaseg.training.cache import PreparedCase
from gliomaseg.training.dataset import PatchDataset
from gliomaseg.training.fingerprint import Fingerprint, take_fingerprint
from gliomaseg.training.loss import build_loss
from gliomaseg.training.network import count_memory, count_parameters, memory_format
from gliomaseg.training.state import State

#: Steps that are timed, after one to warm up.
_TIMED = 2
#: Share of the free memory that a training may need without advice.
_SAFE = 0.8


@dataclass(frozen=True)
class Plan:
    """The size of a training; seconds are wall-clock on this computer, memory is in bytes.

    ``memory`` is an estimate for weights and one process's patches in fp32. ``step_seconds`` is the time of a
    forward and a backward pass with these patches, None if the free memory seems too small. ``read_seconds``
    is the time in which one worker reads them. ``hours`` includes validations, estimated from the steps.
    """

    data: Fingerprint
    training_cases: int
    held_out_cases: int
    network: str
    parameters: int
    patch: tuple[int, ...]
    batch: int
    processes: int
    workers: int
    precision: str
    device: str
    cores: int
    free_memory: int | None
    memory: int
    step_seconds: float | None
    read_seconds: float
    steps: int
    hours: float | None
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as plain values, for JSON."""
        return {**asdict(self), "advice": self.advice}

    def rows(self) -> list[list[str]]:
        """Return the plan as text, rows under a header, without the advice."""
        free = "unknown" if self.free_memory is None else f"{self.free_memory / 1e9:.1f} GB free"
        share = f", {self.processes} processes" if self.processes > 1 else ""
        size = " x ".join(map(str, self.patch))
        rest = [
            ["split", f"{self.training_cases} cases to train on, {self.held_out_cases} held out"],
            ["network", f"{self.network}, {self.parameters:,} parameters"],
            ["step", f"{self.batch} patches of {size} voxels, {self.precision}{share}"],
            ["hardware", f"{self.device}, {self.cores} cores, {free}"],
            ["memory", f"about {self.memory / 1e9:.2f} GB, counted for fp32, in each process"],
            ["time", self._time()],
        ]
        return [["what", "found"], *map(list, self.data.rows()), *rest]

    @property
    def advice(self) -> list[str]:
        """Return notes, problems and their remedies, each a sentence."""
        advice = list(self.notes)
        if self.free_memory is not None and self.memory > _SAFE * self.free_memory:
            advice.append(
                f"memory: about {self.memory / 1e9:.1f} GB needed, {self.free_memory / 1e9:.1f} GB free; "
                "lower --set training.batch or training.patch, or choose a smaller preset"
            )
        least = [axis.least for axis in self.data.box]
        over = [n for n, there in zip(self.patch, least, strict=False) if n > there]
        if over:
            advice.append(
                f"patch: {max(over)} voxels exceed the smallest brain's box ({min(least):.0f}); "
                "the rest of such a patch is 0"
            )
        if self.data.without.get("et"):
            advice.append(
                f"labels: {self.data.without['et']} cases lack enhancing tumour; their Dice of ET is 0 or 1"
            )
        if (
            self.step_seconds is not None
            and self.workers
            and self.read_seconds > self.step_seconds * self.workers
        ):
            wanted = min(round(self.read_seconds / self.step_seconds) + 1, self.cores)
            advice.append(
                f"workers: reading takes longer than computing; try --set training.workers={wanted}"
            )
        if self.workers == 0 and self.cores > 1:
            advice.append(
                "workers: patches are read in the training process; --set training.workers=1 is faster"
            )
        return advice

    def text(self) -> str:
        """Return the plan as text, a line for each row."""
        return "\n".join(["plan:", *[f"  {what}: {found}" for what, found in self.rows()[1:]], *self.advice])

    def _time(self) -> str:
        if self.step_seconds is None or self.hours is None:
            return "not measured: the free memory seems too small"
        lasts = f"{60 * self.hours:.0f} minutes" if self.hours < 3 else f"{self.hours:.1f} hours"
        return (
            f"about {lasts}: {self.steps} steps of {self.step_seconds:.2f} s (the mean of {_TIMED}), with "
            f"validations (estimated); reading takes {self.read_seconds:.2f} s a step, in {self.workers} "
            "workers"
        )


def make_plan(
    state: State, patches: PatchDataset, held_out: Sequence[PreparedCase], folder: Path | None = None
) -> Plan:
    """Return the plan of a training, also in ``folder``/plan.json; doesn't change ``state``."""
    settings, accelerator, notes = state.settings, state.accelerator, state.settings.notes
    share = max(1, settings.training.batch // accelerator.num_processes)
    data = take_fingerprint([*patches.cases, *held_out])
    parameters = count_parameters(state.network)
    memory = count_memory(state.network, settings, share)
    is_cuda = accelerator.device.type == "cuda"
    free = torch.cuda.mem_get_info()[0] if is_cuda else hardware.free_memory()
    device = torch.cuda.get_device_name() if is_cuda else hardware.cpu_name()
    read, step = _measure(state, patches, share, fits=free is None or memory <= free)
    steps, hours = _length(state, step, read, held_out)
    plan = Plan(
        data=data,
        training_cases=len(patches.cases),
        held_out_cases=len(held_out),
        network=f"{settings.network.name} in {settings.network.dimensions}D",
        parameters=parameters,
        patch=settings.training.patch,
        batch=settings.training.batch,
        processes=accelerator.num_processes,
        workers=settings.training.workers,
        precision="bf16" if state.bf16 else "fp32",
        device=device,
        cores=hardware.cores(),
        free_memory=free,
        memory=memory,
        step_seconds=step,
        read_seconds=read,
        steps=steps,
        hours=hours,
        notes=notes,
    )
    if folder is not None and accelerator.is_main_process:
        files.write_json(folder / "plan.json", plan.as_dict())
    return plan


def _measure(state: State, patches: PatchDataset, count: int, *, fits: bool) -> tuple[float, float | None]:
    """Return the seconds of reading ``count`` patches, and of a step on them, None if they don't fit.

    The first patch is not timed, as it opens files; nor is the first step.
    """
    read = [patches[0]]
    started = time.monotonic()
    read += [patches[number] for number in range(1, max(2, count))]
    seconds = (time.monotonic() - started) / max(1, count - 1) * count
    if not fits:
        return seconds, None
    settings, device = state.settings, state.accelerator.device
    image, target = (torch.stack(part).float().to(device) for part in zip(*read[:count], strict=True))
    image = image.to(memory_format=memory_format(settings.network.dimensions))
    network, loss_of = copy.deepcopy(state.network).train(), build_loss(settings)
    for step in range(1 + _TIMED):
        if step == 1:
            started = time.monotonic()
        with torch.autocast(device.type, torch.bfloat16, enabled=state.bf16):
            outputs = network(image)
        loss = loss_of(outputs, target)
        loss.backward()
        loss.item()  # waits for a GPU
    return seconds, (time.monotonic() - started) / _TIMED


def _length(
    state: State, step: float | None, read: float, held_out: Sequence[PreparedCase]
) -> tuple[int, float | None]:
    """Return the number of steps, and the hours with validations."""
    training = state.settings.training
    if step is None:
        return training.steps, None
    each = max(step, read / training.workers) if training.workers else step + read
    steps = round(3600 * training.hours / each) if training.hours else training.steps
    voxels = sum(case.label.size for case in held_out) / state.accelerator.num_processes
    seen = torch.Size(training.patch).numel() * training.batch / state.accelerator.num_processes
    validation = step / 3 * voxels / seen  # a backward pass takes about two forward passes
    validations = steps * each / 60 // training.validate_minutes + 1
    return steps, (steps * each + validations * validation) / 3600
