"""A prediction saved in another order is the same; one that would take interpolation is refused."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gliomaseg.cases.case import Case
from gliomaseg.errors import CaseError
from gliomaseg.evaluation.evaluation import evaluate
from gliomaseg.evaluation.reading import on_grid
from gliomaseg.imaging.volume import Grid

Run = Callable[..., tuple[int, str, str]]

AFFINE = np.array([[-1.0, 0, 0, 90], [0, -2, 0, 126], [0, 0, 3, -72], [0, 0, 0, 1]])
ARRAY = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)
GRID = Grid((2, 3, 4), AFFINE)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("signs", list(itertools.product((1, -1), repeat=3)))
def test_every_order_of_axes_is_undone_exactly(order: tuple[int, ...], signs: tuple[int, ...]) -> None:
    turn = np.array(list(zip(order, signs, strict=True)), float)
    turned = nib.orientations.apply_orientation(ARRAY, turn)
    grid = Grid(turned.shape, AFFINE @ nib.orientations.inv_ornt_aff(turn, ARRAY.shape))
    found, notes = on_grid(turned, grid, GRID, name="x")
    np.testing.assert_array_equal(found, ARRAY)
    assert len(notes) == (not grid.matches(GRID))


def test_nothing_is_interpolated_and_nothing_is_guessed() -> None:
    moved = Grid((2, 3, 4), AFFINE + np.outer([0.2, 0, 0, 0], [0, 0, 0, 1]))
    with pytest.raises(CaseError, match=r"E-GRID.*another affine") as caught:
        on_grid(ARRAY, moved, GRID, name="x")
    assert "--ignore-affine" in caught.value.remedy
    with pytest.raises(CaseError, match="identity affine") as caught:
        on_grid(ARRAY, Grid((2, 3, 4), np.eye(4)), GRID, name="x")
    assert "--ignore-affine" in caught.value.remedy
    with pytest.raises(CaseError, match="E-GRID") as caught:
        on_grid(ARRAY[1:], Grid((1, 3, 4), np.eye(4)), GRID, name="x", ignore_affine=True)
    assert "--ignore-affine" not in caught.value.remedy
    near = Grid((2, 3, 4), AFFINE + np.outer([0.05, 0, 0, 0], [0, 0, 0, 1]))
    assert on_grid(ARRAY, near, GRID, name="x") == (ARRAY, ())


def test_a_prediction_saved_otherwise_has_the_scores_of_the_same(
    phantom_case: Case, tmp_path: Path, run: Run
) -> None:
    assert phantom_case.reference is not None
    image = nib.load(phantom_case.reference)
    data = phantom_case.reference.parents[1]
    array, name = np.asarray(image.dataobj), f"{phantom_case.id}.nii.gz"
    wrong = np.roll(array, 2, axis=0)
    saved = {
        "same": nib.Nifti1Image(wrong, image.affine),
        "turned": nib.as_closest_canonical(nib.Nifti1Image(wrong, image.affine)),
        "near": nib.Nifti1Image(wrong, image.affine + np.outer([0.05, 0, 0, 0], [0, 0, 0, 1])),
        "bare": nib.Nifti1Image(wrong, np.eye(4)),
    }
    for folder, made in saved.items():
        (tmp_path / folder).mkdir()
        nib.save(made, tmp_path / folder / name)
    scores = {
        folder: evaluate(tmp_path / folder, data, ignore_affine=folder == "bare").cases for folder in saved
    }
    assert scores["turned"] == scores["near"] == scores["bare"] == scores["same"]
    assert 0 < scores["same"][phantom_case.id]["dice_wt"] < 1
    assert "turned to the axes" in str(evaluate(tmp_path / "turned", data).notes)
    code, _, err = run("evaluate", tmp_path / "bare", data, "--jobs", 1)
    assert code == 1
    assert "(an identity affine)" in " ".join(err.split())
    assert run("evaluate", tmp_path / "bare", data, "--jobs", 1, "--ignore-affine")[0] == 0
