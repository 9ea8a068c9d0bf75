"""Losses on overlapping regions. Door: monai.losses.

Soft Dice of a region over the whole batch: 1 - (2 sum(p g) + s) / (sum(p) + sum(g) + s) with
p = sigmoid(logit), g in {0, 1}, and the smoothing term s = 1e-5 in both places (MONAI's default).
Summing over the batch, not per sample, keeps a patch without tumour from costing a whole Dice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from monai.losses import DiceLoss
from torch import Tensor
from torch.nn import functional

from gliomaseg.config import Settings

Loss = Callable[[Sequence[Tensor], Tensor], Tensor]


def build_loss(settings: Settings) -> Loss:
    """Return a function of (logits of each output, regions) -> scalar.

    Logits and regions are (batch, region, *space); a coarser output counts network.auxiliary.
    """
    weights = torch.tensor(settings.training.region_weights)
    weights = weights / weights.sum()
    soft_dice = DiceLoss(sigmoid=True, batch=True, reduction="none")
    cross_entropy = settings.training.loss == "dice_ce"

    def of_output(logits: Tensor, regions: Tensor) -> Tensor:
        logits = logits.float()
        loss: Tensor = (soft_dice(logits, regions).flatten() * weights).sum()
        if cross_entropy:
            each = functional.binary_cross_entropy_with_logits(logits, regions, reduction="none")
            loss = loss + (each.transpose(0, 1).flatten(1).mean(1) * weights).sum()
        return loss

    def of_all(outputs: Sequence[Tensor], regions: Tensor) -> Tensor:
        loss = of_output(outputs[0], regions)
        for output in outputs[1:]:
            loss = loss + settings.network.auxiliary * of_output(output, regions)
        return loss

    return of_all
