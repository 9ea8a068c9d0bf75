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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

from gliomaseg.config import Settings
from gliomaseg.errors import TrainingError
from gliomaseg.imaging.case import Case
from gliomaseg.learning.dataset import PatchDataset, PreparedCase, Split, prepare_cases, split_by_patient
from gliomaseg.learning.loss import Loss, build_loss
from gliomaseg.learning.network import agrees_in_bf16, build_network, channels_last
from gliomaseg.learning.run import History, Row, Run, load_weights, open_run, weights
from gliomaseg.learning.validation import validate

Progress = Callable[[float, str], None]
Batch = tuple[Tensor, Tensor]

#: Steps between the rows of history.csv; the loss in them is the mean of the last _RECENT steps.
_LOG_STEPS = 25
_RECENT = 50


@dataclass
class _State:
    """What a training is at one moment; all but the recent losses is in the checkpoint."""

    settings: Settings
    network: nn.Module
    average: nn.Module
    optimizer: torch.optim.AdamW
    loss_of: Loss
    step: int = 0
    seconds: float = 0.0
    losses: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))

    @property
    def done(self) -> float:
        """Return how much of the training is done, from 0 to 1, by its time budget or its steps."""
        training = self.settings.training
        if training.hours is not None:
            return min(1.0, self.seconds / (3600 * training.hours))
        return min(1.0, self.step / training.steps)

    @property
    def rate(self) -> float:
        """Return the learning rate of the next step: poly with exponent 0.9 (nnU-Net's) after a warm-up."""
        training = self.settings.training
        warm = min(1.0, (self.step + 1) / max(1, training.warmup_steps))
        return float(training.learning_rate * warm * (1 - self.done) ** 0.9)

    @property
    def loss(self) -> float:
        """Return the mean loss of the last steps since the training began or was resumed."""
        return sum(self.losses) / len(self.losses) if self.losses else math.nan

    @property
    def row(self) -> Row:
        """Return the present line of the log, with the learning rate of the last step."""
        return Row(self.step, self.seconds / 60, self.loss, self.optimizer.param_groups[0]["lr"])


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
    state = _start(settings)
    run.load(state)
    held_out = [case for case in prepared if case.id in split.validation]
    _loop(run, state, _patches(prepared, split, state), held_out, progress)
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
    return _State(settings, network, average.requires_grad_(False), optimizer, build_loss(settings))


def _loop(
    run: Run,
    state: _State,
    patches: Iterator[Batch],
    held_out: Sequence[PreparedCase],
    progress: Progress,
) -> None:
    settings = run.settings.training
    autocast = wants_bf16(state.network, run.settings)
    history = run.read_history(state.step)
    saved = validated = state.seconds
    state.network.train()
    with _stop_on_signal() as stop:

        def score(*, final: bool) -> None:
            run.save(state, history)  # whole held-out cases take minutes
            shown = _shown(held_out, stop, lambda text: progress(state.done, text))
            history.add(state.row)
            history.add_scores(validate(state.average, shown, run.settings, autocast), final=final)

        while state.done < 1 and not stop.is_set():
            started = time.monotonic()
            _step(state, next(patches), autocast)
            state.seconds += time.monotonic() - started
            progress(state.done, f"step {state.step}  loss {state.loss:.3f}")
            if state.step % _LOG_STEPS == 0:
                history.add(state.row)
            if held_out and state.seconds - validated > 60 * settings.validate_minutes:
                validated = state.seconds
                score(final=False)
            if state.seconds - saved > 60 * settings.checkpoint_minutes:
                saved = state.seconds
                run.save(state, history)
        if held_out and not stop.is_set() and not history.is_final:
            score(final=True)
        run.save(state, history)
        if stop.is_set():
            raise KeyboardInterrupt
