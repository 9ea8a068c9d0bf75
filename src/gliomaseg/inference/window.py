"""A whole prepared image through the network: in one window where it fits, else in few.

Two-dimensional networks get axial slices, in batches. Ignorant of labels.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt

from gliomaseg.inference.engine import Engine
from gliomaseg.settings.schema import Settings

Array = npt.NDArray[np.float32]
Box = tuple[slice, slice, slice]

#: Slices that a two-dimensional network sees at once.
_SLICES = 16
#: Part of a window that it shares with its neighbour.
_OVERLAP = 0.25


def infer(image: Array, engine: Engine, settings: Settings) -> Array:
    """Return probabilities (region, x, y, z) of a prepared image (modality, x, y, z)."""
    shape = image.shape[1:]
    window = settings.network.window
    if window:
        wanted = (*window, shape[2])[:3]
        room = np.pad(image, [(0, 0), *((0, max(0, w - n)) for w, n in zip(wanted, shape, strict=True))])
        return _by_windows(room, engine, wanted, settings)[(slice(None), *map(slice, shape))]
    if settings.network.dimensions == 2:
        return _whole(image, engine, settings)
    fitting = window_shape(shape, settings.inference.window_voxels, settings.prepare.multiple)
    return _by_windows(image, engine, fitting, settings)


def window_shape(shape: tuple[int, ...], limit: int, multiple: int) -> tuple[int, ...]:
    """Return the largest window of at most ``limit`` voxels: the longest axis is halved until it fits.

    Each side stays a multiple of ``multiple``, the network's stride.
    """
    window = list(shape)
    while math.prod(window) > limit and max(window) > multiple:
        axis = window.index(max(window))
        window[axis] = -(-window[axis] // 2 // multiple) * multiple
    return tuple(window)


def _by_slices(image: Array, engine: Engine, regions: int) -> Array:
    channels, x, y, z = image.shape
    out = np.empty((regions, x, y, z), dtype=np.float32)
    batch = np.zeros((_SLICES, channels, x, y), dtype=np.float32)
    for start in range(0, z, _SLICES):
        count = min(_SLICES, z - start)
        batch[:count] = np.moveaxis(image[..., start : start + count], -1, 0)
        out[..., start : start + count] = np.moveaxis(engine.run(batch)[:count], 0, -1)
    return out


def _by_windows(image: Array, engine: Engine, window: tuple[int, ...], settings: Settings) -> Array:
    shape, regions = image.shape[1:], len(settings.network.regions)
    if window == shape:
        return _whole(image, engine, settings)
    total = np.zeros((regions, *shape), dtype=np.float32)
    weights = np.zeros(shape, dtype=np.float32)
    for box in window_boxes(shape, window):
        weight = _window_weight(box, shape)
        part = np.ascontiguousarray(image[(slice(None), *box)])
        total[(slice(None), *box)] += _whole(part, engine, settings) * weight
        weights[box] += weight
    total /= weights
    return total


def _whole(image: Array, engine: Engine, settings: Settings) -> Array:
    if settings.network.dimensions == 2:
        return _by_slices(image, engine, len(settings.network.regions))
    found: Array = engine.run(image[None])[0]
    return found


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


def _window_weight(box: Box, shape: tuple[int, ...]) -> Array:
    """Return weights (x, y, z) that fall towards the faces where the brain goes on: there it knows least.

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
