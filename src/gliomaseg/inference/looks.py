"""Several looks at a brain: mirrored, or through some of its sequences alone. Their mean is steadier.

A network that was trained with sequences left out is less often misled by an odd one (blood in T1, say) when
it also looks without it. Ignorant of labels and files.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from gliomaseg.config import Settings
from gliomaseg.imaging.volume import Box
from gliomaseg.inference.window import Array, Runs, infer
from gliomaseg.labels import Modality, Region

#: Which axes (x: left-right, y: back-front, z: down-up) ``inference.quality`` mirrors, in every combination,
#: with a network that needs all its sequences: one, two, eight passes.
AXES: dict[str, tuple[int, ...]] = {"fast": (), "standard": (1,), "best": (1, 2, 3)}
#: Which sequences a network looks at that bears missing ones: with ``standard`` two passes, with ``best``
#: four, each mirrored left-right as well. docs/cross-validation.md says what they are worth.
SUBSETS: dict[str, tuple[tuple[Modality, ...], ...]] = {
    "fast": (tuple(Modality),),
    "standard": (tuple(Modality), (Modality.T2F,)),
    "best": (
        tuple(Modality),
        (Modality.T1C, Modality.T2W, Modality.T2F),
        (Modality.T1C, Modality.T2F),
        (Modality.T2F,),
    ),
}


class Look(NamedTuple):
    """Sequences to look at, by channel; axes to mirror; regions that this tells about, by channel."""

    channels: tuple[int, ...]
    axes: tuple[int, ...]
    regions: tuple[int, ...]


def infer_looks(image: Array, valid: Box, engine: Runs, settings: Settings) -> Array:
    """Return the mean probabilities (region, x, y, z) of the looks at ``image`` (modality, x, y, z).

    ``valid`` is the part of the image that is not padding: it is mirrored in its place.
    """
    _, *others = looks(image, settings)
    total, counts = infer(image, engine, settings), np.ones(len(settings.network.regions), np.float32)
    for look in others:
        given = _mirror(image, valid, look.axes)
        given[[c for c in range(len(image)) if c not in look.channels]] = 0
        found = _mirror(infer(given, engine, settings), valid, look.axes)
        for region in look.regions:
            total[region] += found[region]
            counts[region] += 1
    if others:
        total /= counts[:, None, None, None]
    return total


def looks(image: Array, settings: Settings) -> list[Look]:
    """Return the looks that ``inference.quality`` asks for; the first is at the image as it is."""
    quality, regions = settings.inference.quality, tuple(range(len(settings.network.regions)))
    present = tuple(range(len(image)))
    if quality == "fast" or settings.augment.drop_modality == 0:
        axes = AXES[quality]
        mirrors = [m for n in range(len(axes) + 1) for m in itertools.combinations(axes, n)]
        return [Look(present, mirror, regions) for mirror in mirrors]
    present = tuple(channel for channel in present if image[channel].any())
    found = {present: regions}
    for subset in SUBSETS[quality]:
        channels = tuple(c for c in present if settings.network.modalities[c] in subset)
        told = regions if Modality.T1C in subset else _without_contrast(settings)
        if Modality.T2F in (settings.network.modalities[c] for c in channels):
            found.setdefault(channels, told)
    mirrors = [(), (1,)] if quality == "best" else [()]
    return [Look(channels, mirror, told) for mirror in mirrors for channels, told in found.items()]


def _without_contrast(settings: Settings) -> tuple[int, ...]:
    """Return the regions that can be told without the T1 with contrast."""
    return tuple(c for c, region in enumerate(settings.network.regions) if region == Region.WT)


def _mirror(array: Array, valid: Box, axes: tuple[int, ...]) -> Array:
    """Return ``array`` (channel, x, y, z) with its valid part mirrored in place, and 0 around it."""
    where = (slice(None), *valid)
    out = np.zeros_like(array)
    out[where] = np.flip(array[where], axes)
    return out
