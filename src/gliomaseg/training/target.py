"""The channels of a network: overlapping regions, or classes, one for each voxel.

Both become probabilities of regions, so that inference is the same for both.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gliomaseg.labels import REGION_TISSUES, Tissue
from gliomaseg.settings.schema import Settings
from gliomaseg.training.cache import STORED

#: The classes in the order of their channels, after the background.
CLASSES = (Tissue.NECROSIS, Tissue.OEDEMA, Tissue.ENHANCING)


def channel_count(settings: Settings) -> int:
    """Return the number of output channels of the network."""
    is_classes = settings.training.target == "classes"
    return 1 + len(CLASSES) if is_classes else len(settings.network.regions)


def as_target(label: Tensor, settings: Settings) -> Tensor:
    """Return the channels (channel, *space), bool, of a stored label map (*space)."""
    values = label.numpy()  # PyTorch compares bytes ten times slower
    if settings.training.target == "classes":
        return torch.from_numpy(np.stack([values == 0, *(STORED.mask(values, tissue) for tissue in CLASSES)]))
    return torch.from_numpy(np.stack([STORED.mask(values, region) for region in settings.network.regions]))


def probabilities(logits: Tensor, settings: Settings) -> Tensor:
    """Return probabilities (batch, region, *space) of logits (batch, channel, *space).

    With classes, the probability of a region is the sum over its tissues.
    """
    if settings.training.target == "regions":
        return logits.sigmoid()
    classes = logits.softmax(1)
    numbers = [
        [1 + n for n, tissue in enumerate(CLASSES) if tissue in REGION_TISSUES[region]]
        for region in settings.network.regions
    ]
    return torch.stack([classes[:, kept].sum(1) for kept in numbers], dim=1)
