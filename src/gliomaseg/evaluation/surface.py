"""How far the surfaces of two masks lie apart: pure functions on (x, y, z) masks and a spacing in mm.

Two definitions of a surface are in use, and their numbers differ:

* **voxels** (MedPy; BraTS up to 2022, and from 2025): voxels with a face on the outside, all of one weight;
  the distances of both directions are pooled;
* **elements** (DeepMind's surface-distance; BraTS 2023 and 2024): the pieces of ``surfels``, weighted by
  their area; of the two directions the worse one counts.

Beyond the image is background. Unless said otherwise, a function gives NaN if a mask is empty: a rule for
that belongs to a profile. Ignorant of labels and of profiles.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from gliomaseg.evaluation.metrics import check_shapes
from gliomaseg.evaluation.morphology import nearest
from gliomaseg.evaluation.surfels import FULL, element_areas, neighbour_codes

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int32]
Places = npt.NDArray[np.int64]
Ids = frozenset[int]
Spacing = tuple[float, float, float]
Kind = Literal["voxels", "elements"]

VOXEL_UNITS: Spacing = (1.0, 1.0, 1.0)
_PERCENT = 95.0


@dataclass(frozen=True)
class SurfaceDistances:
    """From each piece of one surface the distance to the other surface in mm, and the pieces' weights.

    All are (n,) or (m,): n pieces of the prediction, m of the reference. Weights are areas in mm², or 1 for
    voxels. Distances to an empty mask are infinite.
    """

    from_prediction: Floats
    from_reference: Floats
    prediction_weights: Floats
    reference_weights: Floats

    @property
    def defined(self) -> bool:
        """Return whether neither mask is empty."""
        return bool(len(self.from_prediction) and len(self.from_reference))

    @cached_property
    def pooled_hd95(self) -> float:
        """Return the 95th percentile of all distances of both directions, weights left aside (MedPy)."""
        if not self.defined:
            return np.nan
        return float(np.percentile(np.concatenate([self.from_prediction, self.from_reference]), _PERCENT))

    @cached_property
    def greater_hd95(self) -> float:
        """Return the greater of both directions' distance below which 95 % of the weight lies (DeepMind)."""
        if not self.defined:
            return np.nan
        return max(
            _weighted_percentile(self.from_prediction, self.prediction_weights),
            _weighted_percentile(self.from_reference, self.reference_weights),
        )

    @cached_property
    def average(self) -> float:
        """Return the mean distance over both surfaces together, by weight (symmetric)."""
        if not self.defined:
            return np.nan
        total = (self.from_prediction * self.prediction_weights).sum()
        total += (self.from_reference * self.reference_weights).sum()
        return float(total / (self.prediction_weights.sum() + self.reference_weights.sum()))

    def dice(self, tolerance: float) -> float:
        """Return the share of both surfaces' weight within ``tolerance`` of the other one (DeepMind)."""
        if not self.defined:
            return np.nan
        near = self.prediction_weights[self.from_prediction <= tolerance].sum()
        near += self.reference_weights[self.from_reference <= tolerance].sum()
        return float(near / (self.prediction_weights.sum() + self.reference_weights.sum()))

    def mean_share(self, tolerance: float) -> float:
        """Return the mean of both directions' share of pieces within ``tolerance`` (nnU-Net, panoptica)."""
        if not self.defined:
            return np.nan
        shares = [
            (distances <= tolerance).mean() for distances in (self.from_prediction, self.from_reference)
        ]
        return float(np.mean(shares))


def voxel_hd95(prediction: Mask, reference: Mask, spacing: Spacing = VOXEL_UNITS) -> float:
    """Return the pooled HD95 of two masks (x, y, z) in mm, in voxels without a spacing; NaN if one is empty.

    As ``medpy.metric.binary.hd95`` with connectivity 1.
    """
    return voxel_distances(prediction, reference, spacing).pooled_hd95


def element_hd95(prediction: Mask, reference: Mask, spacing: Spacing) -> float:
    """Return the area-weighted HD95 of two masks (x, y, z) in mm; NaN if one is empty.

    As ``compute_robust_hausdorff(..., 95)`` of DeepMind's surface-distance.
    """
    return element_distances(prediction, reference, spacing).greater_hd95


def average_surface_distance(prediction: Mask, reference: Mask, spacing: Spacing) -> float:
    """Return the area-weighted mean distance between two masks' surfaces in mm; NaN if one is empty.

    Both surfaces count together: the mean of DeepMind's two averages, weighted by the surfaces' areas.
    """
    return element_distances(prediction, reference, spacing).average


def surface_dice(prediction: Mask, reference: Mask, spacing: Spacing, tolerance_mm: float) -> float:
    """Return the normalised surface Dice (NSD) of two masks (x, y, z); NaN if one is empty.

    As ``compute_surface_dice_at_tolerance`` of DeepMind's surface-distance.
    """
    return element_distances(prediction, reference, spacing).dice(tolerance_mm)


def voxel_distances(prediction: Mask, reference: Mask, spacing: Spacing = VOXEL_UNITS) -> SurfaceDistances:
    """Return the distances between the surface voxels of two masks (x, y, z)."""
    return SurfacePair(*_cropped(prediction, reference), spacing, kind="voxels").distances()


def element_distances(prediction: Mask, reference: Mask, spacing: Spacing) -> SurfaceDistances:
    """Return the distances between the surface elements of two masks (x, y, z), weighted by area.

    An element lies at the centre of its cube.
    """
    return SurfacePair(*_cropped(prediction, reference), spacing, kind="elements").distances()


