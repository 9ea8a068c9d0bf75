"""Mirror images of a brain through the network: each is another look at it, and their mean is steadier.

Looks through some of the sequences alone were tried, too, with networks that bear missing ones: over 51
cases of cross-validation they gained nothing.
"""

from __future__ import annotations

import itertools

import numpy as np

from gliomaseg.config import Settings
from gliomaseg.imaging.volume import Box
from gliomaseg.inference.window import Array, Runs, infer

#: Which axes (x: left-right, y: back-front, z: down-up) ``inference.quality`` mirrors, in every combination:
#: one, two, eight passes through the network.
AXES = {"fast": (), "standard": (1,), "best": (1, 2, 3)}


def infer_mirrored(image: Array, valid: Box, engine: Runs, settings: Settings) -> Array:
    """Return the mean probabilities (region, x, y, z) of the mirror images of ``image`` (modality, x, y, z).

    ``valid`` is the part of the image that is not padding: it is mirrored in its place.
    """
    axes = AXES[settings.inference.quality]
    mirrored = [m for n in range(1, len(axes) + 1) for m in itertools.combinations(axes, n)]
    total = infer(image, engine, settings)
    for one in mirrored:
        other = infer(_mirror(image, valid, one), engine, settings)
        total += _mirror(other, valid, one)
    if mirrored:
        total /= 1 + len(mirrored)
    return total


def _mirror(array: Array, valid: Box, axes: tuple[int, ...]) -> Array:
    """Return ``array`` (channel, x, y, z) with its valid part mirrored in place, and 0 around it."""
    where = (slice(None), *valid)
    out = np.zeros_like(array)
    out[where] = np.flip(array[where], axes)
    return out
