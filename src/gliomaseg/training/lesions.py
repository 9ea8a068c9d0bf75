"""Augmentation of tumours: pasted from another case, or with lower contrast.

Pasting is the idea of CarveMix (Zhang et al. 2021, arXiv:2108.06883): the tumour is carved out together with
a rim of random width of what surrounds it. Here the rim is blended, and only brain is written over.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

#: The rim is where the blurred tumour exceeds a random threshold of this range; the blur is a mean over cubes
#: of _BLUR voxels.
_RIM = (0.05, 0.45)
_BLUR = 9
#: The change of contrast fades in over the mean of cubes of this many voxels.
_EDGE = 3
#: Share of the tumour's contrast to the brain that is left, in each sequence.
_LEFT = (0.3, 1.0)


def paste_lesion(
    image: Tensor, label: Tensor, donor: tuple[Tensor, Tensor], rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Return ``image`` (c, x, y, z) and ``label`` (x, y, z) with the tumour of ``donor``, another patch.

    The label is the donor's where the blend is more than half donor.
    """
    given, tumour = donor
    share = _blurred(tumour > 0, _BLUR) / float(rng.uniform(*_RIM))
    both = (image != 0).any(0) & (given != 0).any(0)
    share = share.clamp_(0, 1) * both
    mixed = torch.lerp(image, given, share)
    return mixed, torch.where(share > 0.5, tumour, label)


def lower_lesion_contrast(image: Tensor, label: Tensor, rng: np.random.Generator) -> Tensor:
    """Return ``image`` (c, x, y, z) with the tumour of ``label`` (x, y, z) closer to the mean of the brain.

    Each sequence has its own factor; the change fades in over two voxels across the tumour's edge.
    """
    tumour = label > 0
    share, paler = _blurred(tumour, _EDGE), image.clone()
    for channel in paler:
        left, rest = float(rng.uniform(*_LEFT)), channel[(channel != 0) & ~tumour]
        if len(rest):
            mean = rest.mean()
            channel.sub_((channel - mean) * share * (1 - left) * (channel != 0))
    return paler


def _blurred(mask: Tensor, cube: int) -> Tensor:
    """Return the mean over a cube of ``cube`` voxels around each, one axis after another."""
    mean = mask.float()[None, None]
    for axis, size in enumerate(mask.shape):
        width = [min(cube, size - (size + 1) % 2) if a == axis else 1 for a in range(3)]
        half = [w // 2 for w in width]
        mean = functional.avg_pool3d(mean, width, stride=1, padding=half, count_include_pad=False)
    return mean[0, 0]
