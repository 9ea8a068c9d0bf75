"""Guards of the brain mask: volume, one piece, flat faces, a tumour cut away; on masks drawn by hand."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from gliomaseg.errors import CaseError
from gliomaseg.exams.brain import BrainMask
from gliomaseg.exams.brain_checks import check_brain, check_contrast, check_cut, cut_ml, flat_faces, spread
from gliomaseg.imaging.volume import Grid

GRID = Grid((100, 100, 100), np.diag([2.0, 2, 2, 1]))
X, Y, Z = np.indices(GRID.shape)


def ball(centre: tuple[int, int, int], radius_mm: float) -> npt.NDArray[np.bool_]:
    x, y, z = centre
    return np.asarray(2 * np.sqrt((X - x) ** 2 + (Y - y) ** 2 + (Z - z) ** 2) < radius_mm)


#: A ball of 68 mm has 1317 ml.
BRAIN = ball((50, 50, 50), 68)


def test_a_round_brain_of_usual_volume_passes() -> None:
    found = BrainMask(BRAIN, GRID)
    assert found.volume_ml == pytest.approx(4 / 3 * np.pi * 6.8**3, rel=0.01)
    assert check_brain(found, "x") == ()


@pytest.mark.parametrize("radius", [0, 45, 82])
def test_a_volume_that_no_brain_has_is_refused(radius: float) -> None:
    with pytest.raises(CaseError, match="ml") as error:
        check_brain(BrainMask(ball((50, 50, 50), radius), GRID), "x")
    assert error.value.code == "E-STRIP"
    assert "--mask" in error.value.remedy


@pytest.mark.parametrize(("radius", "ml"), [(58, "8"), (79, "2,0")])
def test_an_unusual_volume_is_noted(radius: float, ml: str) -> None:
    (note,) = check_brain(BrainMask(ball((50, 50, 50), radius), GRID), "x")
    assert note.code == "W-STRIP"
    assert f"has {ml}" in note.what


def test_a_mask_in_pieces_is_noted_and_a_scattered_one_refused() -> None:
    (note,) = check_brain(BrainMask(BRAIN, GRID, 0.8), "x")
    assert (note.code, "20%" in note.what) == ("W-STRIP", True)
    with pytest.raises(CaseError, match="in pieces"):
        check_brain(BrainMask(BRAIN, GRID, 0.5), "x")


@pytest.mark.parametrize(("axis", "side"), [(0, "first"), (1, "last"), (2, "last")])
def test_a_plane_through_the_brain_is_a_flat_face_but_not_at_the_images_edge(axis: int, side: str) -> None:
    place = (X, Y, Z)[axis]
    cut = BRAIN & (place >= 30 if side == "first" else place < 70)
    assert flat_faces(BrainMask(cut, GRID)) == [(axis, side)]
    (note,) = check_brain(BrainMask(cut, GRID), "x")
    assert f"the {side} along axis {axis}" in note.what
    inside = [slice(None)] * 3
    inside[axis] = slice(30, None) if side == "first" else slice(None, 70)
    part = cut[tuple(inside)]
    assert flat_faces(BrainMask(part, Grid(part.shape, GRID.affine))) == []


def flair(tumour: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Return an image with a bright tumour in the brain and bright fat from 12 mm outside it on."""
    image = np.where(BRAIN, 100, 10) + np.random.default_rng(0).normal(0, 5, GRID.shape)
    image[~ball((50, 50, 50), 80)] = 220
    image[tumour & BRAIN] = 200
    return image.astype(np.float32)


def test_a_tumour_that_the_mask_cuts_through_is_noted() -> None:
    tumour = ball((50, 50, 78), 20)
    image = flair(tumour)
    assert check_cut(BrainMask(BRAIN, GRID), image, "x") == ()
    bitten = BrainMask(BRAIN & ~ball((50, 50, 84), 14), GRID)
    lost = np.count_nonzero(tumour & BRAIN & ~bitten.mask) * GRID.voxel_ml
    assert 1.5 < cut_ml(bitten, image) <= lost
    (note,) = check_cut(bitten, image, "x")
    assert note.code == "W-STRIP"


def test_bright_fat_that_touches_the_mask_is_no_cut_tumour() -> None:
    image = flair(np.zeros_like(BRAIN))
    image[ball((50, 50, 50), 74) & ~BRAIN & (Y > 60)] = 220
    assert check_cut(BrainMask(BRAIN, GRID), image, "x") == ()
    assert check_cut(BrainMask(np.zeros_like(BRAIN), GRID), image, "x") == ()


def test_a_bottle_of_water_is_no_brain_unless_another_sequence_shows_tissues() -> None:
    noise = np.random.default_rng(0).normal(0, 8, GRID.shape)
    water = np.where(BRAIN, 400, 0) + noise
    tissues = np.where(BRAIN, np.where(ball((50, 50, 50), 50), 400, 300), 0) + noise
    found = BrainMask(BRAIN, GRID)
    with pytest.raises(CaseError, match="water") as error:
        check_contrast(found, [water], "x")
    assert error.value.code == "E-STRIP"
    check_contrast(found, [water, tissues], "x")
    assert spread(found, water) < 0.04
    assert spread(found, tissues) == pytest.approx(0.3, abs=0.05)
