"""A raw synthetic exam on disk, its truth, and its brain mask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from gliomaseg.cases.case import Case
from gliomaseg.cases.find import find_case
from gliomaseg.imaging.nifti import write_image
from gliomaseg.imaging.phantom_raw import RawExam, make_raw_exam, write_raw_exam


class RawCase(NamedTuple):
    """``case`` without a mask, ``masked`` with the true one, ``truth`` behind both."""

    truth: RawExam
    case: Case
    masked: Case


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> RawCase:
    """Return a small raw exam: four sequences with the skull, on four grids, moved."""
    pytest.importorskip("picsl_greedy")
    home = tmp_path_factory.mktemp("raw")
    truth = make_raw_exam("small", seed=1)
    case = find_case(write_raw_exam(truth, home))
    write_image(home / "mask.nii.gz", truth.brain.astype(np.uint8), truth.reference.grid)
    return RawCase(truth, case, replace(case, brain_mask=home / "mask.nii.gz"))


@pytest.fixture
def copied(raw: RawCase, tmp_path: Path) -> Callable[[], Case]:
    """Return a function that copies the exam, so that its files may be changed."""

    def copy() -> Case:
        return find_case(write_raw_exam(raw.truth, tmp_path / "copy"))

    return copy
