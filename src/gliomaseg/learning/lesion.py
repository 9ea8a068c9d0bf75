"""Pasting the tumour of one training case into a patch of another.

The idea of CarveMix (Zhang et al. 2021, arXiv:2108.06883): the tumour is carved out together with a rim
of random width of what surrounds it. Here the rim is blended, and only brain is written over.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

#: The rim is the part of the blurred tumour above a random threshold of this range; the blur is
#: a mean over cubes of _BLUR voxels.
_RIM = (0.05, 0.45)
_BLUR = 9


def paste_lesion(
    image: Tensor, label: Tensor, donor: tuple[Tensor, Tensor], rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Return ``image`` (c, x, y, z) and ``label`` (x, y, z) with the tumour of ``donor``, a patch alike.

    Where the blend is more than half donor the label is the donor's, elsewhere the patch's own.
    """
    given, tumour = donor
    share = _blurred((tumour > 0).float()) / float(rng.uniform(*_RIM))
    both = (image != 0).any(0) & (given != 0).any(0)
    share = share.clamp_(0, 1) * both
    mixed = torch.lerp(image, given, share)
    return mixed, torch.where(share > 0.5, tumour, label)


def _blurred(mask: Tensor) -> Tensor:
    """Return the mean over a cube of ``_BLUR`` voxels around each, one axis after another."""
    mean = mask[None, None]
    for axis, size in enumerate(mask.shape):
        width = [min(_BLUR, size - (size + 1) % 2) if a == axis else 1 for a in range(3)]
        half = [w // 2 for w in width]
        mean = functional.avg_pool3d(mean, width, stride=1, padding=half, count_include_pad=False)
    return mean[0, 0]
