"""A result that was computed in windows, for want of memory: noted, and never taken for the usual one."""

from __future__ import annotations

from pathlib import Path

import pytest

from gliomaseg.cases.case import Case
from gliomaseg.cohort import segment_cases
from gliomaseg.segmenter import Segmenter
from gliomaseg.storage.result_folder import ResultFolder

SMALL = 900_000


def test_windows_are_noted_and_part_of_what_a_result_is(phantom_case: Case, tmp_path: Path) -> None:
    whole, cut = Segmenter.load(), Segmenter.load(window_voxels=SMALL)
    (first,) = segment_cases([phantom_case], cut, tmp_path / "cut", only="seg")
    assert first.state == "done"
    assert [note.code for note in first.notes if note.code == "W-WINDOW"] == ["W-WINDOW"]
    record = ResultFolder(tmp_path / "cut" / phantom_case.id).read()
    assert (record["windowed"], record["window_voxels"]) == (True, SMALL)

    (again,) = segment_cases([phantom_case], cut, tmp_path / "cut", only="seg")
    assert again.state == "unchanged"
    (better,) = segment_cases([phantom_case], whole, tmp_path / "cut", only="seg")
    assert better.error is not None
    assert better.error.code == "E-EXISTS"
    assert "computed in windows" in better.error.what
    assert "--overwrite" in better.error.remedy


def test_the_whole_brain_at_once_is_as_good_as_windows(phantom_case: Case, tmp_path: Path) -> None:
    (first,) = segment_cases([phantom_case], Segmenter.load(), tmp_path, only="seg")
    assert "W-WINDOW" not in [note.code for note in first.notes]
    assert ResultFolder(tmp_path / phantom_case.id).read()["windowed"] is False
    (again,) = segment_cases([phantom_case], Segmenter.load(window_voxels=SMALL), tmp_path, only="seg")
    assert again.state == "unchanged"


@pytest.mark.parametrize(("free", "needed"), [(0.5, True), (5, False)])
def test_windows_are_foreseen_from_headers(phantom_case: Case, free: float, needed: bool) -> None:
    segmenter = Segmenter.load(max_memory_gb=free)
    assert segmenter.describe(phantom_case, phantom_case.scheme)["windowed"] is needed
