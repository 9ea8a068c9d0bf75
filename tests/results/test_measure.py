"""Voxels that can be counted by hand, and millilitres that no storage order changes."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from gliomaseg.errors import LabelError
from gliomaseg.imaging.volume import Grid, Segmentation
from gliomaseg.labels import BRATS2021, BRATS2023, BRATS2024, MSD, SCHEMES, LabelScheme, Region, Tissue
from gliomaseg.results.measure import Measurements, measure

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
    assert sizes.volume_ml(Region.WT) == pytest.approx(1.572)
    assert sizes.volume_ml(Region.TC) == pytest.approx(0.372)
    assert sizes.volume_ml(Region.ET) == sizes.volume_ml(Tissue.ENHANCING) == pytest.approx(0.3)
    assert sizes.volume_ml(Tissue.OEDEMA) == pytest.approx(1.2)


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
    assert content["schema_version"] == 1
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
    }


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
