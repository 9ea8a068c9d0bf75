"""The numbers of one segmentation: sizes, shapes, lesions; as JSON and as one row of CSV.

Lengths are mm, areas mm2, volumes ml; points are RAS+ mm.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from gliomaseg.labels import REGION_TITLES, TISSUE_TITLES, Region, Tissue
from gliomaseg.measurement.diameters import Diameters
from gliomaseg.measurement.symmetry import Side

SCHEMA_VERSION = 3

#: RANO 2.0 (doi 10.1200/JCO.23.01059) sums the products of up to two target lesions; RANO 2010 up to five.
TARGETS = 2

#: The value of ``measured_on`` for a label map that was measured on its own grid.
NATIVE = "native"

#: RANO lines lie in native slices that are no farther apart than this; else they are measured between them.
NATIVE_LINES_MM = 1.5

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
    ``axial_slice`` that of the lines, from 1 at the feet; both as counted on the map that was measured.
    ``native_slice`` is the nearest slice of seg.nii.gz, from 1 in the order of its file, where that has
    another grid.
    """

    volume_ml: float
    enhancing_ml: float
    slices: int
    diameters: Diameters
    ends_mm: tuple[Point, ...]
    measurable: bool
    axial_slice: int
    native_slice: int | None = None

    def as_dict(self, number: int) -> dict[str, object]:
        """Return plain values for JSON; ``number`` counts lesions from 1, the largest first."""
        lines = self.diameters
        return {
            "lesion": number,
            "volume_ml": self.volume_ml,
            "enhancing_ml": self.enhancing_ml,
            "axial_slices": self.slices,
            "axial_slice": self.axial_slice,
            "native_slice": self.native_slice,
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
    map that was measured before it was put back on voxels of ``own_mm`` (left-right, back-front, down-up),
    in ``native_slices`` axial slices.
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
    native_slices: int | None = None

    @property
    def where(self) -> str:
        """Return a sentence on the map that was measured, if it is not the label map itself."""
        if self.measured_on == NATIVE:
            return ""
        size = " x ".join(f"{length:.3g}" for length in self.own_mm)
        return (
            f"Measured at {self.measured_on}, to which the images were interpolated; voxels of the label map "
            f"are {size} mm."
        )

    @property
    def lines_where(self) -> str:
        """Return a sentence on how the numbers of native slices are meant; nothing without them."""
        if self.native_slices is None:
            return ""
        counted = (
            f"Slices of the label map are counted from 1 to {self.native_slices} in the order of its file"
        )
        if self.own_mm[2] <= NATIVE_LINES_MM:
            return f"{counted}, as in ITK-SNAP."
        return (
            f"{counted}, as in ITK-SNAP. They are {self.own_mm[2]:.3g} mm apart: the lines were measured at "
            f"{self.measured_on}, and the number is that of the nearest slice."
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
            "native_slices": self.native_slices,
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
            "rano_native_slice": largest.native_slice if largest else None,
            "rano_sum_of_products_mm2": self.sum_of_products_mm2,
            "side": side.name if side else None,
            **{key: getattr(side, key, None) for key in SIDE_NUMBERS},
            "brain_volume_ml": self.brain_ml,
            "least_lesion_ml": self.least_lesion_ml,
            "measured_on": self.measured_on,
        }


#: The volumes that are given relative to the tumour core.
_FRACTIONS = (Region.ET, Tissue.NECROSIS, Tissue.OEDEMA)
SIDE_NUMBERS = ("right_percent", "left_percent", "crosses_symmetry_plane")
