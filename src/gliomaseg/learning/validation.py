"""Whole held-out cases under a network that is still being trained."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from gliomaseg.config import Settings
from gliomaseg.labels import Region
from gliomaseg.learning.dataset import STORED, PreparedCase
from gliomaseg.results.metrics import dice
from gliomaseg.results.segment import label_regions


@torch.no_grad()
def validate(
    network: nn.Module, cases: Sequence[PreparedCase], settings: Settings, autocast: bool
) -> dict[Region, float]:
    """Return the mean Dice per region over whole cases, by BraTS 2020's rule for empty masks."""
    network.eval()
    scores = [_score(network, case, settings, autocast) for case in cases]
    return {region: float(np.mean([s[region] for s in scores])) for region in settings.network.regions}


def _score(
    network: nn.Module, case: PreparedCase, settings: Settings, autocast: bool
) -> dict[Region, float]:
    probabilities = predict(network, torch.from_numpy(case.image.astype(np.float32)), settings, autocast)
    labels = label_regions(probabilities.numpy(), settings, STORED)
    return {
        region: dice(STORED.mask(labels, region), STORED.mask(case.label, region))
        for region in settings.network.regions
    }


@torch.no_grad()
def predict(network: nn.Module, image: Tensor, settings: Settings, autocast: bool) -> Tensor:
    """Return probabilities (region, x, y, z) of a whole prepared image (modality, x, y, z)."""
    sizes = image.shape[1:]
    multiple = settings.prepare.multiple
    pads = [(-n) % multiple for n in sizes]
    padded = functional.pad(image, (0, pads[2], 0, pads[1], 0, pads[0]))
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        if settings.network.dimensions == 3:
            logits = network(padded[None].to(memory_format=torch.channels_last_3d))[0][0]
        else:
            slices = padded.permute(3, 0, 1, 2).split(16)
            logits = torch.cat([network(part)[0] for part in slices]).permute(1, 2, 3, 0)
    return logits[:, : sizes[0], : sizes[1], : sizes[2]].float().sigmoid()
