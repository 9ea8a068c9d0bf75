"""Measurements as they were stored in measurements.json, in the grid of a label map again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from gliomaseg.imaging.planes import ras_affine, ras_spacing
from gliomaseg.imaging.volume import Grid
from gliomaseg.labels import Region, Tissue
from gliomaseg.measurement.diameters import Diameters, Line
from gliomaseg.measurement.measurements import (
    NATIVE,
    SIDE_NUMBERS,
    Lesion,
    Measurements,
    Point,
    RegionSize,
    Shape,
    TissueSize,
)
from gliomaseg.measurement.symmetry import Side


def read_measurements(content: Mapping[str, Any], grid: Grid) -> Measurements:
    """Return the measurements with this ``as_dict``, RANO lines in voxels of ``grid``.

    Raises LookupError, TypeError and ValueError for anything else.
    """
    rano, side = content["rano"], content["side"]
    inverse = np.asarray(np.linalg.inv(ras_affine(grid)), dtype=np.float64)
    return Measurements(
        content["voxel_volume_ml"],
        tuple(
            TissueSize(size["value"], Tissue(size["tissue"]), size["voxels"], size["volume_ml"])
            for size in content["labels"]
        ),
        tuple(_read_region(size) for size in content["regions"]),
        tuple(_read_lesion(lesion, inverse) for lesion in rano["lesions"]),
        rano["lesions_are"] == "enhancing",
        content["least_lesion_ml"],
        Side(*(side[key] for key in SIDE_NUMBERS)) if side else None,
        content["brain_volume_ml"],
        content.get("measured_on", NATIVE),
        ras_spacing(grid),
        content.get("native_slices"),
    )


def _read_region(size: Mapping[str, Any]) -> RegionSize:
    low, high, shape = size["volume_low_ml"], size["volume_high_ml"], size["largest_lesion"]
    return RegionSize(
        Region(size["region"]),
        size["voxels"],
        size["volume_ml"],
        None if low is None else (low, high),
        size["predicted_dice"],
        size["lesions"],
        Shape(**shape | {"centroid_mm": _point(shape["centroid_mm"])}) if shape else None,
    )


def _read_lesion(found: Mapping[str, Any], inverse: npt.NDArray[np.float64]) -> Lesion:
    ends = tuple(_point(end) for end in found["ends_mm"])
    voxels = np.array(ends) @ inverse[:3, :3].T + inverse[:3, 3]
    (a, b, z), (c, d, _), (e, f, _), (g, h, _) = voxels.tolist()
    longest = Line(found["longest_mm"], ((a, b), (c, d)))
    perpendicular = Line(found["perpendicular_mm"], ((e, f), (g, h)))
    return Lesion(
        found["volume_ml"],
        found["enhancing_ml"],
        found["axial_slices"],
        Diameters(round(z), longest, perpendicular),
        ends,
        found["measurable"],
        found["axial_slice"],
        found.get("native_slice"),
    )


def _point(values: Any) -> Point:
    x, y, z = values
    return x, y, z
