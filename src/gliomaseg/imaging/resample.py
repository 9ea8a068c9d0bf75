"""The only interpolation: values of one grid on another, by their two affines.

Along an axis that becomes finer, values are interpolated linearly; along one that becomes coarser, they are
averaged over the extent of each new voxel, as a thick slice averages the tissue in it. Flipped and exchanged
axes are undone exactly.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from gliomaseg.imaging.volume import GRID_TOLERANCE_MM, Box, Grid, filled_box, turned_grid, turned_like

Floats = npt.NDArray[np.float32]
_Array = npt.NDArray[np.generic]
_Weights = npt.NDArray[np.float64]
_T = TypeVar("_T", bound=np.generic)

#: Share of a new voxel that must be inside the old image.
_HALF = 0.499
_NOWHERE = (slice(0, 1), slice(0, 1), slice(0, 1))


def resample(image: _Array, grid: Grid, target: Grid) -> _Array:
    """Return a skull-stripped ``image`` (x, y, z) on ``target``; itself if the grids are the same.

    Brain is not mixed with the background of 0: a voxel that is mostly brain gets the mean of the brain in
    it, any other becomes 0. Integers are rounded.
    """
    image, grid = turned_like(image, grid, target), turned_grid(grid, target)
    if grid.matches(target):
        return image
    (values, box), (share, _) = _filled_part(image, grid, target), _filled_part(image != 0, grid, target)
    np.divide(values, share, out=values, where=share >= _HALF)
    values[share < _HALF] = 0
    if image.dtype.kind == "f":
        return _filled(target, box, values)
    return _filled(target, box, np.rint(values, out=values).astype(image.dtype))


def regrid(array: _Array, grid: Grid, target: Grid) -> Floats:
    """Return ``array`` (x, y, z) on ``target``; 0 beyond the image."""
    array, grid = turned_like(array, grid, target), turned_grid(grid, target)
    values, box = _filled_part(array, grid, target)
    return _filled(target, box, values)


def _filled(grid: Grid, box: Box, values: npt.NDArray[_T]) -> npt.NDArray[_T]:
    out = np.zeros(grid.shape, dtype=values.dtype, order="F")  # x fastest, as in the files
    out[box] = values
    return out


def _filled_part(array: _Array, grid: Grid, target: Grid) -> tuple[Floats, Box]:
    """Return the part of ``regrid`` that may be other than 0, and its box in ``target`` (x, y, z)."""
    filled = filled_box(array) or _NOWHERE
    step = np.linalg.inv(grid.affine) @ target.affine
    steps, starts = np.diag(step)[:3], step[:3, 3]
    if np.abs((step[:3, :3] - np.diag(steps)) @ target.shape).max() * max(grid.spacing) > GRID_TOLERANCE_MM:
        box = _reached(filled, step, target.shape)
        return _tilted(array, step, box), box
    found, places = array[filled].astype(np.float32), []
    for axis, side in enumerate(filled):
        centres = np.round(starts[axis] + steps[axis] * np.arange(target.shape[axis]), 4)
        weights = _weights(centres, steps[axis], grid.shape[axis])[:, side]
        rows = np.flatnonzero(weights.any(axis=1))
        places.append(slice(int(rows[0]), int(rows[-1]) + 1) if rows.size else slice(0, 0))
        found = _along(found, weights[places[-1]], axis)
    return found, (places[0], places[1], places[2])


def _weights(centres: npt.NDArray[np.float64], step: float, count: int) -> _Weights:
    """Return the share (new, old) of each old voxel in each new one.

    ``centres`` and ``step``, the length of a new voxel, are in units of the ``count`` old ones.
    """
    old, new = np.arange(count), centres[:, None]
    if step > 1 + 1e-3:
        ends = np.minimum(new + step / 2, old + 0.5), np.maximum(new - step / 2, old - 0.5)
        weights = np.maximum(ends[0] - ends[1], 0) / step
    else:
        weights = np.maximum(1 - np.abs(new - old), 0)
    total = weights.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(weights, total, out=np.zeros_like(weights), where=total >= _HALF))


def _along(array: Floats, weights: _Weights, axis: int) -> Floats:
    """Return ``array`` (x, y, z) with ``weights`` (new, old) applied along one axis."""
    if weights.shape[0] == weights.shape[1] and np.array_equal(weights, np.eye(len(weights))):
        return array
    return np.moveaxis(np.tensordot(weights.astype(np.float32), array, (1, axis)), 0, axis)


def _reached(filled: Box, step: npt.NDArray[np.float64], shape: tuple[int, int, int]) -> Box:
    """Return the box of a tilted grid of ``shape`` that the box ``filled`` of the old one may reach."""
    sides = [(side.start - 1, side.stop) for side in filled]
    corners = np.array(np.meshgrid(*sides, [1])).reshape(4, -1)
    places = (np.linalg.inv(step) @ corners)[:3]
    low, high = np.floor(places.min(axis=1)).astype(int), np.ceil(places.max(axis=1)).astype(int)
    x, y, z = (
        slice(min(max(int(first) - 1, 0), size - 1), max(min(int(last) + 2, size), 1))
        for first, last, size in zip(low, high, shape, strict=True)
    )
    return x, y, z


def _tilted(array: _Array, step: npt.NDArray[np.float64], box: Box) -> Floats:
    """Return ``array`` in a ``box`` of a tilted grid, whose voxel indices ``step`` maps to the old ones.

    Interpolation is linear. A new voxel that is longer than an old one is the mean of places along it, about
    as far apart as the old ones.
    """
    from scipy import ndimage  # slow to import, and most cases don't need it

    image, shape = array.astype(np.float32), tuple(side.stop - side.start for side in box)
    turn, start = step[:3, :3], step[:3, :3] @ [side.start for side in box] + step[:3, 3]
    counts = np.maximum(1, np.round(np.abs(turn).max(axis=0))).astype(int)
    out = np.zeros(shape, np.float32, order="F")
    some = np.empty_like(out) if counts.prod() > 1 else out  # an image is large: no second one unless needed
    for place in np.ndindex(*counts):
        offset = start + turn @ ((np.add(place, 0.5)) / counts - 0.5)
        ndimage.affine_transform(image, turn, offset, output=some, order=1, mode="nearest")
        if some is not out:
            out += some
    ones = np.ones(image.shape, np.uint8)
    inside = ndimage.affine_transform(
        ones, turn, start, output=np.uint8, output_shape=shape, order=0, mode="grid-constant"
    )
    out *= inside
    out /= counts.prod()
    return out
