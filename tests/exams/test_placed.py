"""Sequences put where an earlier run registered them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gliomaseg.cases.case import Case
from gliomaseg.cases.find import find_case
from gliomaseg.exams.placed import read_placed
from gliomaseg.imaging.nifti import read_image, write_image
from gliomaseg.imaging.volume import Affine, Grid
from gliomaseg.labels import Modality
from gliomaseg.storage.files import sha256_of

MOVED = np.array([[1, 0, 0, 12.0], [0, 1, 0, -9], [0, 0, 1, 6], [0, 0, 0, 1]])
IMAGE = np.random.default_rng(3).integers(1, 900, (24, 28, 10)).astype(np.int16)
GRID = Grid((24, 28, 10), np.diag([1, 1, 4.0, 1]))


@pytest.fixture
def case(tmp_path: Path) -> Case:
    """Return two sequences of the same anatomy; the header of FLAIR is 16 mm off."""
    home = tmp_path / "exam"
    home.mkdir()
    write_image(home / "exam_t1c.nii.gz", IMAGE, GRID)
    write_image(home / "exam_t2f.nii.gz", 1000 - IMAGE, Grid(GRID.shape, MOVED @ GRID.affine))
    return find_case(home)


def record(case: Case) -> tuple[dict[Modality, Affine], dict[Modality, str]]:
    matrices = {Modality.T1C: np.eye(4), Modality.T2F: MOVED}
    return matrices, {m: sha256_of(case.images[m]) for m in matrices}


def test_on_the_grid_of_t1c_by_the_record(case: Case) -> None:
    found = read_placed(case, *record(case))
    assert found is not None
    assert found.grid.matches(GRID)
    assert found.channels == (Modality.T1C, Modality.T2F)
    assert np.array_equal(found.array[0] + found.array[1], np.full(GRID.shape, 1000))
    assert found.around is None


def test_with_a_brain_mask_the_head_is_kept_beside_it(case: Case, tmp_path: Path) -> None:
    mask = np.zeros(GRID.shape, np.uint8)
    mask[6:18, 7:20, 2:8] = 1
    write_image(tmp_path / "brain.nii.gz", mask, GRID)
    found = read_placed(case, *record(case), brain=tmp_path / "brain.nii.gz")
    assert found is not None
    assert found.around is not None
    assert np.array_equal(found.array[0], IMAGE * mask)
    assert np.array_equal(found.around.brain, mask > 0)
    assert np.array_equal(found.around.head[0], IMAGE[::2, ::2])  # slices of 4 mm are all kept


def test_other_files_are_not_placed(case: Case) -> None:
    matrices, hashes = record(case)
    assert read_placed(case, matrices, hashes | {Modality.T2F: "0" * 64}) is None
    assert read_image(case.images[Modality.T2F])[1].matches(Grid(GRID.shape, MOVED @ GRID.affine))
