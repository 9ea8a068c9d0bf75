"""What the channels of a network mean: overlapping regions, or classes of which a voxel has one.

Either way a trained network ends as probabilities of regions, so that nothing after it knows the difference.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gliomaseg.labels import REGION_TISSUES, Region, Tissue
from gliomaseg.settings.schema import Settings
from gliomaseg.training.cache import STORED

#: The classes in the order of their channels; the background is the first, before these.
CLASSES = (Tissue.NECROSIS, Tissue.OEDEMA, Tissue.ENHANCING)


def channel_count(settings: Settings) -> int:
    """Return how many channels the network puts out."""
    is_classes = settings.training.target == "classes"
    return 1 + len(CLASSES) if is_classes else len(settings.network.regions)


def as_target(label: Tensor, settings: Settings) -> Tensor:
    """Return the channels (channel, *space), bool, of a stored label map (*space)."""
    values = label.numpy()  # PyTorch compares bytes ten times slower
    if settings.training.target == "classes":
        return torch.from_numpy(np.stack([values == 0, *(STORED.mask(values, part) for part in CLASSES)]))
    return torch.from_numpy(np.stack([STORED.mask(values, part) for part in settings.network.regions]))


def probabilities(logits: Tensor, settings: Settings) -> Tensor:
    """Return probabilities (batch, region, *space) of logits (batch, channel, *space).

    Of classes, a region's is the sum over its tissues.
    """
    if settings.training.target == "regions":
        return logits.sigmoid()
    classes = logits.softmax(1)
    return torch.stack([_sum(classes, region) for region in settings.network.regions], dim=1)


def _sum(classes: Tensor, region: Region) -> Tensor:
    kept = [1 + CLASSES.index(tissue) for tissue in CLASSES if tissue in REGION_TISSUES[region]]
    return classes[:, kept].sum(1)
