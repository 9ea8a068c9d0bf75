"""How large each tissue and region is: voxels counted once, and millilitres.

Enhancing tumour is both a tissue and a region, so the two stand in separate lists. Volumes come from the
determinant of the affine: right for oblique and anisotropic grids. Ignorant of images and of files.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gliomaseg.imaging.volume import Segmentation
from gliomaseg.labels import REGION_TISSUES, REGION_TITLES, TISSUE_TITLES, Region, Tissue

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class TissueSize:
    """How much of one tissue there is; ``value`` is its integer in the label map."""

    value: int
    tissue: Tissue
    voxels: int
    volume_ml: float


@dataclass(frozen=True)
class RegionSize:
    """How much of one nested region there is."""

    region: Region
    voxels: int
    volume_ml: float


@dataclass(frozen=True)
class Measurements:
    """The sizes in one segmentation: tissues in the order of their label, regions outermost first."""

    voxel_volume_ml: float
    labels: tuple[TissueSize, ...]
    regions: tuple[RegionSize, ...]

    def volume_ml(self, part: Region | Tissue) -> float:
        """Return the volume of a region or tissue; 0 for a tissue that the scheme doesn't have."""
        if isinstance(part, Region):
            return sum(size.volume_ml for size in self.regions if size.region is part)
        return sum(size.volume_ml for size in self.labels if size.tissue is part)

    def as_dict(self) -> dict[str, object]:
        """Return everything as plain numbers, strings, lists and dicts, for JSON."""
        return {
            "schema_version": SCHEMA_VERSION,
            "voxel_volume_ml": self.voxel_volume_ml,
            "labels": [
                {
                    "value": size.value,
                    "tissue": size.tissue.value,
                    "title": TISSUE_TITLES[size.tissue],
                    "voxels": size.voxels,
                    "volume_ml": size.volume_ml,
                }
                for size in self.labels
            ],
            "regions": [
                {
                    "region": size.region.value,
                    "title": REGION_TITLES[size.region],
                    "voxels": size.voxels,
                    "volume_ml": size.volume_ml,
                }
                for size in self.regions
            ],
        }


def measure(segmentation: Segmentation) -> Measurements:
    """Count the voxels and millilitres of every tissue and region; zeros where there is none.

    Raises LabelError (E-LABELS) when the label map, (x, y, z), holds a value outside its scheme.
    """
    scheme, voxel_ml = segmentation.scheme, segmentation.grid.voxel_ml
    counts = np.bincount(segmentation.labels.ravel(order="K"), minlength=256)
    if not set(np.flatnonzero(counts).tolist()) <= scheme.allowed:
        scheme.check(segmentation.labels, "the segmentation")
    voxels = {tissue: int(counts[value]) for tissue, value in scheme.values.items()}
    labels = [
        TissueSize(value, tissue, voxels[tissue], voxels[tissue] * voxel_ml)
        for tissue, value in sorted(scheme.values.items(), key=lambda item: item[1])
    ]
    regions = []
    for region in Region:
        total = sum(voxels.get(tissue, 0) for tissue in REGION_TISSUES[region])
        regions.append(RegionSize(region, total, total * voxel_ml))
    return Measurements(voxel_ml, tuple(labels), tuple(regions))
