"""The shape of a mask in space: surface, sphericity, longest diameter.

A mask is (x, y, z); ``axes`` is the 3 x 3 block of its affine: column i is the step along axis i in mm, so
that anisotropic and oblique grids are measured like any other. The errors are in docs/measurements.md.
"""

from __future__ import annotations

import itertools
import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Step = tuple[int, int, int]

_TIE_MM = 1e-6
#: Along an axis whose voxels are this many times as long as the shortest, steps are of one voxel only.
_COARSE = 2.0


def surface_mm2(mask: Mask, axes: Floats) -> float:
    """Return the area of the surface of a mask in mm2; 0 for an empty mask.

    Cauchy and Crofton: the lines of one direction that cross a surface are as many as its area seen from
    there. Here the lines run along up to 49 steps between voxels, weighted so that the areas of planes of
    every tilt are right in the least-squares sense; on a curved body the errors of the tilts cancel.
    """
    padded = np.pad(mask, 2)
    volume = abs(float(np.linalg.det(axes)))
    area = 0.0
    for step, weight in _weighted_steps(tuple(axes.ravel().tolist())):
        crossings = 2 * np.count_nonzero(mask & ~_shifted(padded, step))  # lines leave as often as they enter
        area += weight * float(crossings) * volume / float(np.linalg.norm(axes @ step))
    return area


def sphericity(volume_mm3: float, surface: float) -> float | None:
    """Return the surface of a ball of the same volume over this surface (Wadell 1935); None for 0."""
    return math.pi ** (1 / 3) * (6 * volume_mm3) ** (2 / 3) / surface if surface > 0 else None


def longest_mm(mask: Mask, axes: Floats) -> float:
    """Return the longest diameter of a mask in mm, outer edge to outer edge; 0 for an empty mask.

    The longest line between two voxel centres, prolonged to the faces of their voxels. It may leave the mask,
    as the maximum three-dimensional diameter does.
    """
    places = np.argwhere(_corners(mask))
    if len(places) == 0:
        return 0.0
    points = places @ axes.T
    points, places = _far_out(points, places)
    squares = (points**2).sum(axis=1)
    best, longest = 0.0, 0.0
    for start in range(0, len(points), 512):
        some = slice(start, start + 512)
        distance = squares[some, None] + squares - 2 * points[some] @ points.T
        far = math.sqrt(max(float(distance.max()), 0.0))
        if far < best - _TIE_MM:
            continue
        one, other = np.nonzero(distance >= max(far - _TIE_MM, 0.0) ** 2)
        reach = float(prolonged(places[some][one] - places[other], axes).max())
        longest = reach if far > best + _TIE_MM else max(longest, reach)
        best = max(best, far)
    return longest


def _far_out(points: Floats, places: npt.NDArray[np.intp]) -> tuple[Floats, npt.NDArray[np.intp]]:
    """Return the points that can end a longest line, relative to the middle of one, and their places."""
    heights = points @ _tilts(64).T
    low, high = points[heights.argmin(axis=0)], points[heights.argmax(axis=0)]
    lengths = np.linalg.norm(high - low, axis=1)
    found = int(lengths.argmax())
    points = points - (low[found] + high[found]) / 2
    radii = np.linalg.norm(points, axis=1)
    kept = radii >= lengths[found] - radii.max() - _TIE_MM
    return points[kept], places[kept]


def prolonged(steps: npt.NDArray[np.int64], axes: Floats) -> Floats:
    """Return lengths in mm of lines between voxel centres, prolonged to the faces of the end voxels.

    ``steps`` (line, axis) are differences in voxels, ``axes`` (3, axis) the steps in mm. A line without a
    length counts as the longest side of one voxel.
    """
    most = np.abs(steps).max(axis=1)
    lengths = np.linalg.norm(steps @ axes.T, axis=1) * (1 + 1 / np.maximum(most, 1))
    return np.asarray(np.where(most > 0, lengths, np.linalg.norm(axes, axis=0).max()))


def _corners(mask: Mask) -> Mask:
    """Return the voxels that can end a longest diameter: those that are not half way between two others."""
    padded = np.pad(mask, 2)
    found = mask.copy()
    for step in _steps(1, 1, 1):
        opposite = (-step[0], -step[1], -step[2])
        found &= ~(_shifted(padded, step) & _shifted(padded, opposite))
    return found


def _shifted(padded: Mask, step: Step) -> Mask:
    """Return the voxel one step away from each voxel inside a padding of 2."""
    return padded[tuple(slice(2 + s, n - 2 + s) for s, n in zip(step, padded.shape, strict=True))]


def _steps(*most: int) -> list[Step]:
    """Return the steps of up to ``most`` voxels along each axis, one of each pair of opposite ones."""
    ranges = (range(-n, n + 1) for n in most)
    return [
        (x, y, z)
        for x, y, z in itertools.product(*ranges)
        if (x, y, z) > (0, 0, 0) and math.gcd(x, y, z) == 1
    ]


@lru_cache(maxsize=8)
def _weighted_steps(axes: tuple[float, ...]) -> list[tuple[Step, float]]:
    """Return steps with weights: the projections of a unit area of any tilt along all of them sum to 1."""
    matrix = np.reshape(axes, (3, 3))
    lengths = np.linalg.norm(matrix, axis=0)
    steps = _steps(*np.where(lengths < _COARSE * lengths.min(), 2, 1).tolist())
    directions = np.array(steps) @ matrix.T
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    seen = np.abs(_tilts(1000) @ directions.T)
    weights = np.linalg.lstsq(seen, np.ones(len(seen)), rcond=None)[0].tolist()
    return list(zip(steps, weights, strict=True))


def _tilts(count: int) -> Floats:
    """Return unit vectors (vector, 3) evenly spread over the sphere, on a spiral of the golden angle."""
    height = 1 - (2 * np.arange(count) + 1) / count
    turn = math.pi * (3 - math.sqrt(5)) * np.arange(count)
    radius = np.sqrt(1 - height**2)
    return np.stack([radius * np.cos(turn), radius * np.sin(turn), height], axis=1)
