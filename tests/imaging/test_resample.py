"""The only interpolation: by pencil, against SciPy, and in every orientation of a grid."""

from __future__ import annotations

import itertools
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from gliomaseg.imaging.resample import regrid, resample
from gliomaseg.imaging.volume import Grid, turned_grid, turned_like

Numbers = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)


def grid(shape: tuple[int, int, int], spacing: tuple[float, float, float], first: float = 0.0) -> Grid:
    """Return a grid whose first corner, not its first centre, is at ``first`` on every axis."""
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = first + np.array(spacing) / 2
    return Grid(shape, affine)


def column(values: list[float]) -> Numbers:
    return np.array(values, np.float32)[None, None, :]


SLICES = grid((1, 1, 3), (1, 1, 5))
FINE = grid((1, 1, 15), (1, 1, 1))


def test_thick_slices_are_interpolated_between_their_centres() -> None:
    """The centres of 5 mm slices are those of the third, eighth and thirteenth of 15 slices of 1 mm."""
    found = regrid(column([10, 20, 40]), SLICES, FINE)[0, 0]
    np.testing.assert_allclose(found[2:13], [10, 12, 14, 16, 18, 20, 24, 28, 32, 36, 40])
    np.testing.assert_allclose([*found[:2], *found[13:]], [10, 10, 40, 40])


def test_a_thick_slice_is_the_mean_of_what_it_covers() -> None:
    values = RNG.random(15).astype(np.float32)
    found = regrid(column(values.tolist()), FINE, SLICES)[0, 0]
    np.testing.assert_allclose(found, values.reshape(3, 5).mean(1), rtol=1e-6)


def test_a_slice_that_covers_parts_of_voxels_weighs_them() -> None:
    """3 slices of 2.5 mm: the middle one covers half of the third, the fourth and fifth."""
    found = regrid(
        column([1, 2, 4, 8, 16, 32, 64, 0]), grid((1, 1, 8), (1, 1, 1)), grid((1, 1, 3), (1, 1, 2.5))
    )
    np.testing.assert_allclose(found[0, 0], [(1 + 2 + 2) / 2.5, (2 + 8 + 16) / 2.5, (32 + 64 + 0) / 2.5])


def test_half_a_millimetre_and_back() -> None:
    image = RNG.random((6, 8, 10)).astype(np.float32)
    fine, whole = grid((6, 8, 10), (0.5, 0.5, 0.5)), grid((3, 4, 5), (1, 1, 1))
    coarse = regrid(image, fine, whole)
    np.testing.assert_allclose(coarse, image.reshape(3, 2, 4, 2, 5, 2).mean((1, 3, 5)), rtol=1e-5)
    back = regrid(coarse, whole, fine)
    places = np.meshgrid(*[(np.arange(n) - 0.5) / 2 for n in image.shape], indexing="ij")
    expected = ndimage.map_coordinates(coarse, places, order=1, mode="nearest")
    np.testing.assert_allclose(back, expected, atol=1e-6)


def test_brain_is_not_mixed_with_background() -> None:
    found = resample(column([0, 100, 100]), SLICES, FINE)[0, 0]
    np.testing.assert_allclose(found, [0] * 5 + [100] * 10, atol=1e-4)
    back = resample(column([0, 0, 0, 100, 100, 100, 100, 0, 0, 0, 0, 0, 0, 0, 0]), FINE, SLICES)[0, 0]
    np.testing.assert_allclose(back, [0, 0, 0], err_msg="two of five are not most")
    assert regrid(column([0, 0, 0]), SLICES, FINE).shape == (1, 1, 15)


def test_voxels_beyond_the_image_are_0() -> None:
    wider = grid((1, 1, 21), (1, 1, 1), -3)
    wider.affine[:2, 3] = FINE.affine[:2, 3]
    found = regrid(column([10, 20, 40]), SLICES, wider)[0, 0]
    assert not found[:3].any()
    assert not found[18:].any()
    np.testing.assert_allclose(found[3:18], regrid(column([10, 20, 40]), SLICES, FINE)[0, 0])


@pytest.mark.parametrize("codes", ["".join(c) for c in itertools.product("RL", "AP", "SI")])
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_flips_and_exchanged_axes_are_undone_exactly(codes: str, order: tuple[int, ...]) -> None:
    image, own = RNG.integers(1, 99, (4, 5, 6)).astype(np.int16), grid((4, 5, 6), (1, 2, 3))
    turn = nib.orientations.axcodes2ornt([codes[axis] for axis in order])
    stored = nib.Nifti1Image(image, own.affine).as_reoriented(
        nib.orientations.ornt_transform(nib.orientations.io_orientation(own.affine), turn)
    )
    array, other = np.asarray(stored.dataobj), Grid(stored.shape, stored.affine)
    assert turned_grid(other, own).matches(own, 1e-6)
    np.testing.assert_array_equal(turned_like(array, other, own), image)
    assert resample(array, other, own).dtype == np.int16, "nothing was interpolated"


def test_a_tilted_grid_is_interpolated_linearly() -> None:
    """A ramp has the same values at the places of the new voxels; half a voxel beyond its edge it ends."""
    own, target = grid((20, 18, 16), (1, 1, 2)), grid((16, 14, 20), (1, 1, 1), 3)
    angle = np.radians(12)
    target.affine[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    ramp = np.array([2, -3, 5, 100])
    image = (ramp @ own.affine @ places(own.shape)).reshape(own.shape).astype(np.float32)
    expected = (ramp @ target.affine @ places(target.shape)).reshape(target.shape)
    step = (np.linalg.inv(own.affine) @ target.affine @ places(target.shape))[:3]
    found, shape = regrid(image, own, target), np.array(own.shape)[:, None]
    inside = ((step >= 0) & (step <= shape - 1)).all(axis=0).reshape(target.shape)
    beyond = ((step < -0.5) | (step > shape - 0.5)).any(axis=0).reshape(target.shape)
    assert np.count_nonzero(inside) > 2000
    assert np.count_nonzero(beyond) > 20
    np.testing.assert_allclose(found[inside], expected[inside], atol=1e-4)
    assert not found[beyond].any()
    assert found[~beyond].all()


def places(shape: tuple[int, int, int]) -> Numbers:
    """Return the indices of all voxels (4, voxel), the last of each 1."""
    return np.concatenate([np.indices(shape).reshape(3, -1), np.ones((1, np.prod(shape)))])
