"""The two lines that RANO measures on the axial plane: the longest diameter and its longest perpendicular.

RANO (Wen 2010, doi 10.1200/JCO.2009.26.3541) multiplies the longest diameter of a lesion by its longest
perpendicular. Both lines are inside the lesion, from outer edge to outer edge of its voxels. Lengths and
angles are those in space, whatever the shape and tilt of a voxel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Ends = tuple[tuple[float, float], tuple[float, float]]

#: The largest deviation of a perpendicular from the right angle.
ANGLE_DEGREES = 5.0
_SAMPLES_PER_VOXEL = 4
_GOLDEN = (5**0.5 - 1) / 2  # irrational: no sample falls on a corner that four voxels share
_TIE_MM = 1e-6
_BATCH = 128
#: Points of lines that are tested in one lesion (16 million at most in 54 expert label maps), and edge voxels
#: of one slice between which lines are tried (905 at most in them).
_MOST_POINTS, _MOST_ENDS = 18_000_000, 1000


class Line(NamedTuple):
    """A line in a slice: its length in mm and its ends in voxels (x, y), at the edges of the mask."""

    length_mm: float
    ends: Ends

    def moved(self, x: int, y: int) -> Line:
        """Return the line in a grid that begins ``x`` and ``y`` voxels earlier."""
        (x1, y1), (x2, y2) = self.ends
        return Line(self.length_mm, ((x1 + x, y1 + y), (x2 + x, y2 + y)))


@dataclass(frozen=True)
class Diameters:
    """The longest diameter of a lesion over its axial slices, and its longest perpendicular there."""

    slice: int
    longest: Line
    perpendicular: Line

    @property
    def product_mm2(self) -> float:
        """Return the product of the two lengths."""
        return self.longest.length_mm * self.perpendicular.length_mm

    def moved(self, offset: tuple[int, ...]) -> Diameters:
        """Return the lines in a grid that begins ``offset`` (x, y, z) voxels earlier."""
        x, y, z = offset
        return Diameters(self.slice + z, self.longest.moved(x, y), self.perpendicular.moved(x, y))


class _Pairs(NamedTuple):
    """Lines between voxel centres of a slice: starts and steps (2, line) in voxels, lengths in mm."""

    starts: Ints
    steps: Ints
    lengths: Floats

    def chosen(self, which: npt.NDArray[np.generic]) -> _Pairs:
        return _Pairs(self.starts[:, which], self.steps[:, which], self.lengths[which])

    def line(self, index: int) -> Line:
        """Return a line prolonged to the edges of its end voxels."""
        start, step = self.starts[:, index].astype(float), self.steps[:, index].astype(float)
        ahead = step * 0.5 / max(np.abs(step).max(), 1)
        first, last = (start - ahead).tolist(), (start + step + ahead).tolist()
        return Line(float(self.lengths[index]), ((first[0], first[1]), (last[0], last[1])))


class _Budget:
    """The number of points of lines that may still be tested."""

    def __init__(self, points: int) -> None:
        self.left = points


def find_diameters(mask: Mask, axes: Floats) -> Diameters | None:
    """Return the lines of one lesion, or None for an empty mask.

    ``mask`` is (x, y, z) with z across the axial slices; ``axes`` (3, 3) are its steps in mm. Of slices
    with equally long diameters, that with the larger product counts. In a mask as frayed as noise the work is
    bounded (_MOST_POINTS): slices and lines are then left out, and the lines found are inside the mask but
    may not be the longest.
    """
    inplane, budget = axes[:, :2], _Budget(_MOST_POINTS)
    edges = {int(z): _edge(mask[:, :, z]) for z in np.flatnonzero(mask.any(axis=(0, 1)))}
    bounds = {z: _bound(places, inplane) for z, places in edges.items()}
    best: Diameters | None = None
    for z in sorted(bounds, key=lambda z: -bounds[z]):
        least = best.longest.length_mm - _TIE_MM if best else 0.0
        if best and (bounds[z] < least or budget.left <= 0):
            break
        step = 1 + len(edges[z]) // _MOST_ENDS
        lines = _measure_slice(mask[:, :, z], edges[z][::step], inplane, least=least, budget=budget)
        found = Diameters(z, *lines) if lines else None
        if found and (best is None or _rank(found) > _rank(best)):
            best = found
    return best


def _rank(found: Diameters) -> tuple[float, float]:
    return round(found.longest.length_mm, 5), found.product_mm2


def _bound(places: Ints, axes: Floats) -> float:
    """Return a length that no line between ``places`` (point, 2) exceeds, from 32 directions."""
    angles = np.arange(32) * np.pi / 32
    basis = np.linalg.qr(axes)[0]
    points = places @ axes.T @ basis @ np.stack([np.cos(angles), np.sin(angles)])
    widths = points.max(axis=0) - points.min(axis=0)
    diagonal = np.linalg.norm(axes @ np.array([[1, 1], [1, -1]]), axis=0).max()
    return float(widths.max() / np.cos(np.pi / 64) + diagonal)


def _measure_slice(
    mask: Mask, places: Ints, axes: Floats, *, least: float, budget: _Budget
) -> tuple[Line, Line] | None:
    pairs = _pairs(places, axes)
    budget.left -= 2 * len(pairs.lengths)  # making a line takes as long as testing two points
    longest = _longest_inside(mask, pairs, least, budget)
    if longest is None:
        return None
    along = axes.T @ _direction(longest, axes)
    (x, y), norms = pairs.steps, _norms(pairs.steps, axes)
    cosines = np.abs(along[0] * x + along[1] * y) / np.maximum(norms, 1e-9)
    upright = pairs.chosen((cosines <= np.sin(np.radians(ANGLE_DEGREES))) & (norms > 0))
    perpendicular = _longest_inside(mask, upright, 0.0, budget)
    return longest, perpendicular or _across(longest, axes)


def _edge(mask: Mask) -> Ints:
    """Return the places (voxel, 2) of the voxels at the edge of a slice."""
    around = np.pad(mask, 1)
    rows = around[:-2] & around[1:-1] & around[2:]
    inner = rows[:, :-2] & rows[:, 1:-1] & rows[:, 2:]
    return np.argwhere(mask & ~inner)


def _pairs(places: Ints, axes: Floats) -> _Pairs:
    """Return all lines between some voxels of a slice; of one voxel, the line to itself."""
    one, other = np.triu_indices(len(places), k=min(1, len(places) - 1))
    columns = np.ascontiguousarray(places.T)
    steps = columns[:, other] - columns[:, one]
    most = np.abs(steps).max(axis=0)
    lengths = _norms(steps, axes) * (1 + 1 / np.maximum(most, 1))  # to the faces of the end voxels
    lengths[most == 0] = np.linalg.norm(axes, axis=0).max()
    return _Pairs(columns[:, one], steps, lengths)


def _norms(steps: Ints, axes: Floats) -> Floats:
    """Return the lengths in mm of ``steps`` (2, line) in voxels."""
    gram, (x, y) = axes.T @ axes, steps.astype(np.float64)
    return np.asarray(np.sqrt(gram[0, 0] * x * x + 2 * gram[0, 1] * x * y + gram[1, 1] * y * y))


def _longest_inside(mask: Mask, pairs: _Pairs, least: float, budget: _Budget) -> Line | None:
    """Return the longest line that never leaves the mask and is at least ``least`` mm long."""
    pairs = pairs.chosen(pairs.lengths >= least)
    for count in (1, 2, 4):  # a few points rule out most lines before all are tested
        budget.left -= count * len(pairs.lengths)
        pairs = pairs.chosen(_inside(mask, pairs, np.arange(1.0, count + 1) * _GOLDEN % 1))
    order = np.lexsort((*pairs.steps, *pairs.starts, -np.round(pairs.lengths, 6)))
    start = 0
    while start < len(order):
        step = 1 if budget.left > 0 else 1 + (len(order) - start) // _BATCH
        batch = pairs.chosen(order[start : start + step * _BATCH : step])
        count = _SAMPLES_PER_VOXEL * int(np.abs(batch.steps).max(initial=1))
        whole = np.flatnonzero(_inside(mask, batch, np.arange(_GOLDEN, count) / count))
        if len(whole):
            return batch.line(int(whole[0]))
        budget.left -= count * len(batch.lengths)
        start += step * _BATCH
    return None


def _inside(mask: Mask, pairs: _Pairs, fractions: Floats) -> Mask:
    """Return which lines are in the mask at every one of some fractions of their length."""
    x, y = (
        (start[:, None] + 0.5 + fractions * step[:, None]).astype(
            np.intp
        )  # none is negative: this rounds down
        for start, step in zip(pairs.starts, pairs.steps, strict=True)
    )
    return np.asarray(mask[x, y].all(axis=1))


def _direction(line: Line, axes: Floats) -> Floats:
    vector = axes @ np.subtract(*line.ends[::-1])
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-9))


def _across(line: Line, axes: Floats) -> Line:
    """Return the line across one voxel in the middle of ``line``, for a lesion one voxel wide."""
    gram = axes.T @ axes
    step = np.subtract(*line.ends[::-1])
    normal = np.array([-(gram @ step)[1], (gram @ step)[0]])
    if not normal.any():
        normal = np.array([0.0, 1.0])
    ahead = normal * 0.5 / np.abs(normal).max()
    middle = np.floor(np.add(*line.ends) / 2 + 0.5)
    first, last = (middle - ahead).tolist(), (middle + ahead).tolist()
    length = float(np.linalg.norm(axes @ (2 * ahead)))
    return Line(length, ((first[0], first[1]), (last[0], last[1])))
