"""Distances between the surfaces of two masks (x, y, z).

Two definitions of a surface are in use, and their numbers differ:

* **voxels** (MedPy; BraTS up to 2022, and from 2025): voxels with a face on the outside, all of one weight;
  the distances of both directions are pooled;
* **elements** (DeepMind's surface-distance; BraTS 2023 and 2024): the pieces of ``surfels``, weighted by
  their area; the greater of the two directions counts.

Outside the image is background. Every score is NaN if a mask is empty: the rule for that is the profile's.
SciPy is imported on first use: Dice and IoU don't need it.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

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
    """The distance in mm from each piece of one surface to the other surface, and the pieces' weights.

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
        """Return the 95th percentile of the distances of both directions together, unweighted (MedPy).

        As ``medpy.metric.binary.hd95`` with connectivity 1, for voxels.
        """
        if not self.defined:
            return np.nan
        return float(np.percentile(np.concatenate([self.from_prediction, self.from_reference]), _PERCENT))

    @cached_property
    def greater_hd95(self) -> float:
        """Return the greater of both directions' distance that covers 95 % of its weight.

        As ``compute_robust_hausdorff(..., 95)`` of DeepMind's surface-distance, for elements.
        """
        if not self.defined:
            return np.nan
        return max(
            _weighted_percentile(self.from_prediction, self.prediction_weights),
            _weighted_percentile(self.from_reference, self.reference_weights),
        )

    @cached_property
    def average(self) -> float:
        """Return the weighted mean distance over both surfaces together.

        For elements: the mean of DeepMind's two averages, weighted by the surfaces' areas.
        """
        if not self.defined:
            return np.nan
        total = (self.from_prediction * self.prediction_weights).sum()
        total += (self.from_reference * self.reference_weights).sum()
        return float(total / (self.prediction_weights.sum() + self.reference_weights.sum()))

    def dice(self, tolerance: float) -> float:
        """Return the share of both surfaces' weight within ``tolerance`` of the other surface.

        As ``compute_surface_dice_at_tolerance`` of DeepMind's surface-distance, for elements.
        """
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


class SurfacePair:
    """The surfaces of two maps of numbered components, for distances between any of their components.

    Components don't touch, so that the surface of a mask is that of its components. The nearest point of the
    whole other surface is also the nearest of any selection that contains it: only the other points are
    searched for again.
    """

    def __init__(self, predicted: Numbers, expected: Numbers, spacing: Spacing, *, kind: Kind) -> None:
        make = _surface_of_voxels if kind == "voxels" else _surface_of_elements
        self._surfaces = make(predicted, spacing), make(expected, spacing)
        self._shape = tuple(n + 1 for n in predicted.shape)
        self._spacing = np.array(spacing)
        self._nearest = self._find_nearest(0), self._find_nearest(1)

    def distances(self, predicted: Ids, expected: Ids) -> SurfaceDistances:
        """Return the distances between the named components of both maps."""
        wanted = [
            np.isin(surface.ids, list(ids))
            for surface, ids in zip(self._surfaces, (predicted, expected), strict=True)
        ]
        weights = [surface.weights[chosen] for surface, chosen in zip(self._surfaces, wanted, strict=True)]
        return SurfaceDistances(self._from(0, wanted), self._from(1, wanted), *weights)

    def _find_nearest(self, side: int) -> tuple[Floats, Places]:
        """Return for each piece of one side the distance to the other side, and the nearest piece there.

        Where both sides have a piece, the distance is 0; only the other pieces are searched for.
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
    """The pieces of a surface: their places (n, 3) in voxels, component numbers (n,) and weights (n,)."""

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


def nearest(points: Floats, targets: Floats) -> tuple[Floats, Places]:
    """Return the distance of each point (n, 3) to the nearest of the targets (m, 3), and its index."""
    from scipy.spatial import cKDTree

    # the fastest kind of tree for the points of surfaces, which are spread evenly
    tree = cKDTree(targets, leafsize=32, compact_nodes=False, balanced_tree=False)
    distances, places = tree.query(points)
    return np.asarray(distances, dtype=np.float64), np.asarray(places, dtype=np.int64)


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
