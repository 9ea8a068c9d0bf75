"""Several looks at a brain, mirrored: their mean is steadier. Ignorant of labels and files.

Looks through some of the sequences alone were tried with networks that bear missing ones: over 51 cases of
cross-validation they gain nothing (docs/cross-validation.md).
"""

from __future__ import annotations

import itertools

import numpy as np

from gliomaseg.config import Settings
from gliomaseg.imaging.volume import Box
from gliomaseg.inference.window import Array, Runs, infer

#: Which axes (x: left-right, y: back-front, z: down-up) ``inference.quality`` mirrors, in every combination:
#: one, two, eight passes.
AXES: dict[str, tuple[int, ...]] = {"fast": (), "standard": (1,), "best": (1, 2, 3)}


def infer_looks(image: Array, valid: Box, engine: Runs, settings: Settings) -> Array:
    """Return the mean probabilities (region, x, y, z) of the looks at ``image`` (modality, x, y, z).

    ``valid`` is the part of the image that is not padding: it is mirrored in its place.
    """
    total = infer(image, engine, settings)
    _, *others = mirrors(settings.inference.quality)
    for axes in others:
        total += _mirror(infer(_mirror(image, valid, axes), engine, settings), valid, axes)
    if others:
        total /= 1 + len(others)
    return total


def mirrors(quality: str) -> list[tuple[int, ...]]:
    """Return the axes that each look mirrors; the first is at the image as it is."""
    axes = AXES[quality]
    return [some for count in range(len(axes) + 1) for some in itertools.combinations(axes, count)]


def _mirror(array: Array, valid: Box, axes: tuple[int, ...]) -> Array:
    """Return ``array`` (channel, x, y, z) with its valid part mirrored in place, and 0 around it."""
    where = (slice(None), *valid)
    out = np.zeros_like(array)
    out[where] = np.flip(array[where], axes)
    return out