class SurfacePair:
    """The surfaces of two numbered maps, and how far apart any of their components are.

    Components don't touch, so a surface is that of its components together, and the nearest point of all is
    the nearest one of a selection that it belongs to: only other points are searched for anew.
    """

    def __init__(self, predicted: Numbers, expected: Numbers, spacing: Spacing, *, kind: Kind) -> None:
        make = _surface_of_voxels if kind == "voxels" else _surface_of_elements
        self._surfaces = make(predicted, spacing), make(expected, spacing)
        self._shape = tuple(n + 1 for n in predicted.shape)
        self._spacing = np.array(spacing)
        self._nearest = self._find_nearest(0), self._find_nearest(1)

    def distances(self, predicted: Ids | None = None, expected: Ids | None = None) -> SurfaceDistances:
        """Return the distances between some components of both maps; between all by default."""
        wanted = [
            surface.ids > 0 if ids is None else _table(surface.ids, ids)[surface.ids]
            for surface, ids in zip(self._surfaces, (predicted, expected), strict=True)
        ]
        weights = [surface.weights[chosen] for surface, chosen in zip(self._surfaces, wanted, strict=True)]
        return SurfaceDistances(self._from(0, wanted), self._from(1, wanted), *weights)

    def _find_nearest(self, side: int) -> tuple[Floats, Places]:
        """Return for each piece of a side the distance to the other side, and which piece there is nearest.

        Where both sides have a piece, the distance is 0; only the rest is searched for.
        """
        ours, theirs = self._surfaces[side], self._surfaces[1 - side]
        if not len(ours.ids) or not len(theirs.ids):
            return np.full(len(ours.ids), np.inf), np.full(len(ours.ids), -1, dtype=np.int64)
        there = np.full(self._shape, -1, dtype=np.int64)
        there[tuple(theirs.places.T)] = np.arange(len(theirs.ids))
        places = there[tuple(ours.places.T)]
        apart = places < 0
        distances = np.zeros(len(ours.ids))
        if apart.any():
            points, targets = ours.places[apart] * self._spacing, theirs.places * self._spacing
            distances[apart], places[apart] = nearest(points, targets)
        return distances, places

    def _from(self, side: int, wanted: list[Mask]) -> Floats:
        chosen, targets = wanted[side], wanted[1 - side]
        distances, places = self._nearest[side][0][chosen], self._nearest[side][1][chosen]
        if not targets.any():
            return np.full_like(distances, np.inf)
        lost = ~targets[places]
        if lost.any():
            points = self._surfaces[side].places[chosen][lost] * self._spacing
            distances[lost], _ = nearest(points, self._surfaces[1 - side].places[targets] * self._spacing)
        return distances


@dataclass(frozen=True)
class _Surface:
    """The pieces of a surface: where they are (n, 3), which component's (n,) and their weights (n,)."""

    places: Places
    ids: Numbers
    weights: Floats


def _surface_of_voxels(numbers: Numbers, _spacing: Spacing) -> _Surface:
    padded = np.pad(numbers, 1)
    places = np.argwhere(surface_voxels(padded > 0))
    ids = padded[tuple(places.T)]
    return _Surface(places - 1, ids, np.ones(len(ids)))


def _surface_of_elements(numbers: Numbers, spacing: Spacing) -> _Surface:
    padded = np.pad(numbers, 1)
    codes = neighbour_codes(padded > 0)
    places = np.argwhere((codes != 0) & (codes != FULL))
    corners = [padded[tuple((places + step).T)] for step in itertools.product((0, 1), repeat=3)]
    ids = np.max(corners, axis=0, initial=0)
    return _Surface(places, ids, element_areas(spacing)[codes[tuple(places.T)]])


def _table(numbers: Numbers, ids: Ids) -> Mask:
    table = np.zeros(max(int(numbers.max(initial=0)), *ids, 0) + 1, dtype=bool)
    table[list(ids)] = True
    return table


def surface_voxels(mask: Mask) -> Mask:
    """Return the voxels of a mask with a face on the outside; its outermost layer must be background."""
    inner = mask.copy()
    for axis in range(mask.ndim):
        inner &= np.roll(mask, 1, axis) & np.roll(mask, -1, axis)
    return mask & ~inner


def _weighted_percentile(distances: Floats, weights: Floats) -> float:
    order = np.lexsort((weights, distances))
    share = np.cumsum(weights[order]) / np.sum(weights[order])
    place = np.searchsorted(share, _PERCENT / 100)
    return float(distances[order][min(int(place), len(distances) - 1)])


def _cropped(prediction: Mask, reference: Mask) -> tuple[Numbers, Numbers]:
    """Return both masks, as one component each, cropped to the box around their union."""
    check_shapes(prediction, reference)
    box = bounding_box(prediction | reference)
    return prediction[box].astype(np.int32), reference[box].astype(np.int32)


def bounding_box(mask: Mask) -> tuple[slice, ...]:
    """Return the smallest box around a mask (x, y, z); one of no voxels if it is empty."""
    box: list[slice] = []
    for axis in range(mask.ndim):
        mask_inside = mask[tuple(box)]
        where = np.flatnonzero(mask_inside.any(axis=tuple(i for i in range(mask.ndim) if i != axis)))
        box.append(slice(int(where[0]), int(where[-1]) + 1) if where.size else slice(0, 0))
    return tuple(box)
