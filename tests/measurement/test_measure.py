"""Voxels that can be counted by hand, and millilitres that no storage order changes."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from gliomaseg.errors import LabelError
from gliomaseg.imaging.volume import Grid, Segmentation
from gliomaseg.labels import BRATS2021, BRATS2023, BRATS2024, MSD, SCHEMES, LabelScheme, Region, Tissue
from gliomaseg.measurement.measure import measure
from gliomaseg.measurement.measurements import Measurements
from gliomaseg.measurement.stored import read_measurements

ORIENTATIONS = [
    (first, second, third)
    for first in "RLAPSI"
    for second in "RLAPSI"
    for third in "RLAPSI"
    if len({"RLAPSI".index(code) // 2 for code in (first, second, third)}) == 3
]


def make(scheme: LabelScheme, spacing: tuple[float, float, float] = (1, 1, 1)) -> Segmentation:
    """Return a 10 x 10 x 10 map with 12 voxels of necrosis, 200 of oedema and 50 of enhancement."""
    labels = np.zeros((10, 10, 10), np.uint8)
    labels[0, :6, :2] = scheme.values[Tissue.NECROSIS]
    labels[2:4] = scheme.values[Tissue.OEDEMA]
    labels[5, :5, :] = scheme.values[Tissue.ENHANCING]
    return Segmentation(labels, Grid((10, 10, 10), np.diag([*spacing, 1.0])), scheme)


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=lambda scheme: scheme.name)
def test_counts_and_volumes_by_pencil(scheme: LabelScheme) -> None:
    sizes = measure(make(scheme, (1, 2, 3)))
    assert sizes.voxel_volume_ml == pytest.approx(0.006)
    assert {size.region: size.voxels for size in sizes.regions} == {
        Region.WT: 262,
        Region.TC: 62,
        Region.ET: 50,
    }
    assert sizes.volume_ml(Region.WT) == 1.572
    assert sizes.volume_ml(Region.TC) == 0.372
    assert sizes.volume_ml(Region.ET) == sizes.volume_ml(Tissue.ENHANCING) == 0.3
    assert sizes.volume_ml(Tissue.OEDEMA) == 1.2


def test_labels_come_in_the_order_of_their_value() -> None:
    assert [(s.value, s.tissue, s.voxels) for s in measure(make(BRATS2021)).labels] == [
        (1, Tissue.NECROSIS, 12),
        (2, Tissue.OEDEMA, 200),
        (4, Tissue.ENHANCING, 50),
    ]
    assert [s.tissue for s in measure(make(MSD)).labels] == [Tissue.OEDEMA, Tissue.NECROSIS, Tissue.ENHANCING]


def test_a_resection_cavity_belongs_to_no_region() -> None:
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[0] = BRATS2024.values[Tissue.CAVITY]
    sizes = measure(Segmentation(labels, Grid((4, 4, 4), np.eye(4)), BRATS2024))
    assert sizes.volume_ml(Tissue.CAVITY) == pytest.approx(0.016)
    assert all(size.voxels == 0 for size in sizes.regions)
    assert measure(make(BRATS2023)).volume_ml(Tissue.CAVITY) == 0


def test_an_empty_map_measures_zero() -> None:
    sizes = measure(Segmentation(np.zeros((3, 3, 3), np.uint8), Grid((3, 3, 3), np.eye(4)), BRATS2023))
    assert [size.volume_ml for size in sizes.labels] == [0] * 3
    assert [size.volume_ml for size in sizes.regions] == [0] * 3


def test_a_foreign_label_is_refused_not_left_out() -> None:
    labels = np.full((2, 2, 2), 4, np.uint8)
    with pytest.raises(LabelError, match="brats2023") as caught:
        measure(Segmentation(labels, Grid((2, 2, 2), np.eye(4)), BRATS2023))
    assert caught.value.code == "E-LABELS"


def test_json_names_every_number() -> None:
    content = json.loads(json.dumps(measure(make(BRATS2023)).as_dict()))
    assert content["schema_version"] == 3
    assert content["voxel_volume_ml"] == pytest.approx(0.001)
    assert content["labels"][2] == {
        "value": 3,
        "tissue": "et",
        "title": "enhancing tumour",
        "voxels": 50,
        "volume_ml": pytest.approx(0.05),
    }
    assert content["regions"][0] == {
        "region": "wt",
        "title": "whole tumour",
        "voxels": 262,
        "volume_ml": pytest.approx(0.262),
        "volume_low_ml": None,
        "volume_high_ml": None,
        "predicted_dice": None,
        "lesions": 2,
        "largest_lesion": content["regions"][0]["largest_lesion"],
    }
    assert content["regions"][0]["largest_lesion"]["volume_ml"] == pytest.approx(0.2)


def restored_as(segmentation: Segmentation, codes: tuple[str, str, str]) -> Segmentation:
    """Return the same anatomy stored with its axes towards ``codes``."""
    image = nib.Nifti1Image(segmentation.labels, segmentation.grid.affine)
    turn = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(image.affine), nib.orientations.axcodes2ornt(codes)
    )
    turned = image.as_reoriented(turn)
    return Segmentation(np.asarray(turned.dataobj), Grid(turned.shape, turned.affine), segmentation.scheme)


def test_no_storage_order_changes_a_volume() -> None:
    expected = measure(make(BRATS2023, (1, 2, 5)))
    assert len(ORIENTATIONS) == 48
    for codes in ORIENTATIONS:
        found = measure(restored_as(make(BRATS2023, (1, 2, 5)), codes))
        assert_same(found, expected)


def test_an_oblique_grid_keeps_the_volume() -> None:
    straight = make(BRATS2023, (1, 2, 5))
    turn = nib.affines.from_matvec(nib.eulerangles.euler2mat(z=0.4, y=-0.2, x=0.3))
    tilted = Segmentation(straight.labels, Grid((10, 10, 10), turn @ straight.grid.affine), BRATS2023)
    assert_same(measure(tilted), measure(straight))


def assert_same(found: Measurements, expected: Measurements) -> None:
    assert [size.voxels for size in found.labels] == [size.voxels for size in expected.labels]
    assert [size.volume_ml for size in found.regions] == pytest.approx(
        [size.volume_ml for size in expected.regions], rel=1e-12
    )


def blob() -> Segmentation:
    """Return a lopsided lesion with a core and two rims, and a satellite, on a grid of odd voxels."""
    labels = np.zeros((40, 44, 24), np.uint8)
    x, y, z = np.ogrid[:40, :44, :24]
    labels[((x - 18) / 12) ** 2 + ((y - 20) / 9) ** 2 + ((z - 11) / 6) ** 2 < 1] = 2
    labels[((x - 17) / 8) ** 2 + ((y - 21) / 6.5) ** 2 + ((z - 11) / 4) ** 2 < 1] = 3
    labels[((x - 17) / 5) ** 2 + ((y - 21) / 4) ** 2 + ((z - 11) / 2.5) ** 2 < 1] = 1
    labels[34:38, 36:42, 18:22] = 3
    affine = np.diag([1.2, 1.2, 2.0, 1.0])
    affine[:3, 3] = -20, -25, 7
    return Segmentation(labels, Grid((40, 44, 24), affine), BRATS2023)


def test_everything_is_the_same_in_all_48_orientations() -> None:
    expected = measure(blob()).as_row()
    assert expected["wt_lesions"] == 2
    assert expected["rano_targets"] == 1
    for codes in ORIENTATIONS:
        found = measure(restored_as(blob(), codes)).as_row()
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            same = pytest.approx(value, rel=1e-6, abs=1e-6) if isinstance(value, float) else value
            assert found[name] == same, (codes, name)


def test_lines_lie_in_space_where_they_were_found() -> None:
    segmentation = blob()
    lesion = measure(segmentation).lesions[0]
    ends = np.array(lesion.ends_mm)
    lengths = np.linalg.norm(ends[0] - ends[1]), np.linalg.norm(ends[2] - ends[3])
    lines = lesion.diameters
    assert lengths == pytest.approx((lines.longest.length_mm, lines.perpendicular.length_mm))
    voxels = nib.affines.apply_affine(np.linalg.inv(segmentation.grid.affine), ends)
    assert voxels[:, 2] == pytest.approx(lines.slice)
    assert np.array(lines.longest.ends) == pytest.approx(voxels[:2, :2])


def test_necrosis_may_be_crossed_or_not() -> None:
    across = measure(blob()).lesions[0].diameters
    around = measure(blob(), across_necrosis=False).lesions[0].diameters
    assert across.longest.length_mm == pytest.approx(2 * 8 * 1.2, abs=1.5)
    assert around.product_mm2 < across.product_mm2


def test_where_nothing_enhances_the_whole_tumour_is_measured() -> None:
    labels = np.where(blob().labels > 0, 2, 0).astype(np.uint8)
    sizes = measure(Segmentation(labels, blob().grid, BRATS2023))
    assert not sizes.enhancing
    assert sizes.as_dict()["rano"]["lesions_are"] == "non-enhancing"  # type: ignore[index]
    assert sizes.lesions[0].diameters.longest.length_mm == pytest.approx(2 * 12 * 1.2, abs=1.5)
    assert sizes.of_core(Region.ET) is None


def test_measurable_needs_10_mm_both_ways_on_two_slices() -> None:
    def is_measurable(size: tuple[int, int, int], thickness: float = 1) -> bool:
        labels = np.zeros((30, 30, 30), np.uint8)
        labels[5 : 5 + size[0], 5 : 5 + size[1], 5 : 5 + size[2]] = 3
        sizes = measure(Segmentation(labels, Grid((30, 30, 30), np.diag([1, 1, thickness, 1.0])), BRATS2023))
        return bool(sizes.targets)

    assert is_measurable((12, 12, 2))
    assert not is_measurable((12, 12, 1))
    assert not is_measurable((20, 5, 5))
    assert not is_measurable((8, 8, 2), thickness=6), "twice the slice thickness"
    assert is_measurable((13, 13, 2), thickness=6)


@pytest.mark.parametrize(
    ("size", "measurable"), [((13, 13, 13), False), ((15, 15, 11), False), ((15, 15, 14), True)]
)
def test_measurable_by_the_slices_that_were_scanned(size: tuple[int, int, int], measurable: bool) -> None:
    """Seven mm thick, measured on a map of 1 mm: twice the thickness both ways, on two of those slices."""
    labels = np.zeros((30, 30, 30), np.uint8)
    labels[5 : 5 + size[0], 5 : 5 + size[1], 5 : 5 + size[2]] = 3
    own = Grid((30, 30, 4), np.diag([1, 1, 7, 1.0]))
    sizes = measure(Segmentation(labels, Grid((30, 30, 30), np.eye(4)), BRATS2023), own=own)
    assert bool(sizes.targets) is measurable
    assert (sizes.measured_on, sizes.own_mm) == ("1 mm", (1, 1, 7))
    assert "Measured at 1 mm" in sizes.where
    assert "1 x 1 x 7 mm" in sizes.where
    lesion = sizes.lesions[0]
    height = lesion.ends_mm[0][2]
    assert (lesion.native_slice, sizes.native_slices) == (round(height / 7) + 1, 4)
    assert "They are 7 mm apart: the lines were measured at 1 mm" in sizes.lines_where
    again = read_measurements(json.loads(json.dumps(sizes.as_dict())), own)
    assert (again.lesions[0].native_slice, again.native_slices) == (lesion.native_slice, 4)
    assert sizes.as_row()["rano_native_slice"] == (lesion.native_slice if measurable else None)
    plain = measure(Segmentation(labels, Grid((30, 30, 30), np.eye(4)), BRATS2023))
    assert (plain.lesions[0].native_slice, plain.native_slices, plain.lines_where) == (None, None, "")


def test_specks_are_no_lesions_but_count_to_the_volume() -> None:
    segmentation = blob()
    segmentation.labels[2, 2, 2] = 3
    sizes = measure(segmentation)
    assert sizes.region(Region.ET).lesions == measure(blob()).region(Region.ET).lesions
    assert sizes.region(Region.ET).voxels == measure(blob()).region(Region.ET).voxels + 1


def test_csv_has_units_and_one_row() -> None:
    from gliomaseg.storage.tables import to_csv

    header, row = to_csv([{"case": "a,b"} | measure(blob()).as_row()]).splitlines()
    names = header.split(",")
    assert {"wt_volume_ml", "et_largest_longest_mm", "rano_sum_of_products_mm2", "et_of_tc_ratio"} <= set(
        names
    )
    assert row.startswith('"a,b"')
    assert "nan" not in row
