"""What a training is at one moment, and how it comes to be: fresh, or from the last checkpoint."""

from __future__ import annotations

import logging
import math
from collections import deque
from dataclasses import dataclass, field

import torch
from accelerate import Accelerator
from torch import nn

from gliomaseg.settings.schema import Settings
from gliomaseg.training.history import History, Row
from gliomaseg.training.network import agrees_in_bf16, build_network, memory_format
from gliomaseg.training.optimiser import build_optimiser
from gliomaseg.training.run import Run, load_weights, weights
from gliomaseg.training.schedule import is_at_end
from gliomaseg.training.target import channel_count
from gliomaseg.training.trained import Initial, keep_initial, read_initial

_log = logging.getLogger(__name__)

#: Steps over which the loss is averaged for the log.
_RECENT = 50


@dataclass
class State:
    """What a training is at one moment; all but the recent losses is in the run folder."""

    settings: Settings
    accelerator: Accelerator
    network: nn.Module
    average: nn.Module
    optimiser: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0
    losses: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))
    history: History = field(default_factory=History)
    bf16: bool = False
    stop: bool = False

    def __post_init__(self) -> None:
        self.trained: nn.Module = self.accelerator.prepare_model(self.network)

    @property
    def done(self) -> float:
        """Return how much of the training is done, from 0 to 1, by its time budget or its steps."""
        training = self.settings.training
        if training.hours is not None:
            return min(1.0, self.seconds / (3600 * training.hours))
        return min(1.0, self.step / training.steps)

    @property
    def is_over(self) -> bool:
        """Return whether the training has reached its end, its budget's or that of early stopping."""
        return self.done == 1 or is_at_end(self.settings.training, self.history)

    @property
    def is_paused(self) -> bool:
        """Return whether the training is to be left here, to go on later."""
        pause = self.settings.training.pause_at
        return pause is not None and self.step >= pause and not self.is_over

    @property
    def loss(self) -> float:
        """Return the mean loss of the last steps, counted from where the training was resumed."""
        return sum(self.losses) / len(self.losses) if self.losses else math.nan

    def follow(self) -> None:
        """Move the averaged weights towards the present ones; by more at first, while these change most."""
        decay = min(self.settings.training.ema, (1 + self.step) / (10 + self.step))
        _follow(self.average, self.network, decay)

    def log(self) -> None:
        """Add the present line to the history, with the learning rate of the last step."""
        rate = self.optimiser.param_groups[0]["lr"]
        self.history.add(Row(self.step, self.seconds / 60, self.loss, rate))


def begin(run: Run, accelerator: Accelerator) -> State:
    """Return the state of the last checkpoint, of fresh networks if there is none."""
    settings = run.settings
    torch.manual_seed(settings.training.seed)
    network, average = (_build(settings) for _ in range(2))
    wanted = settings.training.precision
    bf16 = _computes_bf16(network, settings, accelerator) if wanted == "auto" else wanted == "bf16"
    if settings.training.init_from and not run.is_begun:
        _begin_from(run, network, read_initial(settings.training.init_from), accelerator)
    for net in (network, average):
        net.to(accelerator.device)
    load_weights(average, weights(network))
    optimiser = build_optimiser(network, settings.training, bf16=bf16)
    state = State(settings, accelerator, network, average.requires_grad_(False), optimiser, bf16=bf16)
    run.load(state)
    return state


def _build(settings: Settings) -> nn.Module:
    network = build_network(settings.network, channel_count(settings))
    ordered: nn.Module = network.to(memory_format=memory_format(settings.network.dimensions))
    return ordered


def _begin_from(run: Run, network: nn.Module, initial: Initial, accelerator: Accelerator) -> None:
    load_weights(network, initial.tensors)
    if not accelerator.is_main_process:
        return
    keep_initial(run, initial)
    seen = sorted(set(run.read_split().validation) & set(initial.trained_on))
    if seen:
        _log.info(
            f"warning: {len(seen)} held-out cases were trained on by {initial.name}, so scores on them are "
            f"no accuracy: {', '.join(seen[:3])}{' ...' if len(seen) > 3 else ''}"
        )


def _computes_bf16(network: nn.Module, settings: Settings, accelerator: Accelerator) -> bool:
    if accelerator.device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return accelerator.device.type == "cpu" and agrees_in_bf16(network, settings.network)


@torch.no_grad()
def _follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the averaged weights, and the statistics of batch norm, towards the present ones."""
    present = weights(network)
    for name, value in weights(average).items():
        if value.is_floating_point():
            value.lerp_(present[name], 1 - decay)
        else:
            value.copy_(present[name])
