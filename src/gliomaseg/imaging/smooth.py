"""Blur and look around in arrays (x, y, z), in numpy alone.

What the phantom needs of image filtering is little; a library for it would add half to the size of
an installation that segments.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.float32]


def blur(image: Image, sigmas: Sequence[float]) -> Image:
    """Return ``image`` under a Gaussian of ``sigmas`` voxels along x, y, z, cut off at 4 sigmas."""
    for axis, sigma in enumerate(sigmas):
        radius = int(4 * sigma + 0.5)
        weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / max(sigma, 1e-6)) ** 2)
        image = _convolve(image, weights / weights.sum(), axis)
    return image


def box_mean(image: Image, width: int) -> Image:
    """Return the mean over ``width`` (odd) voxels along each axis."""
    for axis in range(3):
        image = _convolve(image, np.full(width, 1 / width), axis)
    return image


def _convolve(image: Image, weights: npt.NDArray[np.float64], axis: int) -> Image:
    """Return ``image`` under a symmetric kernel of odd length; beyond the edge it is mirrored."""
    radius = len(weights) // 2
    if radius == 0:
        return image
    wide = np.pad(image, [(radius, radius) if a == axis else (0, 0) for a in range(3)], mode="symmetric")
    total = np.zeros_like(image, dtype=np.float32)
    for start, weight in enumerate(weights.astype(np.float32)):
        part = [slice(None)] * 3
        part[axis] = slice(start, start + image.shape[axis])
        total += weight * wide[tuple(part)]
    return total


def neighbours(image: Image) -> Iterator[tuple[float, Image]]:
    """Yield, for each of the 26 neighbours, its distance in voxels and the image as seen from there."""
    wide = np.pad(image, 1, mode="edge")
    for offset in itertools.product((0, 1, 2), repeat=3):
        distance = float(np.sqrt(sum((o - 1) ** 2 for o in offset)))
        if distance:
            parts = (slice(o, o + n) for o, n in zip(offset, image.shape, strict=True))
            yield distance, wide[tuple(parts)]
