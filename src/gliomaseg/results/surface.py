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

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gliomaseg.results.metrics import check_shapes
from gliomaseg.results.morphology import nearest_distances
from gliomaseg.results.surfels import FULL, element_areas, neighbour_codes

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Spacing = tuple[float, float, float]

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

    def pooled_hd95(self) -> float:
        """Return the 95th percentile of all distances of both directions, weights left aside (MedPy)."""
        if not self.defined:
            return np.nan
        return float(np.percentile(np.concatenate([self.from_prediction, self.from_reference]), _PERCENT))

    def greater_hd95(self) -> float:
        """Return the greater of both directions' distance below which 95 % of the weight lies (DeepMind)."""
        if not self.defined:
            return np.nan
        return max(
            _weighted_percentile(self.from_prediction, self.prediction_weights),
            _weighted_percentile(self.from_reference, self.reference_weights),
        )

    def average(self) -> float:
        """Return the mean distance over both surfaces together, by weight (symmetric)."""
        if not self.defined:
            return np.nan
        total = self.from_prediction @ self.prediction_weights + self.from_reference @ self.reference_weights
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
    return voxel_distances(prediction, reference, spacing).pooled_hd95()


def element_hd95(prediction: Mask, reference: Mask, spacing: Spacing) -> float:
    """Return the area-weighted HD95 of two masks (x, y, z) in mm; NaN if one is empty.

    As ``compute_robust_hausdorff(..., 95)`` of DeepMind's surface-distance.
    """
    return element_distances(prediction, reference, spacing).greater_hd95()


def average_surface_distance(prediction: Mask, reference: Mask, spacing: Spacing) -> float:
    """Return the area-weighted mean distance between two masks' surfaces in mm; NaN if one is empty.

    Both surfaces count together: the mean of DeepMind's two averages, weighted by the surfaces' areas.
    """
    return element_distances(prediction, reference, spacing).average()


def surface_dice(prediction: Mask, reference: Mask, spacing: Spacing, tolerance_mm: float) -> float:
    """Return the normalised surface Dice (NSD) of two masks (x, y, z); NaN if one is empty.

    As ``compute_surface_dice_at_tolerance`` of DeepMind's surface-distance.
    """
    return element_distances(prediction, reference, spacing).dice(tolerance_mm)


def voxel_distances(prediction: Mask, reference: Mask, spacing: Spacing = VOXEL_UNITS) -> SurfaceDistances:
    """Return the distances between the surface voxels of two masks (x, y, z)."""
    surfaces = [surface_voxels(mask) for mask in _cropped(prediction, reference)]
    weights = [np.ones(np.count_nonzero(surface)) for surface in surfaces]
    return _between(surfaces, weights, spacing)


def element_distances(prediction: Mask, reference: Mask, spacing: Spacing) -> SurfaceDistances:
    """Return the distances between the surface elements of two masks (x, y, z), weighted by area.

    An element lies at the centre of its cube.
    """
    codes = [neighbour_codes(mask) for mask in _cropped(prediction, reference)]
    surfaces = [(code != 0) & (code != FULL) for code in codes]
    areas = element_areas(spacing)
    weights = [areas[code[surface]] for code, surface in zip(codes, surfaces, strict=True)]
    return _between(surfaces, weights, spacing)


def _between(surfaces: list[Mask], weights: list[Floats], spacing: Spacing) -> SurfaceDistances:
    prediction, reference = surfaces
    return SurfaceDistances(
        _to_other(prediction, reference, spacing), _to_other(reference, prediction, spacing), *weights
    )


def _to_other(surface: Mask, other: Mask, spacing: Spacing) -> Floats:
    """Return the distance from each voxel of a surface to the nearest of another one, in C order.

    Where both are, it is 0; only the rest is searched for.
    """
    apart = surface & ~other
    distances = np.zeros(np.count_nonzero(surface))
    distances[apart[surface]] = nearest_distances(
        np.argwhere(apart) * np.array(spacing), np.argwhere(other) * np.array(spacing)
    )
    return distances


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


def _cropped(prediction: Mask, reference: Mask) -> tuple[Mask, Mask]:
    """Return both masks cropped to the box around their union, with one layer of background around it."""
    check_shapes(prediction, reference)
    box = bounding_box(prediction | reference)
    return np.pad(prediction[box], 1), np.pad(reference[box], 1)


def bounding_box(mask: Mask) -> tuple[slice, ...]:
    """Return the smallest box around a mask (x, y, z); one of no voxels if it is empty."""
    box: list[slice] = []
    for axis in range(mask.ndim):
        mask_inside = mask[tuple(box)]
        where = np.flatnonzero(mask_inside.any(axis=tuple(i for i in range(mask.ndim) if i != axis)))
        box.append(slice(int(where[0]), int(where[-1]) + 1) if where.size else slice(0, 0))
    return tuple(box)
