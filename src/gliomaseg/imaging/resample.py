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
    """Return ``array`` (x, y, z) on ``target``, whose axes run like those of ``grid``; 0 beyond the image."""
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
        x, y, z = (slice(0, n) for n in target.shape)
        return _tilted(array.astype(np.float32), step, target.shape), (x, y, z)
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


def _tilted(image: Floats, step: npt.NDArray[np.float64], shape: tuple[int, int, int]) -> Floats:
    """Return ``image`` on a tilted grid, linear; ``step`` maps voxel indices of the new grid to the old."""
    from scipy import ndimage  # slow to import, and most cases don't need it

    out: Floats = np.empty(shape, np.float32, order="F")
    inside = np.empty(shape, np.float32, order="F")
    ndimage.affine_transform(image, step[:3, :3], step[:3, 3], output=out, order=1, mode="nearest")
    ones = np.ones(image.shape, np.float32)
    ndimage.affine_transform(ones, step[:3, :3], step[:3, 3], output=inside, order=0, mode="grid-constant")
    out *= inside
    return out
