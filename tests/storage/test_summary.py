"""summary.csv: every case of the folder, whenever it was made."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from gliomaseg.errors import CaseError, OutputError
from gliomaseg.storage import files
from gliomaseg.storage.result_folder import LABELS, MEASUREMENTS, RECORD, ResultFolder, seal
from gliomaseg.storage.summary import SUMMARY, Outcome, refuse_foreign_summary, write_summary

RUN = {"gliomaseg": "0", "missing": ["t2w"], "voxel_mm": [1.0, 1.0, 5.0]}
MEASURED = {
    "quality": "review",
    "reasons": ["One.", "Two."],
    "regions": [{"region": "wt", "volume_ml": 12.3456, "volume_low_ml": 10.0, "volume_high_ml": 15.5}],
}


def make(output: Path, name: str) -> None:
    with ResultFolder(output / name).write() as draft:
        files.write_bytes(draft / LABELS, b"labels")
        files.write_json(draft / MEASUREMENTS, MEASURED)
        seal(draft, RUN)


def done(name: str) -> Outcome:
    return Outcome(name, "done", measurements=MEASURED, record=RUN)


def rows(output: Path) -> dict[str, dict[str, str]]:
    with (output / SUMMARY).open(encoding="utf-8", newline="") as stream:
        return {row["case"]: row for row in csv.DictReader(stream)}


def test_it_tells_what_a_reader_of_many_cases_needs(tmp_path: Path) -> None:
    make(tmp_path, "A")
    write_summary(tmp_path, [done("A")])
    (row,) = rows(tmp_path).values()
    assert {key: value for key, value in row.items() if value} == {
        "case": "A",
        "state": "done",
        "quality": "review",
        "reasons": "One. Two.",
        "edited": "no",
        "missing": "t2w",
        "wt_volume_ml": "12.3456",
        "wt_volume_low_ml": "10",
        "wt_volume_high_ml": "15.5",
        "voxel_mm": "1 x 1 x 5",
        "path": "A/seg.nii.gz",
    }


def test_earlier_results_stay_in_the_table(tmp_path: Path) -> None:
    """One case after the other gives the table that all at once give; a failure stays until it is done."""
    error = CaseError("E-SKULL", "the image shows the whole head")
    make(tmp_path, "A")
    write_summary(tmp_path, [done("A"), Outcome("=B", "failed", error=error)])
    make(tmp_path, "C")
    write_summary(tmp_path, [done("C")])
    found = rows(tmp_path)
    assert {case: row["state"] for case, row in found.items()} == {
        "'=B": "failed",
        "A": "unchanged",
        "C": "done",
    }
    assert (found["'=B"]["error"], found["'=B"]["message"]) == ("E-SKULL", "the image shows the whole head")
    make(tmp_path, "=B")
    write_summary(tmp_path, [done("=B")])
    assert rows(tmp_path)["'=B"]["error"] == ""


def test_an_edited_result_is_marked_and_its_old_numbers_are_not_given(tmp_path: Path) -> None:
    for name in ("A", "B", "D"):
        make(tmp_path, name)
    (tmp_path / "A" / LABELS).write_bytes(b"corrected")
    (tmp_path / "D" / RECORD).write_text('{"outputs": []}')
    write_summary(tmp_path, [done("B")])
    edited = rows(tmp_path)["A"]
    assert (edited["edited"], edited["wt_volume_ml"], edited["quality"]) == ("yes", "", "")
    assert "edited" in edited["reasons"]
    damaged = rows(tmp_path)["D"]
    assert (damaged["state"], damaged["error"]) == ("failed", "E-REPORT")
    assert str(tmp_path) not in (tmp_path / SUMMARY).read_text()


def test_a_single_case_that_failed_leaves_nothing(tmp_path: Path) -> None:
    write_summary(tmp_path, [Outcome("A", "failed", error=CaseError("E-SKULL", "a head"))])
    assert not list(tmp_path.iterdir())


def test_someone_elses_table_is_kept(tmp_path: Path) -> None:
    (tmp_path / SUMMARY).write_text("patient;survival\nA;12\n")
    with pytest.raises(OutputError, match="E-EXISTS") as caught:
        refuse_foreign_summary(tmp_path, overwrite=False)
    assert "--overwrite" in caught.value.remedy
    refuse_foreign_summary(tmp_path, overwrite=True)
    (tmp_path / SUMMARY).write_text("case,state,wt_volume_ml\nA,done,12\n")
    refuse_foreign_summary(tmp_path, overwrite=False)
