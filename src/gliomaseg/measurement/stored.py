"""Measurements read back from what was written of them: the same numbers, whoever draws the result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from gliomaseg.imaging.planes import ras_affine, ras_spacing
from gliomaseg.imaging.volume import Grid
from gliomaseg.labels import Region, Tissue
from gliomaseg.measurement.diameters import Diameters, Ends, Line
from gliomaseg.measurement.measurements import (
    NATIVE,
    Lesion,
    Measurements,
    Point,
    RegionSize,
    Shape,
    TissueSize,
)
from gliomaseg.measurement.symmetry import Side

Floats = npt.NDArray[np.float64]


def read_measurements(content: Mapping[str, Any], grid: Grid) -> Measurements:
    """Return the measurements of which ``content`` is the ``as_dict``, RANO lines in voxels of ``grid``.

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
        tuple(_region(size) for size in content["regions"]),
        tuple(_lesion(lesion, inverse) for lesion in rano["lesions"]),
        rano["lesions_are"] == "enhancing",
        content["least_lesion_ml"],
        Side(**{key: value for key, value in side.items() if key != "side"}) if side else None,
        content["brain_volume_ml"],
        content.get("measured_on", NATIVE),
        ras_spacing(grid),
    )


def _region(size: Mapping[str, Any]) -> RegionSize:
    low, high, shape = size["volume_low_ml"], size["volume_high_ml"], size["largest_lesion"]
    return RegionSize(
        Region(size["region"]),
        size["voxels"],
        size["volume_ml"],
        None if low is None else (low, high),
        size["predicted_dice"],
        size["lesions"],
        Shape(**{**shape, "centroid_mm": _point(shape["centroid_mm"])}) if shape else None,
    )


def _lesion(found: Mapping[str, Any], inverse: Floats) -> Lesion:
    ends = tuple(_point(end) for end in found["ends_mm"])
    voxels = np.array(ends) @ inverse[:3, :3].T + inverse[:3, 3]
    lengths = (found["longest_mm"], found["perpendicular_mm"])
    longest, perpendicular = (
        Line(length, _ends(voxels[start : start + 2])) for length, start in zip(lengths, (0, 2), strict=True)
    )
    return Lesion(
        found["volume_ml"],
        found["enhancing_ml"],
        found["axial_slices"],
        Diameters(round(float(voxels[0, 2])), longest, perpendicular),
        ends,
        found["measurable"],
        found["axial_slice"],
    )


def _ends(voxels: Floats) -> Ends:
    (x1, y1, _), (x2, y2, _) = voxels.tolist()
    return (x1, y1), (x2, y2)


def _point(values: Any) -> Point:
    x, y, z = values
    return x, y, z
