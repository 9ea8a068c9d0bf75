"""Training: the whole loop in sight.

A run folder holds settings.json, split.json, history.csv and checkpoint.safetensors, each written
whole or not at all. The same call again goes on from the last checkpoint: patches are numbered, so
that a resumed run sees those that it would have seen.
"""

from __future__ import annotations

import itertools
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler

from gliomaseg.config import Settings
from gliomaseg.errors import TrainingError
from gliomaseg.imaging.case import Case
from gliomaseg.learning.dataset import PatchDataset, PreparedCase, Split, prepare_cases, split_by_patient
from gliomaseg.learning.loss import build_loss
from gliomaseg.learning.network import build_network, channels_last
from gliomaseg.learning.run import History, Row, Run, load_weights, open_run, weights
from gliomaseg.learning.validation import validate

Progress = Callable[[float, str], None]


@dataclass
class _State:
    """What a training is at one moment; all of it is in the checkpoint."""

    network: nn.Module
    average: nn.Module
    optimizer: torch.optim.AdamW
    step: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)


def train(
    cases: Sequence[Case], folder: Path, settings: Settings, *, cache: Path | None = None, progress: Progress
) -> Run:
    """Train a network on ``cases`` into ``folder``, or go on with the training that is there.

    ``cache`` is where prepared cases are kept (default: ``folder``/cache). ``progress`` is told the
    fraction done and a line of text. Ctrl-C and SIGTERM save a checkpoint and end the training.
    Raises TrainingError (E-RUN, E-FEWCASES, E-LOSS), CaseError and ImageError for the cases.
    """
    run = open_run(folder, settings)
    prepared = prepare_cases(cases, settings, cache or folder / "cache", lambda f, text: progress(0, text))
    split = run.keep_split(
        split_by_patient(prepared, folds=settings.training.folds, fold=settings.training.fold)
    )
    state = _start(settings)
    run.load(state)
    history = run.read_history(state.step)
    held_out = [case for case in prepared if case.id in split.validation]
    _loop(run, state, history, _patches(prepared, split, settings, state.step), held_out, progress)
    return run


def _start(settings: Settings) -> _State:
    torch.manual_seed(settings.training.seed)
    dimensions = settings.network.dimensions
    network = channels_last(build_network(settings.network), dimensions)
    average = channels_last(build_network(settings.network), dimensions)
    load_weights(average, weights(network))
    optimizer = torch.optim.AdamW(
        network.parameters(),
        lr=settings.training.learning_rate,
        weight_decay=settings.training.weight_decay,
    )
    return _State(network, average.requires_grad_(False), optimizer)


def _loop(
    run: Run,
    state: _State,
    history: History,
    patches: Iterator[tuple[Tensor, Tensor]],
    held_out: Sequence[PreparedCase],
    progress: Progress,
) -> None:
    settings = run.settings
    loss_of = build_loss(settings)
    autocast = choose_precision(state.network, settings)
    saved = validated = state.seconds
    state.network.train()
    with _stop_on_signal() as stop:
        while (done := fraction_done(state.step, state.seconds, settings)) < 1 and not stop.is_set():
            started = time.monotonic()
            rate = _learning_rate(done, state.step, settings)
            state.losses.append(_step(state, next(patches), loss_of, rate, autocast, settings))
            state.seconds += time.monotonic() - started
            progress(done, _line(state, done))
            if state.step % 25 == 0:
                history.add(Row(state.step, state.seconds / 60, _recent(state.losses), rate))
            if state.seconds - validated > 60 * settings.training.validate_minutes and held_out:
                validated = state.seconds
                history.add_scores(validate(state.average, held_out, settings, autocast))
            if state.seconds - saved > 60 * settings.training.checkpoint_minutes:
                saved = state.seconds
                run.save(state, history)
        if not stop.is_set() and held_out and not history.is_final:
            progress(1, "validating on the held-out cases")
            history.add_scores(validate(state.average, held_out, settings, autocast), final=True)
    run.save(state, history)
    if stop.is_set():
        raise KeyboardInterrupt


