"""Whole held-out cases under a network that is still being trained."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from gliomaseg.config import Settings
from gliomaseg.labels import Region
from gliomaseg.learning.dataset import STORED, PreparedCase
from gliomaseg.learning.network import channels_last
from gliomaseg.results.metrics import dice
from gliomaseg.results.segment import label_regions

#: Slices that a two-dimensional network sees at once.
_SLICES = 16


def validate(
    network: nn.Module, cases: Iterable[PreparedCase], settings: Settings, *, bf16: bool
) -> dict[Region, float]:
    """Return the mean Dice per region over whole cases, by BraTS 2020's rule for empty masks.

    Leaves ``network`` in evaluation mode: it is the averaged one, which is never trained itself.
    """
    network.eval()
    scores = [_score(network, case, settings, bf16=bf16) for case in cases]
    return {region: float(np.mean([s[region] for s in scores])) for region in settings.network.regions}


def _score(network: nn.Module, case: PreparedCase, settings: Settings, *, bf16: bool) -> dict[Region, float]:
    image = torch.from_numpy(case.image.astype(np.float32))
    labels = label_regions(predict(network, image, settings, bf16=bf16).numpy(), settings, STORED)
    reference = case.label
    return {
        region: dice(STORED.mask(labels, region), STORED.mask(reference, region))
        for region in settings.network.regions
    }


@torch.no_grad()
def predict(network: nn.Module, image: Tensor, settings: Settings, *, bf16: bool) -> Tensor:
    """Return probabilities (region, x, y, z) of a whole prepared image (modality, x, y, z)."""
    x, y, z = image.shape[1:]
    pads = [(-n) % settings.prepare.multiple for n in (x, y, z)]
    padded = functional.pad(image, (0, pads[2], 0, pads[1], 0, pads[0]))
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        if settings.network.dimensions == 3:
            logits = network(channels_last(padded[None], 3))[0][0]
        else:
            slices = padded.permute(3, 0, 1, 2).split(_SLICES)
            logits = torch.cat([network(part)[0] for part in slices]).permute(1, 2, 3, 0)
    probabilities: Tensor = logits[:, :x, :y, :z].float().sigmoid()
    return probabilities
