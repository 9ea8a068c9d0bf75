"""A whole prepared image through the network: in one window if it fits, else in as few as possible.

Two-dimensional networks get axial slices, in batches.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt

from gliomaseg.imaging.volume import Box
from gliomaseg.inference.engine import Engine
from gliomaseg.settings.schema import Settings

Array = npt.NDArray[np.float32]

#: Slices per batch of a two-dimensional network.
_SLICES = 16
#: The share of a window that overlaps its neighbour.
_OVERLAP = 0.25


def infer(image: Array, engine: Engine, settings: Settings) -> Array:
    """Return probabilities (region, x, y, z) of a prepared image (modality, x, y, z)."""
    shape = image.shape[1:]
    if settings.network.window:
        window = (*settings.network.window, shape[2])[:3]
    elif settings.network.dimensions == 2:
        window = shape
    else:
        window = window_shape(shape, settings.inference.window_voxels, settings.prepare.multiple)
    missing = [(0, max(0, width - size)) for width, size in zip(window, shape, strict=True)]
    if any(after for _, after in missing):
        image = np.pad(image, [(0, 0), *missing])
    return _by_windows(image, engine, window, settings)[(slice(None), *map(slice, shape))]


def window_shape(shape: tuple[int, ...], limit: int, multiple: int) -> tuple[int, ...]:
    """Return the largest window of at most ``limit`` voxels: the longest axis is halved until it fits.

    Each side stays a multiple of ``multiple``, the network's stride.
    """
    window = list(shape)
    while math.prod(window) > limit and max(window) > multiple:
        axis = window.index(max(window))
        window[axis] = -(-window[axis] // 2 // multiple) * multiple
    return tuple(window)


def window_boxes(shape: tuple[int, ...], window: tuple[int, ...]) -> list[Box]:
    """Return evenly spaced boxes of the window's shape that cover the image and overlap by a quarter."""
    starts = []
    for size, width in zip(shape, window, strict=True):
        count = 1 if width >= size else math.ceil((size - width) / (width * (1 - _OVERLAP))) + 1
        starts.append(np.linspace(0, size - width, count).round().astype(int).tolist())
    return [
        (slice(x, x + window[0]), slice(y, y + window[1]), slice(z, z + window[2]))
        for x, y, z in itertools.product(*starts)
    ]


def _by_windows(image: Array, engine: Engine, window: tuple[int, ...], settings: Settings) -> Array:
    shape, regions = image.shape[1:], len(settings.network.regions)
    if window == shape:
        return _one_window(image, engine, settings)
    total = np.zeros((regions, *shape), dtype=np.float32)
    weights = np.zeros(shape, dtype=np.float32)
    for box in window_boxes(shape, window):
        weight = _window_weight(box, shape)
        crop = np.ascontiguousarray(image[(slice(None), *box)])
        total[(slice(None), *box)] += _one_window(crop, engine, settings) * weight
        weights[box] += weight
    total /= weights
    return total


def _one_window(image: Array, engine: Engine, settings: Settings) -> Array:
    if settings.network.dimensions == 3:
        found: Array = engine.run(image[None])[0]
        return found
    channels, x, y, z = image.shape
    out = np.empty((len(settings.network.regions), x, y, z), dtype=np.float32)
    batch = np.zeros((_SLICES, channels, x, y), dtype=np.float32)
    for start in range(0, z, _SLICES):
        count = min(_SLICES, z - start)
        batch[:count] = np.moveaxis(image[..., start : start + count], -1, 0)
        out[..., start : start + count] = np.moveaxis(engine.run(batch)[:count], 0, -1)
    return out


def _window_weight(box: Box, shape: tuple[int, ...]) -> Array:
    """Return weights (x, y, z) that fall towards faces inside the brain, where the network sees least.

    The fourth power of the distance: on 12 real cases cut into three windows, the mean Dice with one window
    was 0.992, 0.996 and 0.999 (WT, TC, ET), against 0.983, 0.940 and 0.998 with the distance itself.
    """
    ramps = []
    for side, size in zip(box, shape, strict=True):
        width = side.stop - side.start
        distance = np.full(width, width)
        if side.start > 0:
            distance = np.minimum(distance, np.arange(1, width + 1))
        if side.stop < size:
            distance = np.minimum(distance, np.arange(width, 0, -1))
        ramps.append((distance / width) ** 4)
    return np.asarray(np.einsum("i,j,k->ijk", *ramps), dtype=np.float32)
