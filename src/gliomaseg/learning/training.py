"""Training: the whole loop in sight.

A run folder holds settings.json, split.json, history.csv and checkpoint.safetensors, each written
whole or not at all. The same call again goes on from the last checkpoint: patches are numbered, so
that a resumed run sees those that it would have seen.
"""

from __future__ import annotations

import ctypes
import math
import platform
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

from gliomaseg.config import Settings
from gliomaseg.errors import TrainingError
from gliomaseg.imaging.case import Case
from gliomaseg.learning.dataset import PatchDataset, PreparedCase, prepare_cases, split_by_patient
from gliomaseg.learning.loss import Loss, build_loss
from gliomaseg.learning.network import agrees_in_bf16, build_network, channels_last
from gliomaseg.learning.run import History, Row, Run, load_weights, open_run, weights
from gliomaseg.learning.validation import validate

Progress = Callable[[float, str], None]
Batch = tuple[Tensor, Tensor]

#: Steps between the rows of history.csv; the loss in them is the mean of the last _RECENT steps.
_LOG_STEPS = 25
_RECENT = 50
#: More steps than any time budget has room for.
_ENDLESS = 1 << 40
#: glibc's numbers of M_MMAP_MAX, M_TRIM_THRESHOLD and M_TOP_PAD, with what they are set to.
_MALLOC_OPTIONS = {-4: 0, -1: 2**31 - 1, -2: 1 << 28}


@dataclass
class _State:
    """What a training is at one moment; all but the recent losses is in the run folder."""

    settings: Settings
    network: nn.Module
    average: nn.Module
    optimizer: torch.optim.AdamW
    step: int = 0
    seconds: float = 0.0
    losses: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))
    history: History = field(default_factory=History)
    bf16: bool = False

    @property
    def done(self) -> float:
        """Return how much of the training is done, from 0 to 1, by its time budget or its steps."""
        training = self.settings.training
        if training.hours is not None:
            return min(1.0, self.seconds / (3600 * training.hours))
        return min(1.0, self.step / training.steps)

    @property
    def rate(self) -> float:
        """Return the learning rate of the next step: poly, exponent 0.9 (nnU-Net's), after a warm-up."""
        training = self.settings.training
        warm = min(1.0, (self.step + 1) / max(1, training.warmup_steps))
        return float(training.learning_rate * warm * (1 - self.done) ** 0.9)

    @property
    def loss(self) -> float:
        """Return the mean loss of the last steps, counted from where the training was resumed."""
        return sum(self.losses) / len(self.losses) if self.losses else math.nan

    def log(self) -> None:
        """Add the present line to the history, with the learning rate of the last step."""
        rate = self.optimizer.param_groups[0]["lr"]
        self.history.add(Row(self.step, self.seconds / 60, self.loss, rate))


def train(
    cases: Sequence[Case], folder: Path, settings: Settings, *, cache: Path | None = None, progress: Progress
) -> Run:
    """Train a network on ``cases`` into ``folder``, or go on with the training that is there.

    ``cache`` is where prepared cases are kept (default: ``folder``/cache). ``progress`` is told the
    fraction done and a line of text. Ctrl-C and SIGTERM save a checkpoint and end the training.
    Raises TrainingError (E-RUN, E-FEWCASES, E-LOSS), CaseError and ImageError for the cases.
    """
    keep_freed_memory()
    run = open_run(folder, settings)
    prepared = prepare_cases(cases, settings, cache or folder / "cache", lambda _, text: progress(0, text))
    split = run.keep_split(
        split_by_patient(prepared, folds=settings.training.folds, fold=settings.training.fold)
    )
    state = _begin(run)
    held_out = [case for case in prepared if case.id in split.validation]
    patches = _patches([case for case in prepared if case.id in split.train], settings, state.step)
    _loop(run, state, patches, held_out, progress)
    return run


def _begin(run: Run) -> _State:
    """Return the state of the last checkpoint, of fresh networks if there is none."""
    settings = run.settings
    torch.manual_seed(settings.training.seed)
    network, average = (
        channels_last(build_network(settings.network), settings.network.dimensions) for _ in range(2)
    )
    load_weights(average, weights(network))
    optimizer = torch.optim.AdamW(
        network.parameters(),
        lr=settings.training.learning_rate,
        weight_decay=settings.training.weight_decay,
    )
    state = _State(settings, network, average.requires_grad_(False), optimizer)
    run.load(state)
    state.history = run.read_history(state.step)
    wanted = settings.training.precision
    state.bf16 = agrees_in_bf16(network, settings.network) if wanted == "auto" else wanted == "bf16"
    return state


