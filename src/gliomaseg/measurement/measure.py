"""Measure a segmentation: volumes, lesions, shape, RANO lines, side.

Everything is computed in space: the same anatomy has the same measurements whatever the storage order, voxel
size and tilt of its grid. Definitions are in docs/measurements.md, with the error of each number on bodies of
known size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from gliomaseg.imaging.components import label_components
from gliomaseg.imaging.native_slices import NativeSlices
from gliomaseg.imaging.planes import ras_spacing, turned_to_ras
from gliomaseg.imaging.volume import Box, Grid, Segmentation, Volume, filled_box
from gliomaseg.inference.uncertainty import Uncertainty
from gliomaseg.labels import REGION_TISSUES, LabelScheme, Region
from gliomaseg.measurement.diameters import find_diameters
from gliomaseg.measurement.measurements import (
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
Numbers = npt.NDArray[np.int32]
Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

#: The smallest lesion that counts, in ml: 50 voxels of 1 mm, as in BraTS 2023.
LEAST_LESION_ML = 0.05
#: RANO 2010 (doi 10.1200/JCO.2009.26.3541): both diameters at least 10 mm, seen on two axial slices; at
#: least twice the slice thickness where slices are thicker than 5 mm.
MEASURABLE_MM, MEASURABLE_SLICES, THICK_MM = 10.0, 2, 5.0
#: RANO lines are measured for this many of the largest lesions.
MOST_LESIONS = 20
#: Outside these volumes a mask is not that of a whole skull-stripped brain.
BRAIN_ML = (600.0, 2500.0)
#: Volumes are rounded to a millionth of a millilitre, which removes the noise of binary fractions.
_DECIMALS = 6


def measure(
    segmentation: Segmentation,
    *,
    images: Volume | None = None,
    uncertainty: Mapping[Region, Uncertainty] | None = None,
    across_necrosis: bool = True,
    own: Grid | None = None,
) -> Measurements:
    """Measure a label map, (x, y, z); zeros and empty lists without a tumour.

    ``images`` (skull-stripped: 0 outside) give the side and the volume of the brain. ``uncertainty`` is the
    model's, by region. ``across_necrosis`` lets RANO lines cross the necrosis inside enhancing tumour, but
    never a cavity; else they stay in enhancing voxels. ``own`` is the grid of the images as scanned, if the
    map was made at 1 mm: whether RANO calls a lesion measurable depends on its slices.
    Raises LabelError (E-LABELS) when the map holds a value outside its scheme.
    """
    own, (labels, affine) = own or segmentation.grid, turned_to_ras(segmentation.labels, segmentation.grid)
    box = _box(labels)
    crop = _Crop(np.ascontiguousarray(labels[box]), segmentation.scheme, affine, box)
    crop.slice_mm = max(crop.slice_mm, ras_spacing(own)[2])
    sizes = _volumes(crop.labels, segmentation, uncertainty or {})
    counted = {region: crop.lesions(region) for region in Region}
    enhancing = len(counted[Region.ET][1]) > 0
    numbers = counted[Region.TC if enhancing else Region.WT][0]
    most = min(int(numbers.max(initial=0)), MOST_LESIONS)
    lesions = [crop.lesion(numbers == n, across_necrosis or not enhancing) for n in range(1, most + 1)]
    side, brain = _locate(crop, counted[Region.WT][0], images)
    found = replace(
        sizes,
        regions=tuple(_with_lesions(size, crop, *counted[size.region]) for size in sizes.regions),
        lesions=tuple(lesion for lesion in lesions if lesion and (lesion.enhancing_ml > 0 or not enhancing)),
        enhancing=enhancing,
        side=side,
        brain_ml=brain,
        own_mm=ras_spacing(own),
    )
    return found if own is segmentation.grid else _with_native(found, own, segmentation.grid)


def _with_native(found: Measurements, own: Grid, grid: Grid) -> Measurements:
    """Return what was found on ``grid`` with the slice of ``own`` nearest to the lines of each lesion."""
    native, size_mm = NativeSlices(own, ""), f"{grid.spacing[0]:.3g} mm"
    middles = [np.mean(lesion.ends_mm, axis=0).tolist() for lesion in found.lesions]
    lesions = [
        replace(lesion, native_slice=native.number(middle, 2))
        for lesion, middle in zip(found.lesions, middles, strict=True)
    ]
    return replace(found, lesions=tuple(lesions), measured_on=size_mm, native_slices=native.count(2))


def _with_lesions(size: RegionSize, crop: _Crop, numbers: Numbers, voxels: Counts) -> RegionSize:
    """Return the size of a region with its lesions counted, and the shape of the largest."""
    return replace(size, lesions=len(voxels), largest=crop.shape(numbers == 1) if len(voxels) else None)


def _volumes(
    labels: Labels, segmentation: Segmentation, uncertainty: Mapping[Region, Uncertainty]
) -> Measurements:
    """Return the volumes of ``labels``, the box of the segmentation around its tumour."""
    scheme, voxel_ml = segmentation.scheme, segmentation.grid.voxel_ml
    counts = np.bincount(labels.ravel(), minlength=256)
    if not set(np.flatnonzero(counts).tolist()) <= scheme.allowed:
        scheme.check(segmentation.labels, "the segmentation")
    voxels = {tissue: int(counts[value]) for tissue, value in scheme.values.items()}
    tissues = [
        TissueSize(value, tissue, voxels[tissue], round(voxels[tissue] * voxel_ml, _DECIMALS))
        for tissue, value in sorted(scheme.values.items(), key=lambda item: item[1])
    ]
    regions = []
    for region in Region:
        total = sum(voxels.get(tissue, 0) for tissue in REGION_TISSUES[region])
        volume, found = round(total * voxel_ml, _DECIMALS), uncertainty.get(region, Uncertainty())
        regions.append(RegionSize(region, total, volume, _range_ml(volume, found), found.dice))
    return Measurements(voxel_ml, tuple(tissues), tuple(regions), least_lesion_ml=LEAST_LESION_ML)


def _range_ml(volume_ml: float, found: Uncertainty) -> tuple[float, float] | None:
    """Return the interval of a volume, widened to contain the volume itself."""
    if found.range_ml is None:
        return None
    low, high = found.range_ml
    return round(min(low, volume_ml), _DECIMALS), round(max(high, volume_ml), _DECIMALS)


class _Crop:
    """The labels around the tumour in RAS order, and their place in space."""

    def __init__(self, labels: Labels, scheme: LabelScheme, affine: Floats, box: Box) -> None:
        self.labels, self.scheme, self.box = labels, scheme, box
        self.image_affine = affine
        self.axes = affine[:3, :3]
        self.affine = affine.copy()
        self.affine[:3, 3] += self.axes @ np.array([side.start for side in box])
        self.voxel_ml = abs(float(np.linalg.det(self.axes))) / 1000
        normal = np.cross(self.axes[:, 0], self.axes[:, 1])
        self.step_mm = abs(float(normal @ self.axes[:, 2])) / float(np.linalg.norm(normal))
        self.slice_mm = self.step_mm

    def places(self, voxels: Floats) -> Floats:
        """Return the RAS+ mm (point, 3) of voxels of the crop (point, 3)."""
        return np.asarray(voxels @ self.axes.T + self.affine[:3, 3])

    def lesions(self, region: Region) -> tuple[Numbers, Counts]:
        """Return the lesion of each voxel, 1 the largest, and the lesions' voxels; small ones left out."""
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
        centre = self.places(np.argwhere(near).mean(axis=0) + [side.start for side in box])
        return Shape(
            volume, surface, sphericity(volume * 1000, surface), _point(centre), longest_mm(near, self.axes)
        )

    def lesion(self, mask: Mask, across_necrosis: bool) -> Lesion | None:
        """Return one lesion with its RANO lines; None where no line is allowed."""
        enhancing = mask & self.scheme.mask(self.labels, Region.ET)
        where = mask if across_necrosis else enhancing
        box = _box(where)
        found = find_diameters(where[box], self.axes)
        if found is None:
            return None
        found = found.moved(tuple(side.start for side in box))
        lines = (found.longest, found.perpendicular)
        ends = [_point(self.places(np.array([*end, found.slice]))) for line in lines for end in line.ends]
        slices = int(np.count_nonzero(where.any(axis=(0, 1))))
        least = max(MEASURABLE_MM, 2 * self.slice_mm if self.slice_mm > THICK_MM else 0.0)
        large = min(found.longest.length_mm, found.perpendicular.length_mm) >= least - 1e-6
        return Lesion(
            float(np.count_nonzero(mask) * self.voxel_ml),
            float(np.count_nonzero(enhancing) * self.voxel_ml),
            slices,
            found.moved(tuple(side.start for side in self.box)),
            tuple(ends),
            large and slices * self.step_mm >= MEASURABLE_SLICES * self.slice_mm - 1e-6,
            found.slice + self.box[2].start + 1,
        )


def _locate(crop: _Crop, lesions: Numbers, images: Volume | None) -> tuple[Side | None, float | None]:
    """Return the side of the tumour and the volume of the brain in ml; None where they are unknown."""
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
    """Return the smallest box around the voxels that are not 0; one voxel without any."""
    return filled_box(mask) or (slice(0, 1), slice(0, 1), slice(0, 1))


def _point(values: Floats) -> Point:
    x, y, z = values.tolist()
    return x, y, z