def _step(
    state: _State,
    batch: tuple[Tensor, Tensor],
    loss_of: Callable[[Sequence[Tensor], Tensor], Tensor],
    rate: float,
    autocast: bool,
    settings: Settings,
) -> float:
    image, regions = batch
    order = torch.channels_last_3d if image.ndim == 5 else torch.channels_last
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        outputs = state.network(image.to(memory_format=order))
    loss = loss_of(outputs, regions)
    if not math.isfinite(loss.item()):
        raise TrainingError(
            "E-LOSS",
            f"the loss became {loss.item()} at step {state.step + 1}",
            expected="a finite loss",
            remedy="run the same command again to go on from the last checkpoint; if it comes back, "
            "lower --set training.learning_rate or use --set training.precision=fp32",
        )
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(state.network.parameters(), settings.training.clip_gradient)
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    state.optimizer.step()
    state.optimizer.zero_grad()
    state.step += 1
    _follow(state, settings.training.ema)
    return loss.item()


@torch.no_grad()
def _follow(state: _State, decay: float) -> None:
    """Move the averaged weights towards the present ones; faster at first, while these change most."""
    decay = min(decay, (1 + state.step) / (10 + state.step))
    averaged, present = weights(state.average), weights(state.network)
    for name, value in averaged.items():
        if value.is_floating_point():
            value.lerp_(present[name], 1 - decay)
        else:
            value.copy_(present[name])


def fraction_done(step: int, seconds: float, settings: Settings) -> float:
    """Return how much of the training is done, from 0 to 1, by its time budget or its steps."""
    if settings.training.hours is not None:
        return min(1.0, seconds / (3600 * settings.training.hours))
    return min(1.0, step / settings.training.steps)


def _learning_rate(done: float, step: int, settings: Settings) -> float:
    """Return the poly schedule with exponent 0.9 (nnU-Net's), after a linear warm-up."""
    warm = min(1.0, (step + 1) / max(1, settings.training.warmup_steps))
    return float(settings.training.learning_rate * warm * (1 - done) ** 0.9)


def choose_precision(network: nn.Module, settings: Settings) -> bool:
    """Return whether to compute in bf16: where the CPU has it and the result agrees with fp32.

    Some builds of PyTorch are reported to convolve wrongly in bf16, so the two are compared once.
    """
    wanted = settings.training.precision
    if wanted != "auto":
        return wanted == "bf16"
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    size = (32,) * settings.network.dimensions
    image = torch.randn(1, len(settings.network.modalities), *size, generator=torch.Generator().manual_seed(0))
    network.eval()
    with torch.no_grad():
        exact = network(image)[0]
        with torch.autocast("cpu", torch.bfloat16):
            short = network(image)[0].float()
    network.train()
    return bool((short - exact).abs().mean() <= 0.05 * exact.abs().mean() + 1e-3)


class _Remaining(Sampler[int]):
    """The numbers of the patches that are still to come."""

    def __init__(self, start: int, stop: int) -> None:
        self.numbers = range(start, stop)

    def __iter__(self) -> Iterator[int]:
        return iter(self.numbers)

    def __len__(self) -> int:
        return len(self.numbers)


def _patches(
    prepared: Sequence[PreparedCase], split: Split, settings: Settings, step: int
) -> Iterator[tuple[Tensor, Tensor]]:
    training = settings.training
    chosen = [case for case in prepared if case.id in split.train]
    length = 1 << 40 if training.hours else training.steps * training.batch
    loader = DataLoader(
        PatchDataset(chosen, settings, length),
        batch_size=training.batch,
        sampler=_Remaining(step * training.batch, length),
        num_workers=training.workers,
        prefetch_factor=4 if training.workers else None,
        worker_init_fn=_quiet_worker,
    )
    return itertools.chain.from_iterable([loader])


def _quiet_worker(_: int) -> None:
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _stop_on_signal() -> Iterator[threading.Event]:
    """Turn Ctrl-C and SIGTERM into an event, so that a step is finished before the run is saved."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    kept = {kind: signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)}
    for kind in kept:
        signal.signal(kind, lambda *_: stop.set())
    try:
        yield stop
    finally:
        for kind, handler in kept.items():
            signal.signal(kind, handler)


def _recent(losses: list[float]) -> float:
    del losses[:-50]
    return sum(losses) / len(losses)


def _line(state: _State, done: float) -> str:
    return f"step {state.step}  loss {_recent(state.losses):.3f}"
