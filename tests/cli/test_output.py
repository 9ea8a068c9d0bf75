"""Where a result goes: a folder of all, one of less, or a single file, and never over what is there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gliomaseg.cases.case import Case
from gliomaseg.errors import OutputError
from gliomaseg.labels import Modality
from gliomaseg.result import Result
from gliomaseg.segmenter import Segmenter

CopyCase = Callable[..., Path]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def result(phantom_case: Case) -> Result:
    return Segmenter.load().segment(phantom_case)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_one_file_as_other_tools_write_it(
    run: Run, result: Result, phantom_case: Case, tmp_path: Path
) -> None:
    folder, out = phantom_case.images[Modality.T1N].parent, tmp_path / "out"
    code, table, words = run("segment", folder, "-o", out / "x.nii.gz")
    assert (code, names(out)) == (0, ["x.nii.gz"])
    assert "whole tumour" in table
    assert f"label map: {out / 'x.nii.gz'}" in words
    result.save(tmp_path / "whole")
    assert (out / "x.nii.gz").read_bytes() == (
        tmp_path / "whole" / result.case.id / "seg.nii.gz"
    ).read_bytes()
    before = (out / "x.nii.gz").stat()
    code, _, words = run("segment", folder, "-o", out / "x.nii.gz")
    assert code == 1
    assert "E-EXISTS" in words
    assert (out / "x.nii.gz").stat() == before
    code, printed, _ = run("segment", folder, "-o", out / "x.nii.gz", "--overwrite", "--json")
    assert code == 0
    assert json.loads(printed)[0]["measurements"]["regions"][0]["volume_ml"] > 0
    assert names(out) == ["x.nii.gz"]


def test_one_file_uncompressed(result: Result, tmp_path: Path) -> None:
    path = result.save(tmp_path / "new" / "X.nii")
    assert path == tmp_path / "new" / "X.nii"
    np.testing.assert_array_equal(np.asarray(nib.load(path).dataobj), result.segmentation.labels)
    with pytest.raises(OutputError, match="E-EXISTS"):
        result.save(path)
    assert result.save(path, overwrite=True) == path


def test_one_file_is_never_an_input_nor_a_folder(run: Run, copy_case: CopyCase, tmp_path: Path) -> None:
    """By its own name, by a link, by the reference's; --overwrite or not."""
    folder = copy_case("a", tmp_path / "data")
    (tmp_path / "link.nii.gz").symlink_to(folder / "a_t1ce.nii.gz")
    (tmp_path / "folder.nii.gz").mkdir()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    wrong = [
        folder / "a_t1.nii.gz",
        folder / "a_seg.nii.gz",
        tmp_path / "link.nii.gz",
        tmp_path / "folder.nii.gz",
    ]
    for path in wrong:
        code, _, words = run("segment", folder, "-o", path, "--overwrite")
        assert code == 1, path
        assert "E-OUTPUT" in words
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_one_file_for_more_than_one_map_is_refused(run: Run, phantom_folder: Path, tmp_path: Path) -> None:
    code, _, words = run("segment", phantom_folder, "-o", tmp_path / "x.nii.gz")
    assert code == 2
    assert "names one file, but there are 4 cases" in words
    code, _, words = run("segment", phantom_folder / "phantom-0", "-o", tmp_path / "x.nii.gz", "--maps")
    assert code == 2
    assert "maps are wanted" in words
    assert names(tmp_path) == []


def test_without_report_and_pictures(run: Run, result: Result, phantom_case: Case, tmp_path: Path) -> None:
    """The record and the numbers stay; less is another result than all."""
    folder, case = phantom_case.images[Modality.T1N].parent, tmp_path / phantom_case.id
    code, _, words = run("segment", folder, "-o", tmp_path, "--only", "seg")
    assert code == 0
    assert names(case) == ["measurements.csv", "measurements.json", "run.json", "seg.nii.gz"]
    assert f"label map: {case / 'seg.nii.gz'}" in words
    _, printed, _ = run("segment", folder, "-o", tmp_path, "--only", "seg", "--json")
    assert json.loads(printed)[0]["state"] == "unchanged"
    code, _, words = run("segment", folder, "-o", tmp_path)
    assert code == 1
    assert "holds another result: its only differ" in words
    whole = result.save(tmp_path / "whole")
    for name in ("seg.nii.gz", "measurements.json", "measurements.csv"):
        assert (case / name).read_bytes() == (whole / name).read_bytes()
    alone = result.save(tmp_path / "alone", only="seg")
    assert names(alone) == names(case)


def test_some_of_several_cases_failed(run: Run, copy_case: CopyCase, tmp_path: Path) -> None:
    """Exit 3 for some, 1 for all."""
    for name in ("a", "b"):
        copy_case(name, tmp_path / "data")
    (tmp_path / "data" / "a" / "a_t1.nii.gz").write_bytes(b"")
    code, printed, _ = run("segment", tmp_path / "data", "-o", tmp_path / "out", "--only", "seg", "--json")
    assert (code, [found["state"] for found in json.loads(printed)]) == (3, ["failed", "done"])
    (tmp_path / "data" / "b" / "b_t1.nii.gz").write_bytes(b"")
    assert run("segment", tmp_path / "data", "-o", tmp_path / "out")[0] == 1
