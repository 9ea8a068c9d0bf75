"""Tumours that no training case has: pasted from one case into another, or without their enhancement.

Pasting is the idea of CarveMix (Zhang et al. 2021, arXiv:2108.06883): the tumour is carved out together with
a rim of random width of what surrounds it. Here the rim is blended, and only brain is written over.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from gliomaseg.labels import Tissue
from gliomaseg.learning.cache import STORED

#: The rim is the part of the blurred tumour above a random threshold of this range; the blur is
#: a mean over cubes of _BLUR voxels.
_RIM = (0.05, 0.45)
_BLUR = 9
#: A fading reaches one voxel beyond the enhancing tumour, less and less: a mean over cubes of this many
#: voxels, times as much, at most 1.
_FRINGE = 3
#: How often enhancement goes altogether; else a share of it of this range does, and its label stays.
_WHOLLY, _PARTLY = 0.6, (0.2, 0.7)


def paste_lesion(
    image: Tensor, label: Tensor, donor: tuple[Tensor, Tensor], rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Return ``image`` (c, x, y, z) and ``label`` (x, y, z) with the tumour of ``donor``, a patch alike.

    Where the blend is more than half donor the label is the donor's, elsewhere the patch's own.
    """
    given, tumour = donor
    share = _blurred(tumour > 0, _BLUR) / float(rng.uniform(*_RIM))
    both = (image != 0).any(0) & (given != 0).any(0)
    share = share.clamp_(0, 1) * both
    mixed = torch.lerp(image, given, share)
    return mixed, torch.where(share > 0.5, tumour, label)


def fade_enhancement(
    image: Tensor, label: Tensor, t1n: int, t1c: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Return ``image`` (c, x, y, z) and ``label`` (x, y, z) of the tumour as if it took up less contrast.

    Where it enhances, channel ``t1c`` comes to look as channel ``t1n`` does, but for how far the two are
    apart in the rest of the brain. Enhancing tumour that has faded altogether becomes core that does not
    enhance.
    """
    enhancing = torch.from_numpy(STORED.mask(label.numpy(), Tissue.ENHANCING))
    rest = (image[t1n] != 0) & (image[t1c] != 0) & ~enhancing
    if not enhancing.any() or not rest.any():
        return image, label
    is_whole = rng.random() < _WHOLLY
    glow = torch.maximum(enhancing.float(), _FRINGE * _blurred(enhancing, _FRINGE))
    share = glow.clamp_(0, 1) * (image[t1c] != 0)
    share *= 1.0 if is_whole else float(rng.uniform(*_PARTLY))
    plain = image[t1n] + (image[t1c] - image[t1n])[rest].mean()
    faded = image.clone()
    faded[t1c] = torch.lerp(image[t1c], plain, share)
    return faded, label.masked_fill(enhancing, STORED.values[Tissue.NECROSIS]) if is_whole else label


def _blurred(mask: Tensor, cube: int) -> Tensor:
    """Return the mean over a cube of ``cube`` voxels around each, one axis after another."""
    mean = mask.float()[None, None]
    for axis, size in enumerate(mask.shape):
        width = [min(cube, size - (size + 1) % 2) if a == axis else 1 for a in range(3)]
        half = [w // 2 for w in width]
        mean = functional.avg_pool3d(mean, width, stride=1, padding=half, count_include_pad=False)
    return mean[0, 0]
