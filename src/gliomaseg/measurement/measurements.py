"""The numbers of one segmentation: sizes, shapes, lesions; as JSON, back from it, and as one row of CSV.

Lengths are mm, areas mm2, volumes ml; points are RAS+ mm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gliomaseg.imaging.planes import ras_affine, ras_spacing
from gliomaseg.imaging.volume import Grid
from gliomaseg.labels import REGION_TITLES, TISSUE_TITLES, Region, Tissue
from gliomaseg.measurement.diameters import Diameters, Line
from gliomaseg.measurement.symmetry import Side

SCHEMA_VERSION = 3

#: RANO 2.0 (doi 10.1200/JCO.23.01059) sums the products of up to two target lesions; RANO 2010 up to five.
TARGETS = 2

#: The value of ``measured_on`` for a label map that was measured on its own grid.
NATIVE = "native"

Point = tuple[float, float, float]


@dataclass(frozen=True)
class TissueSize:
    """The size of one tissue; ``value`` is its integer in the label map."""

    value: int
    tissue: Tissue
    voxels: int
    volume_ml: float


@dataclass(frozen=True)
class Shape:
    """The largest lesion of a region: volume, surface, sphericity (a ball: 1), centroid, longest diameter."""

    volume_ml: float
    surface_mm2: float
    sphericity: float | None
    centroid_mm: Point
    longest_mm: float


@dataclass(frozen=True)
class RegionSize:
    """The size of one nested region, the number of its lesions, and the shape of the largest.

    ``range_ml`` is where 90 % of true volumes are expected, and ``predicted_dice`` the Dice to expect, if
    cross-validation has measured what they take.
    """

    region: Region
    voxels: int
    volume_ml: float
    range_ml: tuple[float, float] | None = None
    predicted_dice: float | None = None
    lesions: int = 0
    largest: Shape | None = None

    def as_dict(self) -> dict[str, object]:
        """Return plain values for JSON."""
        return {
            "region": self.region.value,
            "title": REGION_TITLES[self.region],
            "voxels": self.voxels,
            **self._volumes(),
            "lesions": self.lesions,
            "largest_lesion": asdict(self.largest) if self.largest else None,
        }

    def as_row(self) -> dict[str, object]:
        """Return the cells of a CSV row, the region in the names of the columns."""
        shape = self.largest
        x, y, z = shape.centroid_mm if shape else (None, None, None)
        cells = {
            **self._volumes(),
            "lesions": self.lesions,
            **{f"largest_{n}": getattr(shape, n, None) for n in ("volume_ml", "surface_mm2", "sphericity")},
            "largest_centroid_x_mm": x,
            "largest_centroid_y_mm": y,
            "largest_centroid_z_mm": z,
            "largest_longest_mm": shape.longest_mm if shape else None,
        }
        return {f"{self.region}_{name}": value for name, value in cells.items()}

    def _volumes(self) -> dict[str, object]:
        low, high = self.range_ml or (None, None)
        return {
            "volume_ml": self.volume_ml,
            "volume_low_ml": low,
            "volume_high_ml": high,
            "predicted_dice": self.predicted_dice,
        }


@dataclass(frozen=True)
class Lesion:
    """One lesion with the lines of RANO.

    ``diameters`` are in voxels of the grid turned to RAS; ``ends_mm`` holds both ends of the longest
    diameter, then of its perpendicular. ``slices`` is the number of axial slices that show the lesion, and
    ``axial_slice`` that of the lines, from 1; both as counted on the map that was measured.
    """

    volume_ml: float
    enhancing_ml: float
    slices: int
    diameters: Diameters
    ends_mm: tuple[Point, ...]
    measurable: bool
    axial_slice: int

    def as_dict(self, number: int) -> dict[str, object]:
        """Return plain values for JSON; ``number`` counts lesions from 1, the largest first."""
        lines = self.diameters
        return {
            "lesion": number,
            "volume_ml": self.volume_ml,
            "enhancing_ml": self.enhancing_ml,
            "axial_slices": self.slices,
            "axial_slice": self.axial_slice,
            "longest_mm": lines.longest.length_mm,
            "perpendicular_mm": lines.perpendicular.length_mm,
            "product_mm2": lines.product_mm2,
            "measurable": self.measurable,
            "ends_mm": [list(end) for end in self.ends_mm],
        }


@dataclass(frozen=True)
class Measurements:
    """Everything measured in one segmentation: tissues in the order of their label, regions outermost first.

    ``lesions``, the largest first, are of the tumour core, or of the whole tumour where nothing is
    ``enhancing``. ``side`` and ``brain_ml`` are None where no skull-stripped brain is known.
    ``measured_on`` is "native" for a label map that was measured on its own grid, else the voxel size of the
    map that was measured before it was put back on voxels of ``own_mm`` (left-right, back-front, down-up).
    """

    voxel_volume_ml: float
    labels: tuple[TissueSize, ...]
    regions: tuple[RegionSize, ...]
    lesions: tuple[Lesion, ...] = ()
    enhancing: bool = False
    least_lesion_ml: float = 0.0
    side: Side | None = None
    brain_ml: float | None = None
    measured_on: str = NATIVE
    own_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)

    @property
    def where(self) -> str:
        """Return a sentence on the map that was measured, if it is not the label map itself."""
        if self.measured_on == NATIVE:
            return ""
        size = " x ".join(f"{length:.3g}" for length in self.own_mm)
        return (
            f"Measured at {self.measured_on}, to which the images were interpolated; their own voxels, and "
            f"those of seg.nii.gz, are {size} mm."
        )

    def volume_ml(self, structure: Region | Tissue) -> float:
        """Return the volume of a region or tissue; 0 for a tissue that the scheme doesn't have."""
        if isinstance(structure, Region):
            return self.region(structure).volume_ml
        return sum(size.volume_ml for size in self.labels if size.tissue is structure)

    def region(self, region: Region) -> RegionSize:
        """Return the size of one region."""
        return next(size for size in self.regions if size.region is region)

    def of_core(self, structure: Region | Tissue) -> float | None:
        """Return the volume of a region or tissue relative to the tumour core; None without a core."""
        core = self.volume_ml(Region.TC)
        return self.volume_ml(structure) / core if core else None

    @property
    def targets(self) -> tuple[Lesion, ...]:
        """Return the measurable lesions with the largest products, two at most."""
        found = [lesion for lesion in self.lesions if lesion.measurable]
        return tuple(sorted(found, key=lambda lesion: -lesion.diameters.product_mm2)[:TARGETS])

    @property
    def sum_of_products_mm2(self) -> float:
        """Return the sum of the products of the target lesions; 0 when none is measurable."""
        return sum(lesion.diameters.product_mm2 for lesion in self.targets)

    def as_dict(self) -> dict[str, object]:
        """Return everything as plain numbers, strings, lists and dicts, for JSON."""
        return {
            "schema_version": SCHEMA_VERSION,
            "voxel_volume_ml": self.voxel_volume_ml,
            "measured_on": self.measured_on,
            "brain_volume_ml": self.brain_ml,
            "labels": [asdict(size) | {"title": TISSUE_TITLES[size.tissue]} for size in self.labels],
            "regions": [size.as_dict() for size in self.regions],
            "fractions": {f"{each}_of_tc": self.of_core(each) for each in _FRACTIONS},
            "least_lesion_ml": self.least_lesion_ml,
            "rano": {
                "lesions_are": "enhancing" if self.enhancing else "non-enhancing",
                "sum_of_products_mm2": self.sum_of_products_mm2,
                "targets": [self.lesions.index(lesion) + 1 for lesion in self.targets],
                "lesions": [lesion.as_dict(number) for number, lesion in enumerate(self.lesions, start=1)],
            },
            "side": self.side.as_dict() if self.side else None,
        }

    def as_row(self) -> dict[str, object]:
        """Return one flat row for CSV, units in the names of the columns; None where there is no number."""
        side, largest = self.side, self.targets[0] if self.targets else None
        lines = largest.diameters if largest else None
        return {
            **{f"{t.tissue}_volume_ml": t.volume_ml for t in self.labels if t.tissue != "et"},
            **{name: value for size in self.regions for name, value in size.as_row().items()},
            **{f"{each}_of_tc_ratio": self.of_core(each) for each in _FRACTIONS},
            "rano_lesions": len(self.lesions),
            "rano_targets": len(self.targets),
            "rano_longest_mm": lines.longest.length_mm if lines else None,
            "rano_perpendicular_mm": lines.perpendicular.length_mm if lines else None,
            "rano_axial_slice": largest.axial_slice if largest else None,
            "rano_sum_of_products_mm2": self.sum_of_products_mm2,
            "side": side.name if side else None,
            **{key: getattr(side, key, None) for key in _SIDE},
            "brain_volume_ml": self.brain_ml,
            "least_lesion_ml": self.least_lesion_ml,
            "measured_on": self.measured_on,
        }


#: The volumes that are given relative to the tumour core.
_FRACTIONS = (Region.ET, Tissue.NECROSIS, Tissue.OEDEMA)
_SIDE = ("right_percent", "left_percent", "crosses_symmetry_plane")


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
        Side(*(side[key] for key in _SIDE)) if side else None,
        content["brain_volume_ml"],
        content.get("measured_on", NATIVE),
        ras_spacing(grid),
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
    )


def _point(values: Any) -> Point:
    x, y, z = values
    return x, y, z
