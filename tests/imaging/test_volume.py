"""Grids: size in mm and ml, and what counts as the same place."""

from __future__ import annotations

import numpy as np
import pytest

from gliomaseg.imaging.volume import Grid, Segmentation, filled_box, grown
from gliomaseg.labels import BRATS2021, Region, Tissue

AFFINE = np.array([[-1.0, 0, 0, 90], [0, -2, 0, 126], [0, 0, 3, -72], [0, 0, 0, 1]])


def test_spacing_and_volume_of_a_voxel() -> None:
    grid = Grid((4, 5, 6), AFFINE)
    assert grid.spacing == (1.0, 2.0, 3.0)
    assert grid.voxel_ml == pytest.approx(0.006)
    turned = Grid((4, 5, 6), AFFINE[:, [2, 0, 1, 3]])
    assert turned.spacing == (3.0, 1.0, 2.0)
    assert turned.voxel_ml == pytest.approx(0.006)


def test_a_sheared_voxel_is_smaller_than_its_edges() -> None:
    affine = np.eye(4)
    affine[0, 1], affine[1, 1] = 0.6, 0.8
    grid = Grid((2, 2, 2), affine)
    assert grid.spacing == pytest.approx((1, 1, 1))
    assert grid.voxel_ml == pytest.approx(0.0008)


def test_grids_match_within_a_tolerance_at_every_corner() -> None:
    grid = Grid((240, 240, 155), AFFINE)
    shifted, turned = AFFINE.copy(), AFFINE.copy()
    shifted[0, 3] += 0.05
    turned[0, 0] += 0.0005  # 0.12 mm at the far corner, 0 at the near one
    assert grid.matches(Grid((240, 240, 155), AFFINE.copy()))
    assert not grid.matches(Grid((240, 155, 240), AFFINE))
    assert grid.matches(Grid((240, 240, 155), shifted), 0.06)
    assert not grid.matches(Grid((240, 240, 155), shifted), 0.04)
    assert grid.matches(Grid((240, 240, 155), turned), 0.13)
    assert not grid.matches(Grid((240, 240, 155), turned), 0.11)
    assert not grid.matches(Grid((240, 240, 155), np.full((4, 4), np.nan)))


def test_masks_of_a_segmentation() -> None:
    labels = np.array([0, 1, 2, 4], dtype=np.uint8).reshape(4, 1, 1)
    segmentation = Segmentation(labels, Grid((4, 1, 1), AFFINE), BRATS2021)
    assert segmentation.mask(Region.TC).ravel().tolist() == [False, True, False, True]
    assert segmentation.mask(Tissue.OEDEMA).ravel().tolist() == [False, False, True, False]


def test_the_box_surrounds_all_images() -> None:
    one, other = np.zeros((2, 9, 12, 7), dtype=np.int16)
    one[2:5, 3, 4:6] = -1
    other[4, 1:3, 6] = 7
    assert filled_box(one) == (slice(2, 5), slice(3, 4), slice(4, 6))
    assert filled_box(one, other) == (slice(2, 5), slice(1, 4), slice(4, 7))
    assert filled_box(np.asfortranarray(one), other[::-1]) == (slice(2, 5), slice(1, 4), slice(4, 7))
    assert filled_box(np.zeros((2, 3, 4))) is None


@pytest.mark.parametrize("reach", [0, 1, 2, 4, 6, 12])
def test_grown_is_a_cube_around_every_voxel(reach: int) -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    mask = np.random.default_rng(1).random((19, 14, 9)) > 0.99
    expected = ndimage.maximum_filter(mask, 2 * reach + 1, mode="constant")
    before = mask.copy()
    assert np.array_equal(grown(mask, reach), expected)
    assert np.array_equal(mask, before)
