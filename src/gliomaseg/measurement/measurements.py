"""The numbers of one segmentation, as nouns: sizes, shapes, lesions, and all of them for JSON and CSV.

Lengths are mm, areas mm2, volumes ml; places are RAS+ mm. Ignorant of how the numbers are found.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from gliomaseg.labels import REGION_TITLES, TISSUE_TITLES, Region, Tissue
from gliomaseg.measurement.diameters import Diameters
from gliomaseg.measurement.symmetry import Side

SCHEMA_VERSION = 3

#: RANO 2.0 (doi 10.1200/JCO.23.01059) sums the products of up to two target lesions; RANO 2010 up to five.
TARGETS = 2

#: On which map was measured: the label map as it is, on its own grid.
NATIVE = "native"

Point = tuple[float, float, float]


@dataclass(frozen=True)
class TissueSize:
    """How much of one tissue there is; ``value`` is its integer in the label map."""

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
    """How much of one nested region there is, in how many lesions, and the shape of the largest.

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


@dataclass(frozen=True)
class Lesion:
    """One lesion with the lines of RANO.

    ``diameters`` are in voxels of the grid turned to RAS; ``ends_mm`` holds both ends of the longest
    diameter, then of its perpendicular. ``slices`` is the number of axial slices that show the lesion, and
    ``axial_slice`` that on which the lines lie, from 1; both as counted on the map that was measured.
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
    ``measured_on`` is "native" where the label map was measured as it is, else the voxel size of the map that
    was measured before it was put back on voxels of ``own_mm`` (left-right, back-front, down-up): "1 mm".
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
        """Return in a sentence on which map everything was measured, if it is not the label map itself."""
        if self.measured_on == NATIVE:
            return ""
        size = " x ".join(f"{length:.3g}" for length in self.own_mm)
        return (
            f"Measured at {self.measured_on}, to which the images were interpolated; their own voxels, and "
            f"those of seg.nii.gz, are {size} mm."
        )

    def volume_ml(self, part: Region | Tissue) -> float:
        """Return the volume of a region or tissue; 0 for a tissue that the scheme doesn't have."""
        if isinstance(part, Region):
            return self.region(part).volume_ml
        return sum(size.volume_ml for size in self.labels if size.tissue is part)

    def region(self, region: Region) -> RegionSize:
        """Return the size of one region."""
        return next(size for size in self.regions if size.region is region)

    def of_core(self, part: Region | Tissue) -> float | None:
        """Return the volume of a part relative to that of the tumour core; None without a core."""
        core = self.volume_ml(Region.TC)
        return self.volume_ml(part) / core if core else None

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
            "regions": [_region_dict(size) for size in self.regions],
            "fractions": {
                "et_of_tc": self.of_core(Region.ET),
                "ncr_of_tc": self.of_core(Tissue.NECROSIS),
                "ed_of_tc": self.of_core(Tissue.OEDEMA),
            },
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
        row: dict[str, object] = {
            f"{t.tissue}_volume_ml": t.volume_ml for t in self.labels if t.tissue != "et"
        }
        for size in self.regions:
            row |= _region_row(size)
        row |= {
            f"{part}_of_tc_ratio": self.of_core(part) for part in (Region.ET, Tissue.NECROSIS, Tissue.OEDEMA)
        }
        largest = self.targets[0] if self.targets else None
        return row | {
            "rano_lesions": len(self.lesions),
            "rano_targets": len(self.targets),
            "rano_longest_mm": largest.diameters.longest.length_mm if largest else None,
            "rano_perpendicular_mm": largest.diameters.perpendicular.length_mm if largest else None,
            "rano_axial_slice": largest.axial_slice if largest else None,
            "rano_sum_of_products_mm2": self.sum_of_products_mm2,
            "side": self.side.name if self.side else None,
            "right_percent": self.side.right_percent if self.side else None,
            "left_percent": self.side.left_percent if self.side else None,
            "crosses_symmetry_plane": self.side.crosses_symmetry_plane if self.side else None,
            "brain_volume_ml": self.brain_ml,
            "least_lesion_ml": self.least_lesion_ml,
            "measured_on": self.measured_on,
        }


def _region_dict(size: RegionSize) -> dict[str, object]:
    low, high = size.range_ml or (None, None)
    return {
        "region": size.region.value,
        "title": REGION_TITLES[size.region],
        "voxels": size.voxels,
        "volume_ml": size.volume_ml,
        "volume_low_ml": low,
        "volume_high_ml": high,
        "predicted_dice": size.predicted_dice,
        "lesions": size.lesions,
        "largest_lesion": asdict(size.largest) if size.largest else None,
    }


def _region_row(size: RegionSize) -> dict[str, object]:
    low, high = size.range_ml or (None, None)
    shape = size.largest
    x, y, z = shape.centroid_mm if shape else (None, None, None)
    cells: dict[str, object] = {
        "volume_ml": size.volume_ml,
        "volume_low_ml": low,
        "volume_high_ml": high,
        "predicted_dice": size.predicted_dice,
        "lesions": size.lesions,
        "largest_volume_ml": shape.volume_ml if shape else None,
        "largest_surface_mm2": shape.surface_mm2 if shape else None,
        "largest_sphericity": shape.sphericity if shape else None,
        "largest_centroid_x_mm": x,
        "largest_centroid_y_mm": y,
        "largest_centroid_z_mm": z,
        "largest_longest_mm": shape.longest_mm if shape else None,
    }
    return {f"{size.region}_{name}": value for name, value in cells.items()}
