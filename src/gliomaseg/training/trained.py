"""Trained networks: built from runs, stored in bundles, and used as initial weights."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gliomaseg.errors import ModelError, TrainingError
from gliomaseg.inference.bundle import WEIGHTS, Bundle
from gliomaseg.storage import files
from gliomaseg.training.network import build_network
from gliomaseg.training.run import (
    Run,
    averaged_weights,
    load_run,
    load_weights,
    read_tensors,
    weights,
    write_tensors,
)
from gliomaseg.training.split import Split
from gliomaseg.training.target import channel_count, probabilities

#: Tensors with fewer axes are small and stay as they are; the others are stored with their step.
_LEAST_AXES = 2
_STEP = ".step"


class Trained(nn.Module):
    """The averaged networks of runs as one: the mean of their probabilities (batch, region, *space).

    There is one network for each run; ``seen`` are cases that other weights in the average were trained on.
    """

    def __init__(self, runs: Sequence[Run], networks: Sequence[nn.Module], seen: Sequence[str] = ()) -> None:
        super().__init__()
        self.runs = list(runs)
        self.networks = nn.ModuleList(networks)
        self.kinds = [run.settings for run in runs]
        self.settings = runs[0].settings
        self.dimensions = self.settings.network.dimensions
        before = {case for run in runs for case in trained_before(run)}
        self.split = _joined([run.read_split() for run in runs], before.union(seen))

    def forward(self, image: Tensor) -> Tensor:
        """Return probabilities of a prepared image (batch, modality, *space)."""
        each = [
            probabilities(network(image)[0], settings)
            for network, settings in zip(self.networks, self.kinds, strict=True)
        ]
        return each[0] if len(each) == 1 else torch.stack(each).mean(0)


def load_trained(runs: Sequence[Run], *, best: bool = False, average_with: Sequence[Initial] = ()) -> Trained:
    """Return the averaged networks of runs; raises TrainingError (E-RUN) if their inputs or networks differ.

    Each has the mean of its run's weights and those of ``average_with``: if the run began with these, the
    mean is often better than either on cases unlike those of the training (Wortsman et al. 2022, "Robust
    fine-tuning of zero-shot models").
    """
    first = runs[0].settings
    for run in runs[1:]:
        mine, other = (
            (s.prepare, s.network.modalities, s.network.regions, s.network.dimensions, s.network.window)
            for s in (first, run.settings)
        )
        if mine != other:
            raise TrainingError(
                "E-RUN",
                f"{run.folder} and {runs[0].folder} were trained on other inputs or for other regions",
                expected="runs of the same prepare settings, modalities, regions and dimensions",
                remedy="export them one by one",
            )
    networks = []
    for run in runs:
        tensors = _mean([averaged_weights(run, best=best), *(other.tensors for other in average_with)])
        network = build_network(run.settings.network, channel_count(run.settings))
        load_weights(network, tensors)
        networks.append(network.eval())
    return Trained(runs, networks, [case for other in average_with for case in other.trained_on])


def _mean(each: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean of tensors by name; whole numbers, which count batches, are the first's."""
    first = each[0]
    if any({k: v.shape for k, v in e.items()} != {k: v.shape for k, v in first.items()} for e in each):
        raise TrainingError(
            "E-RUN",
            "weights of different networks have no mean",
            expected="runs of the same network settings, one begun with the weights of the other",
            remedy="leave out --average-with: the mean of runs' probabilities is always possible",
        )
    return {
        name: torch.stack([tensors[name] for tensors in each]).mean(0)
        if tensor.is_floating_point()
        else tensor
        for name, tensor in first.items()
    }


def _joined(splits: Sequence[Split], before: set[str]) -> Split:
    """Return all cases that were trained on, also ``before``, and the held-out cases that never were."""
    held_out = [case for split in splits for case in (*split.validation, *split.test)]
    if len(splits) == 1 and not before:
        return Split(splits[0].train, tuple(held_out))
    train = {case for split in splits for case in split.train}.union(before)
    return Split(tuple(sorted(train)), tuple(sorted(set(held_out) - train)))


def write_weights(trained: Trained, path: Path) -> dict[str, Any]:
    """Write the weights of the networks into a bundle, in 8-bit numbers; return their record.

    That is half the size of fp16. Networks unlike the first are left out: the settings of the bundle don't
    describe them.
    """
    kinds = [(settings.network, settings.training.target) for settings in trained.kinds]
    alike = [net for net, kind in zip(trained.networks, kinds, strict=True) if kind == kinds[0]]
    each = [weights(network) for network in alike]
    write_tensors(
        path, in_8_bits({f"{n}.{name}": t for n, own in enumerate(each) for name, t in own.items()})
    )
    return {"stored_as": "int8", "networks": len(alike)}


def in_8_bits(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors by name, each channel rounded to 255 steps up to its largest weight, and the steps."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if tensor.ndim < _LEAST_AXES:
            found[name] = tensor
            continue
        step = tensor.abs().amax(tuple(range(1, tensor.ndim)), keepdim=True).clamp_min(1e-12) / 127
        found[name], found[name + _STEP] = (tensor / step).round().to(torch.int8), step
    return found


def from_8_bits(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors that ``in_8_bits`` rounded, as fp32."""
    steps = {n.removesuffix(_STEP): step for n, step in tensors.items() if n.endswith(_STEP)}
    whole = {name: tensor for name, tensor in tensors.items() if not name.endswith(_STEP)}
    return whole | {name: whole[name] * step for name, step in steps.items()}


def read_weights(bundle: Bundle) -> list[dict[str, Tensor]]:
    """Return the weights of each network by name, as fp32; raises ModelError (E-MODEL) if there are none."""
    if "weights" not in bundle.about:
        raise ModelError(
            "E-MODEL",
            f"the bundle {bundle.name} holds no weights for PyTorch",
            expected=f"a bundle with {WEIGHTS}, as gliomaseg export writes it since 0.2",
            remedy="export its run again; to segment use --device cpu, to train on name the run's folder",
        )
    tensors = from_8_bits(read_tensors(bundle.folder / WEIGHTS))
    if "networks" not in bundle.about["weights"]:  # the first bundles had the weights of one, without number
        return [tensors]
    found: list[dict[str, Tensor]] = [{} for _ in range(bundle.about["weights"]["networks"])]
    for name, tensor in tensors.items():
        number, _, own = name.partition(".")
        found[int(number)][own] = tensor
    return found


def load_networks(bundle: Bundle) -> list[nn.Module]:
    """Return the networks that a bundle is the mean of; raises ModelError (E-MODEL) if it lacks weights."""
    stored, count = read_weights(bundle), bundle.about.get("networks", 1)
    if len(stored) < count:
        raise ModelError(
            "E-MODEL",
            f"{bundle.name} is the mean of {count} networks and has weights for PyTorch of {len(stored)}",
            expected="networks of one kind, or one network",
            remedy="use --device cpu",
        )
    networks = []
    for tensors in stored:
        network = build_network(bundle.settings.network, channel_count(bundle.settings))
        load_weights(network, tensors)
        networks.append(network.eval())
    return networks


@dataclass(frozen=True)
class Initial:
    """Initial weights of a training, and the cases that they were trained on."""

    name: str
    tensors: dict[str, Tensor]
    trained_on: tuple[str, ...]


def read_initial(source: str) -> Initial:
    """Return the weights of ``shipped``, of a bundle's folder, or of a run's.

    Raises ModelError (E-MODEL) for a bundle without them, and what reading a bundle or run raises.
    """
    if (Path(source) / "checkpoint.safetensors").is_file():
        run = load_run(Path(source))
        return Initial(
            run.folder.name, averaged_weights(run), (*run.read_split().train, *trained_before(run))
        )
    bundle = Bundle.load(source)
    return Initial(bundle.name, read_weights(bundle)[0], tuple(bundle.about["trained_on"]))


def keep_initial(run: Run, initial: Initial) -> None:
    """Record the initial weights in the run folder, so that its bundle names all cases trained on."""
    seen = {"name": initial.name, "trained_on": sorted(initial.trained_on)}
    files.write_json(run.folder / "initial.json", seen)


def trained_before(run: Run) -> tuple[str, ...]:
    """Return the cases that the initial weights of a run were trained on; none for random weights."""
    path = run.folder / "initial.json"
    if not path.exists():
        return ()
    return tuple(json.loads(path.read_text(encoding="utf-8"))["trained_on"])
