"""The state of a training: networks, optimiser, step, log and schedule; new, or from the last checkpoint."""

from __future__ import annotations

import logging
import math
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, count

import torch
from accelerate import Accelerator
from torch import nn

from gliomaseg.settings.schema import Settings, TrainingSettings
from gliomaseg.training.history import History, Row
from gliomaseg.training.network import build_network, computes_bf16, memory_format
from gliomaseg.training.optimiser import build_optimiser
from gliomaseg.training.run import Run, load_weights
from gliomaseg.training.target import channel_count
from gliomaseg.training.trained import Initial, keep_initial, read_initial

_log = logging.getLogger(__name__)

#: Steps over which the loss is averaged for the log.
_RECENT = 50
#: Plateaus at which early stopping ends a training that halves its rate at each.
_PLATEAUS = 5


@dataclass
class State:
    """A training at one moment; the run folder holds everything except the recent losses.

    ``trained`` is ``network``, wrapped where several processes share a step. ``average`` is the exponential
    moving average (EMA) of the weights: it is validated and exported.
    """

    settings: Settings
    accelerator: Accelerator
    network: nn.Module
    trained: nn.Module
    average: nn.Module
    optimiser: torch.optim.Optimizer
    bf16: bool = False
    step: int = 0
    seconds: float = 0.0
    losses: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))
    history: History = field(default_factory=History)
    stop: bool = False

    @property
    def done(self) -> float:
        """Return the share of the training that is done, 0 to 1, by its time budget or its steps."""
        training = self.settings.training
        if training.hours is not None:
            return min(1.0, self.seconds / (3600 * training.hours))
        return min(1.0, self.step / training.steps)

    @property
    def is_over(self) -> bool:
        """Return whether the training has ended, by its length or by early stopping."""
        return self.done == 1 or stops_early(self.settings.training, self.history)

    @property
    def is_paused(self) -> bool:
        """Return whether the training pauses here, to be resumed later."""
        pause = self.settings.training.pause_at
        return pause is not None and self.step >= pause and not self.is_over

    @property
    def loss(self) -> float:
        """Return the mean loss of the last steps since the training was resumed."""
        return sum(self.losses) / len(self.losses) if self.losses else math.nan

    def patch_numbers(self) -> Iterator[range]:
        """Yield the numbers of this process's patches for each step to come."""
        training, accelerator = self.settings.training, self.accelerator
        share = training.batch // accelerator.num_processes
        steps = count(self.step) if training.hours is not None else range(self.step, training.steps)
        for step in steps:
            first = step * training.batch + share * accelerator.process_index
            yield range(first, first + share)

    def update_average(self) -> None:
        """Update the EMA and its batch norm statistics, faster at first, while the weights change most."""
        update_ema(
            self.average, self.network, min(self.settings.training.ema, (1 + self.step) / (10 + self.step))
        )

    def log(self) -> None:
        """Add a row for this step, with the learning rate of the last one, to the history."""
        rate = self.optimiser.param_groups[0]["lr"]
        self.history.add(Row(self.step, self.seconds / 60, self.loss, rate))

    def of_all(self, value: float) -> list[float]:
        """Return a number of each process, the same list in all of them."""
        if self.accelerator.num_processes == 1:
            return [value]
        mine = torch.tensor([value], device=self.accelerator.device)
        return [float(v) for v in self.accelerator.gather(mine)]

    def goes_on(self, stop: threading.Event) -> bool:
        """Return whether another step follows, the same in every process."""
        self.stop = bool(max(self.of_all(float(stop.is_set()))))
        return not (self.stop or self.is_paused or self.is_over)


@torch.no_grad()
def update_ema(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Set each number of ``average`` to decay x itself + (1 - decay) x that of ``network``; copy counters."""
    tensors = [chain(net.parameters(), net.buffers()) for net in (average, network)]
    for value, present in zip(*tensors, strict=True):
        if value.is_floating_point():
            value.lerp_(present, 1 - decay)
        else:
            value.copy_(present)


def learning_rate(settings: TrainingSettings, step: int, done: float, history: History) -> float:
    """Return the learning rate of ``step``, counted from 0; ``done`` is the share of the training before it.

    It rises over the warm-up. Then it falls: poly with exponent 0.9 (nnU-Net's); half a cosine; by half at
    each plateau of the mean Dice; or (trapezoid) linearly to 0 over the last ``decay_share``. Until then a
    trapezoid doesn't depend on the length, so that the training can be extended.
    """
    warm = min(1.0, (step + 1) / max(1, settings.warmup_steps))
    if settings.schedule == "plateau":
        fall = 0.5 ** history.count_plateaus(settings.patience)
    elif settings.schedule == "cosine":
        fall = 0.5 * (1 + math.cos(math.pi * done))
    elif settings.schedule == "trapezoid":
        fall = min(1.0, (1 - done) / settings.decay_share) if settings.decay_share else 1.0
    else:
        fall = (1 - done) ** 0.9
    return settings.learning_rate * warm * fall


def stops_early(settings: TrainingSettings, history: History) -> bool:
    """Return whether early stopping ends the training."""
    most = _PLATEAUS if settings.schedule == "plateau" else 1
    return settings.early_stop and history.count_plateaus(settings.patience) >= most


def begin(run: Run, accelerator: Accelerator) -> State:
    """Return the state of the last checkpoint; without one, new networks or those of training.init_from."""
    settings = run.settings
    torch.manual_seed(settings.training.seed)
    channels, order = channel_count(settings), memory_format(settings.network.dimensions)
    network, average = (build_network(settings.network, channels).to(memory_format=order) for _ in range(2))
    precision = settings.training.precision
    bf16 = precision == "bf16"
    if precision == "auto":
        bf16 = computes_bf16(network, settings.network, accelerator.device)
    if settings.training.init_from and not run.is_begun:
        _init_from(run, network, read_initial(settings.training.init_from), accelerator)
    for net in (network, average):
        net.to(accelerator.device)
    average.load_state_dict(network.state_dict())
    optimiser = build_optimiser(network, settings.training, bf16=bf16)
    trained = accelerator.prepare_model(network)
    average.requires_grad_(False)
    state = State(settings, accelerator, network, trained, average, optimiser, bf16)
    run.load(state)
    return state


def _init_from(run: Run, network: nn.Module, initial: Initial, accelerator: Accelerator) -> None:
    load_weights(network, initial.tensors)
    if not accelerator.is_main_process:
        return
    keep_initial(run, initial)
    seen = sorted(set(run.read_split().validation) & set(initial.trained_on))
    if seen:
        _log.info(
            f"note: {initial.name} was trained on {len(seen)} held-out cases, so scores on them don't "
            f"show its accuracy: {', '.join(seen[:3])}{' ...' if len(seen) > 3 else ''}"
        )