def _loop(
    run: Run,
    state: _State,
    patches: Iterator[Batch],
    held_out: Sequence[PreparedCase],
    progress: Progress,
) -> None:
    settings = run.settings.training
    loss_of = build_loss(run.settings)
    saved = validated = state.seconds
    state.network.train()
    with _stop_on_signal() as stop:
        while state.done < 1 and not stop.is_set():
            started = time.monotonic()
            _step(state, next(patches), loss_of)
            state.seconds += time.monotonic() - started
            progress(state.done, f"step {state.step}  loss {state.loss:.3f}")
            if state.step % _LOG_STEPS == 0:
                state.log()
            if held_out and state.seconds - validated > 60 * settings.validate_minutes:
                validated = state.seconds
                _score(run, state, _until(stop, held_out, state, progress))
            if state.seconds - saved > 60 * settings.checkpoint_minutes:
                saved = state.seconds
                run.save(state)
        if held_out and not stop.is_set() and not state.history.is_final:
            _score(run, state, _until(stop, held_out, state, progress))
        run.save(state)
    if stop.is_set():
        raise KeyboardInterrupt


def _step(state: _State, batch: Batch, loss_of: Loss) -> None:
    """Move the network by one batch, then the average towards it; raises TrainingError (E-LOSS)."""
    image, regions = batch
    training = state.settings.training
    for group in state.optimizer.param_groups:
        group["lr"] = state.rate
    with torch.autocast("cpu", torch.bfloat16, enabled=state.bf16):
        outputs = state.network(channels_last(image, state.settings.network.dimensions))
    loss = loss_of(outputs, regions)
    loss.backward()
    norm = nn.utils.clip_grad_norm_(state.network.parameters(), training.clip_gradient)
    if not (math.isfinite(loss.item()) and math.isfinite(norm.item())):
        raise TrainingError(
            "E-LOSS",
            f"step {state.step + 1} has a loss of {loss.item():g} and a gradient of norm {norm.item():g}",
            expected="finite numbers",
            remedy="run the same command again to go on from the last checkpoint; if it comes back, begin "
            "a new run with a lower --set training.learning_rate or --set training.precision=fp32",
        )
    state.optimizer.step()
    state.optimizer.zero_grad()
    state.losses.append(loss.item())
    state.step += 1
    _follow(state.average, state.network, min(training.ema, (1 + state.step) / (10 + state.step)))


@torch.no_grad()
def _follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the averaged weights, and the statistics of batch norm, towards the present ones.

    ``decay`` is smaller at first, while these change most.
    """
    present = weights(network)
    for name, value in weights(average).items():
        if value.is_floating_point():
            value.lerp_(present[name], 1 - decay)
        else:
            value.copy_(present[name])


def _score(run: Run, state: _State, cases: Iterable[PreparedCase]) -> None:
    """Save, for it takes minutes, then put the Dice of the averaged network into the history."""
    state.log()
    run.save(state)
    scores = validate(state.average, cases, state.settings, bf16=state.bf16)
    state.history.add_scores(scores, final=state.done == 1)


def _until(
    stop: threading.Event, cases: Sequence[PreparedCase], state: _State, progress: Progress
) -> Iterator[PreparedCase]:
    """Yield the cases; raises KeyboardInterrupt once a signal came."""
    for case in cases:
        if stop.is_set():
            raise KeyboardInterrupt
        progress(state.done, f"step {state.step}  validating {case.id}")
        yield case


def _patches(cases: Sequence[PreparedCase], settings: Settings, step: int) -> Iterator[Batch]:
    """Yield the batches from ``step`` on; reading begins, in other processes, with the first."""
    training = settings.training
    steps = training.steps if training.hours is None else _ENDLESS
    yield from DataLoader(
        Subset(PatchDataset(cases, settings), range(step * training.batch, steps * training.batch)),
        batch_size=training.batch,
        num_workers=training.workers,
        prefetch_factor=4 if training.workers else None,
        worker_init_fn=_quiet_worker,
    )


def _quiet_worker(_: int) -> None:
    torch.set_num_threads(1)
    for kind in (signal.SIGINT, signal.SIGTERM):  # the training process saves first, then ends them
        signal.signal(kind, signal.SIG_IGN)


@contextmanager
def _stop_on_signal() -> Iterator[threading.Event]:
    """Turn Ctrl-C and SIGTERM into an event, so that a step is finished before the run is saved."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    kept = {kind: signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)}
    received: list[int] = []

    def note(number: int, _: object) -> None:
        received.append(number)
        stop.set()

    for kind in kept:
        signal.signal(kind, note)
    try:
        yield stop
    finally:
        for kind, handler in kept.items():
            signal.signal(kind, handler)
        handler = kept.get(signal.Signals(received[0])) if received else None
        if callable(handler):  # now that all is saved, the signal does what it would have done
            handler(received[0], None)


def keep_freed_memory() -> None:
    """Tell glibc to keep what is freed for the next step; does nothing where there is no glibc.

    Each step allocates and frees the same large tensors. By default glibc fetches each from the kernel
    and gives it back, and clearing those pages takes 15-20 % of the time; kept, 3 % (2 cores, 96^3).
    It holds for the whole process: memory stays at its peak.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    for option, value in _MALLOC_OPTIONS.items():
        mallopt(option, value)
