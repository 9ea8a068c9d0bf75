"""The learning rate over a training, and when to end it early: pure functions of the log."""

from __future__ import annotations

import math

from gliomaseg.settings.schema import TrainingSettings
from gliomaseg.training.history import History

#: Plateaus after which early stopping ends a training whose rate is halved at each.
_PLATEAUS = 5


def learning_rate(settings: TrainingSettings, step: int, done: float, history: History) -> float:
    """Return the rate of the next step, ``done`` (0 to 1) of the training being over.

    Rises over the warm-up, then falls: poly with exponent 0.9 (nnU-Net's), half a cosine, by half at every
    plateau of the mean Dice, or (trapezoid) not at all until a line falls to 0 over ``decay_share``: until
    then it doesn't depend on the length, so that a training can be made longer.
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


def is_at_end(settings: TrainingSettings, history: History) -> bool:
    """Return whether early stopping ends the training."""
    most = _PLATEAUS if settings.schedule == "plateau" else 1
    return settings.early_stop and history.count_plateaus(settings.patience) >= most
