"""Measure a segmentation: volumes, lesions, shape, RANO lines, side. Ignorant of files.

Everything is computed in space: the same anatomy measures the same whatever the storage order, voxel size
and tilt of its grid. Definitions are in docs/measurements.md, with the error of each number on bodies of
known size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from gliomaseg.imaging.components import label_components
from gliomaseg.imaging.planes import ras_spacing, turned_to_ras
from gliomaseg.imaging.volume import Box, Grid, Segmentation, Volume, filled_box
from gliomaseg.inference.uncertainty import Uncertainty
from gliomaseg.labels import REGION_TISSUES, LabelScheme, Region
from gliomaseg.measurement.diameters import find_diameters
from gliomaseg.measurement.measurements import (
    NATIVE,
    Lesion,
    Measurements,
    Point,
    RegionSize,
    Shape,
    TissueSize,
)
from gliomaseg.measurement.shape import longest_mm, sphericity, surface_mm2
from gliomaseg.measurement.symmetry import Side, find_side, find_symmetry_plane

Mask = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.uint8]
Counted = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]

#: The least lesion that counts, in ml: 50 voxels of 1 mm, as BraTS 2023 counts lesions.
LEAST_LESION_ML = 0.05
#: RANO 2010 (doi 10.1200/JCO.2009.26.3541): both diameters at least 10 mm, seen on two axial slices; at
#: least twice the slice thickness where slices are thicker than 5 mm.
MEASURABLE_MM, MEASURABLE_SLICES, THICK_MM = 10.0, 2, 5.0
#: So many of the largest lesions get lines.
MOST_LESIONS = 20
#: A head is no brain, nor is a part of one.
BRAIN_ML = (600.0, 2500.0)


def measure(
    segmentation: Segmentation,
    *,
    images: Volume | None = None,
    uncertainty: Mapping[Region, Uncertainty] | None = None,
    across_necrosis: bool = True,
    own: Grid | None = None,
) -> Measurements:
    """Measure a label map, (x, y, z); zeros and empty lists where there is no tumour.

    ``images`` (skull-stripped: 0 outside) give the side and the volume of the brain. ``uncertainty``
    is how sure the model is of each region. ``across_necrosis`` lets RANO lines cross the necrosis that
    enhancing tumour surrounds, but never a cavity; else they stay in enhancing voxels. ``own`` is the grid of
    the images as scanned, if the map was made at 1 mm: its slices decide what RANO calls measurable.
    Raises LabelError (E-LABELS) when the map holds a value outside its scheme.
    """
    own = own or segmentation.grid
    labels, affine = turned_to_ras(segmentation.labels, segmentation.grid)
    box = _box(labels)
    crop = _Crop(np.ascontiguousarray(labels[box]), segmentation.scheme, affine, box)
    crop.slice_mm = max(crop.slice_mm, ras_spacing(own)[2])
    sizes = _volumes(crop.labels, segmentation, uncertainty or {})
    regions, counted = _sized(crop, sizes)
    enhancing = regions[-1].lesions > 0
    found = counted[Region.TC if enhancing else Region.WT]
    lesions = [crop.lesion(found == n, across_necrosis or not enhancing) for n in range(1, _most(found) + 1)]
    kept = (lesion for lesion in lesions if lesion and (lesion.enhancing_ml > 0 or not enhancing))
    side, brain = _locate(crop, counted[Region.WT], images)
    return replace(
        sizes,
        regions=tuple(regions),
        lesions=tuple(kept),
        enhancing=enhancing,
        side=side,
        brain_ml=brain,
        measured_on=NATIVE if own is segmentation.grid else f"{segmentation.grid.spacing[0]:.3g} mm",
        own_mm=ras_spacing(own),
    )


def _sized(crop: _Crop, sizes: Measurements) -> tuple[list[RegionSize], dict[Region, Counted]]:
    """Return each region with its lesions counted and its shape, and the map of its lesions, numbered."""
    regions: list[RegionSize] = []
    counted: dict[Region, Counted] = {}
    for size in sizes.regions:
        counted[size.region], voxels = crop.lesions(size.region)
        shape = crop.shape(counted[size.region] == 1) if len(voxels) else None
        regions.append(replace(size, lesions=len(voxels), largest=shape))
    return regions, counted


def _volumes(
    labels: Labels, segmentation: Segmentation, uncertainty: Mapping[Region, Uncertainty]
) -> Measurements:
    """Count ``labels``, those of the segmentation that are not background."""
    scheme, voxel_ml = segmentation.scheme, segmentation.grid.voxel_ml
    counts = np.bincount(labels.ravel(), minlength=256)
    if not set(np.flatnonzero(counts).tolist()) <= scheme.allowed:
        scheme.check(segmentation.labels, "the segmentation")
    voxels = {tissue: int(counts[value]) for tissue, value in scheme.values.items()}
    tissues = [
        TissueSize(value, tissue, voxels[tissue], _rounded(voxels[tissue] * voxel_ml))
        for tissue, value in sorted(scheme.values.items(), key=lambda item: item[1])
    ]
    regions = []
    for region in Region:
        total = sum(voxels.get(tissue, 0) for tissue in REGION_TISSUES[region])
        size, sure = RegionSize(region, total, _rounded(total * voxel_ml)), uncertainty.get(region)
        if sure:
            size = replace(size, range_ml=_range_ml(size.volume_ml, sure), predicted_dice=sure.dice)
        regions.append(size)
    return Measurements(voxel_ml, tuple(tissues), tuple(regions), least_lesion_ml=LEAST_LESION_ML)


def _range_ml(volume_ml: float, sure: Uncertainty) -> tuple[float, float] | None:
    """Return the interval of a volume, which holds the volume that was found."""
    if sure.range_ml is None:
        return None
    low, high = sure.range_ml
    return _rounded(min(low, volume_ml)), _rounded(max(high, volume_ml))


def _rounded(ml: float) -> float:
    """Return a volume to a millionth of a millilitre: what binary fractions add is nothing to print."""
    return round(ml, 6)


class _Crop:
    """The labels around the tumour in RAS order, and where they lie."""

    def __init__(self, labels: Labels, scheme: LabelScheme, affine: Floats, box: Box) -> None:
        self.labels, self.scheme, self.box = labels, scheme, box
        self.image_affine = affine
        self.axes = affine[:3, :3]
        self.affine = affine.copy()
        self.affine[:3, 3] += self.axes @ np.array([part.start for part in box])
        self.voxel_ml = abs(float(np.linalg.det(self.axes))) / 1000
        normal = np.cross(self.axes[:, 0], self.axes[:, 1])
        self.step_mm = abs(float(normal @ self.axes[:, 2])) / float(np.linalg.norm(normal))
        self.slice_mm = self.step_mm

    def places(self, voxels: Floats) -> Floats:
        """Return the mm (point, 3) of voxels of the crop (point, 3)."""
        return np.asarray(voxels @ self.axes.T + self.affine[:3, 3])

    def lesions(self, region: Region) -> tuple[Counted, npt.NDArray[np.int64]]:
        """Return the lesion of each voxel, 1 the largest, and their voxels; those too small are left out."""
        labels, count = label_components(self.scheme.mask(self.labels, region))
        voxels = np.bincount(labels.ravel(), minlength=count + 1)[1:]
        order = np.argsort(-voxels, kind="stable")
        kept = order[voxels[order] * self.voxel_ml >= LEAST_LESION_ML * (1 - 1e-9)]
        ranks = np.zeros(count + 1, dtype=np.int32)
        ranks[kept + 1] = np.arange(1, len(kept) + 1)
        return ranks[labels], voxels[kept]

    def shape(self, mask: Mask) -> Shape:
        """Return the shape of one lesion."""
        box = _box(mask)
        near = mask[box]
        volume = float(np.count_nonzero(near) * self.voxel_ml)
        surface = surface_mm2(near, self.axes)
        centre = self.places(np.argwhere(near).mean(axis=0) + [part.start for part in box])
        return Shape(
            volume, surface, sphericity(volume * 1000, surface), _point(centre), longest_mm(near, self.axes)
        )

    def lesion(self, mask: Mask, across_necrosis: bool) -> Lesion | None:
        """Return one lesion with its RANO lines; None where no line is allowed."""
        enhancing = mask & self.scheme.mask(self.labels, Region.ET)
        where = mask if across_necrosis else enhancing
        if not where.any():
            return None
        box = _box(where)
        found = find_diameters(where[box], self.axes)
        if found is None:
            return None
        found = found.moved(tuple(part.start for part in box))
        lines = (found.longest, found.perpendicular)
        ends = [_point(self.places(np.array([*end, found.slice]))) for line in lines for end in line.ends]
        slices = int(np.count_nonzero(where.any(axis=(0, 1))))
        least = max(MEASURABLE_MM, 2 * self.slice_mm if self.slice_mm > THICK_MM else 0.0)
        large = min(found.longest.length_mm, found.perpendicular.length_mm) >= least - 1e-6
        return Lesion(
            float(np.count_nonzero(mask) * self.voxel_ml),
            float(np.count_nonzero(enhancing) * self.voxel_ml),
            slices,
            found.moved(tuple(part.start for part in self.box)),
            tuple(ends),
            large and slices * self.step_mm >= MEASURABLE_SLICES * self.slice_mm - 1e-6,
            found.slice + self.box[2].start + 1,
        )


def _locate(crop: _Crop, lesions: Counted, images: Volume | None) -> tuple[Side | None, float | None]:
    """Return the side of the tumour and the volume of the brain in ml, where the images tell."""
    if images is None or not len(images.array):
        return None, None
    brain = images.array[0] != 0
    for image in images.array[1:]:  # a sequence may end within the brain
        brain |= image != 0
    brain_ml = float(np.count_nonzero(brain) * images.grid.voxel_ml)
    if not BRAIN_ML[0] <= brain_ml <= BRAIN_ML[1]:
        return None, None
    plane = find_symmetry_plane(turned_to_ras(brain, images.grid)[0], crop.image_affine)
    if plane is None or not lesions.any():
        return None, brain_ml
    right = plane.right_of(crop.affine, np.nonzero(lesions))
    return find_side(right, lesions[lesions > 0], crop.voxel_ml), brain_ml


def _box(mask: npt.NDArray[np.generic]) -> Box:
    """Return the smallest box around what is not 0; of one voxel where nothing is."""
    return filled_box(mask) or (slice(0, 1), slice(0, 1), slice(0, 1))


def _most(lesions: Counted) -> int:
    return min(int(lesions.max(initial=0)), MOST_LESIONS)


def _point(values: Floats) -> Point:
    x, y, z = values.tolist()
    return x, y, z
