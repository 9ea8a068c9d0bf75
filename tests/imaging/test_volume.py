"""Grids: size in mm and ml, and what counts as the same place."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from gliomaseg.errors import ImageError
from gliomaseg.imaging.volume import Grid, Segmentation, filled_box, grown, is_usual, standard_grid
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


def cornered(shape: tuple[int, int, int], spacing: tuple[float, float, float], first: float = 0.0) -> Grid:
    """Return a grid whose first corner, not its first centre, is at ``first`` on every axis."""
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = first + np.array(spacing) / 2
    return Grid(shape, affine)


@pytest.mark.parametrize("spacing", [(1, 1, 1), (0.8, 1.25, 1), (0.80000001, 1, 1.2499999)])
def test_usual_voxels_are_unchanged(spacing: tuple[float, float, float]) -> None:
    own = cornered((5, 5, 5), spacing)
    assert is_usual(spacing)
    assert standard_grid(own) is own


@pytest.mark.parametrize(
    ("shape", "spacing", "expected"),
    [
        ((240, 240, 31), (1, 1, 5), (240, 240, 155)),
        ((480, 480, 310), (0.5, 0.5, 0.5), (240, 240, 155)),
        ((256, 256, 24), (0.9375, 0.9375, 6.5), (240, 240, 156)),
        ((100, 80, 30), (1.0000001, 2, 3.3), (100, 160, 99)),
        ((80, 80, 52), (3, 3, 3), (240, 240, 156)),
    ],
)
def test_standard_grids_keep_place_and_field_of_view(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], expected: tuple[int, int, int]
) -> None:
    own = cornered(shape, spacing, -7)
    tilt = nib.eulerangles.euler2mat(0.3, -0.2, 0.4)
    own.affine[:3] = tilt @ own.affine[:3]
    found = standard_grid(own)
    assert found.shape == expected
    np.testing.assert_allclose(found.spacing, 1, atol=1e-6)
    middles = [g.affine @ [*(np.array(g.shape) - 1) / 2, 1] for g in (own, found)]
    np.testing.assert_allclose(*middles, atol=1e-9)
    directions = [g.affine[:3, :3] / g.spacing for g in (own, found)]
    np.testing.assert_allclose(*directions, atol=1e-9)
    assert all(n >= m * s - 0.01 for n, m, s in zip(expected, shape, spacing, strict=True))


def test_networks_of_other_voxels() -> None:
    own = cornered((80, 80, 52), (3, 3, 3))
    assert standard_grid(own, 3.0) is own
    np.testing.assert_allclose(standard_grid(own, 2.0).spacing, 2)


def test_a_head_of_ten_metres_is_refused() -> None:
    with pytest.raises(ImageError, match="E-TOOBIG: 500 x 500 x 500 voxels of 20 x 20 x 20 mm"):
        standard_grid(cornered((500, 500, 500), (20, 20, 20)))
