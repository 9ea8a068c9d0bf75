"""Losses by name, from MONAI.

The soft Dice of a channel is (2 sum(p g) + s) / (sum(p) + sum(g) + s), with the probability p, the
reference g of 0 or 1, and s = 1e-5 in both places (MONAI's default). The sums run over all voxels of a step
(``training.dice_over`` batch: a patch without tumour does not cost a whole Dice) or of each patch (sample).
With ``training.target`` regions p is a sigmoid; with classes a softmax, and Dice leaves out the background.

- dice: 1 - Dice. dice_ce: plus cross-entropy (binary for regions). dice_focal: plus focal.
- focal: cross-entropy times (1 - p)^2 (Lin et al. 2017).
- generalised_dice: channels weighted by 1 / volume^2 (Sudre et al. 2017).
- tversky: Dice that counts a missed voxel 0.7 and a false one 0.3 (Salehi et al. 2017).
- focal_tversky: (1 - Tversky)^0.75 (Abraham and Khan 2019), small regions weigh more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.losses import DiceLoss, FocalLoss, GeneralizedDiceLoss, TverskyLoss
from torch import Tensor
from torch.nn import functional

from gliomaseg.errors import SettingsError
from gliomaseg.settings.schema import Settings

Loss = Callable[[Sequence[Tensor], Tensor], Tensor]
#: A term maps (logits, target), each (batch, channel, *space), to a value for each channel, or to one value.
Term = Callable[[Tensor, Tensor], Tensor]

_MISSED, _FALSE = 0.7, 0.3
_FOCUS = 0.75


def build_loss(settings: Settings) -> Loss:
    """Return a function of (logits of each output, target) -> scalar.

    Logits and target are (batch, channel, *space). A coarser output has the weight network.deep_supervision,
    the next half of that, and so on. Raises SettingsError (E-SETTING) for weights that a loss doesn't accept.
    """
    terms = _terms(settings)
    weights = torch.tensor(settings.training.region_weights)
    weights = weights / weights.sum()
    _check_weights(settings, weights)

    def of_output(logits: Tensor, target: Tensor) -> Tensor:
        losses = [term(logits.float(), target) for term in terms]
        return torch.stack([(loss * weights.to(loss)).sum() if loss.ndim else loss for loss in losses]).sum()

    def of_all(outputs: Sequence[Tensor], target: Tensor) -> Tensor:
        loss = of_output(outputs[0], target)
        for depth, output in enumerate(outputs[1:]):
            loss = loss + settings.network.deep_supervision * 0.5**depth * of_output(output, target)
        return loss

    return of_all


def _terms(settings: Settings) -> list[Term]:
    softmax = settings.training.target == "classes"
    how = {
        "include_background": not softmax,
        "sigmoid": not softmax,
        "softmax": softmax,
        "batch": settings.training.dice_over == "batch",
    }
    dice = _by_channel(DiceLoss(reduction="none", **how), batch=how["batch"])
    tversky = TverskyLoss(alpha=_FALSE, beta=_MISSED, reduction="none", **how)
    tversky_of = _by_channel(tversky, batch=how["batch"])
    focal = FocalLoss(include_background=not softmax, gamma=2.0, use_softmax=softmax, reduction="none")
    focal_of = _by_channel(focal, batch=False)
    return {
        "dice": [dice],
        "dice_ce": [dice, _cross_entropy if softmax else _binary_cross_entropy],
        "generalised_dice": [GeneralizedDiceLoss(**how)],
        "tversky": [tversky_of],
        "focal": [focal_of],
        "dice_focal": [dice, focal_of],
        "focal_tversky": [lambda logits, target: tversky_of(logits, target).clamp_min(1e-7) ** _FOCUS],
    }[settings.training.loss]


def _by_channel(loss: Any, *, batch: bool) -> Term:
    """Return the mean of each channel of a loss of MONAI that was made without reduction."""

    def term(logits: Tensor, target: Tensor) -> Tensor:
        values: Tensor = loss(logits, target)
        each = values[None] if batch else values  # summed over the batch, it has no such axis left
        return each.transpose(0, 1).flatten(1).mean(1)

    return term


def _binary_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    each = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return each.transpose(0, 1).flatten(1).mean(1)


def _cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Return one value: a softmax ties the classes together, the background among them."""
    return functional.cross_entropy(logits, target)


def _check_weights(settings: Settings, weights: Tensor) -> None:
    if settings.training.loss == "generalised_dice" and not torch.allclose(weights, weights[0]):
        raise SettingsError(
            "E-SETTING",
            "generalised_dice weighs the regions itself, and training.region_weights differ",
            expected="equal weights",
            remedy="leave out training.region_weights, or choose another loss",
        )
