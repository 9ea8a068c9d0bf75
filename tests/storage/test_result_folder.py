"""A result folder verifies its files; a file that it can't verify is never replaced."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from gliomaseg.errors import CaseError, OutputError
from gliomaseg.storage import files
from gliomaseg.storage.result_folder import LABELS, MEASUREMENTS, RECORD, ResultFolder, seal

WANTED = {"schema_version": 2, "gliomaseg": "0.1.0", "quality": "fast", "inputs": {"t1n": {"sha256": "a"}}}
DEEP = '{"a":' * 200_000


@pytest.fixture
def folder(tmp_path: Path) -> ResultFolder:
    """Return a whole result of version 0.1, whose numbers still have a verdict."""
    found = ResultFolder(tmp_path / "out" / "A")
    with found.write() as draft:
        files.write_bytes(draft / LABELS, b"labels")
        files.write_json(
            draft / MEASUREMENTS, {"case": "A", "verdict": {"verdict": "doubtful", "reasons": ["why"]}}
        )
        seal(draft, WANTED)
    return found


def in_the_way(folder: ResultFolder, wanted: object = WANTED, *, overwrite: bool = False) -> str:
    with pytest.raises(OutputError, match="E-EXISTS") as caught:
        _ = folder.write(overwrite=True).__enter__() if overwrite else folder.same_as(lambda: wanted)  # type: ignore[arg-type, return-value]
    return f"{caught.value.what}; {caught.value.remedy}"


def test_what_was_written_is_proven_and_read(folder: ResultFolder) -> None:
    assert folder.is_whole()
    assert not folder.edited()
    assert folder.same_as(lambda: WANTED)
    assert ResultFolder.of(folder.path / LABELS) == folder
    assert ResultFolder.of(folder.path / "other.nii.gz") is None
    assert folder.measurements() == {"case": "A", "quality": "unreliable", "reasons": ["why"]}
    assert not ResultFolder(folder.path.parent).is_result()


def test_an_edited_label_map_is_recognised_and_kept(folder: ResultFolder) -> None:
    (folder.path / LABELS).write_bytes(b"corrected")
    assert folder.edited()
    assert not folder.is_whole()
    for overwrite in (False, True):
        words = in_the_way(folder, overwrite=overwrite)
        assert "edited by hand" in words
        assert "--overwrite" not in words, "the remedy must not lose it"
    assert (folder.path / LABELS).read_bytes() == b"corrected"


@pytest.mark.parametrize("name", ["notes.txt", "seg_corrected.nii.gz", ".hidden", "folder"])
def test_what_the_record_does_not_list_is_kept(folder: ResultFolder, name: str) -> None:
    (folder.path / name).mkdir() if name == "folder" else (folder.path / name).write_text("mine")
    assert folder.same_as(lambda: WANTED), "nothing is replaced"
    assert f"did not write: {name}" in in_the_way(folder, overwrite=True)
    (folder.path / MEASUREMENTS).unlink()
    assert "did not write" in in_the_way(folder), "an incomplete result, and more"


def test_what_a_file_browser_leaves_is_in_nobodys_way(folder: ResultFolder) -> None:
    (folder.path / ".DS_Store").write_bytes(b"\0")
    with folder.write(overwrite=True) as draft:
        seal(draft, WANTED)
    assert [path.name for path in folder.path.iterdir()] == [RECORD]


def test_another_result_is_replaced_only_when_asked(folder: ResultFolder) -> None:
    words = in_the_way(folder, WANTED | {"quality": "best"})
    assert "its quality differ" in words
    assert "--overwrite" in words
    with pytest.raises(OutputError, match="E-EXISTS"), folder.write():
        pass
    (folder.path / LABELS).unlink()
    assert not folder.same_as(lambda: WANTED), "an incomplete result is computed again"


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    "content",
    [DEEP, "[]", "{", "", '{"outputs": []}', '{"inputs": {"t1n": []}}', '{"seconds": {"a": {}}}', None],
)
def test_a_damaged_record_is_in_the_way_of_its_case_alone(
    folder: ResultFolder, content: str | None, overwrite: bool
) -> None:
    record = folder.path / RECORD
    record.unlink()
    if content is not None:
        record.write_text(content)
    elif sys.platform == "win32":
        pytest.skip("pipes of POSIX")
    else:
        os.mkfifo(record)
    with pytest.raises(CaseError, match="E-REPORT"):
        folder.read()
    assert "--overwrite" not in in_the_way(folder, overwrite=overwrite)
    assert (folder.path / LABELS).read_bytes() == b"labels"


def test_numbers_that_were_changed_are_not_believed(folder: ResultFolder) -> None:
    numbers = folder.path / MEASUREMENTS
    numbers.write_text(numbers.read_text().replace("doubtful", "ok"))
    with pytest.raises(CaseError, match="E-REPORT"):
        folder.measurements()
    numbers.write_text(json.dumps([]))
    with pytest.raises(CaseError, match="E-REPORT"):
        folder.measurements()


def test_a_folder_without_a_record_is_someone_elses(tmp_path: Path) -> None:
    labels = tmp_path / "labels" / "A" / LABELS
    labels.parent.mkdir(parents=True)
    labels.write_bytes(b"drawn by an expert")
    for overwrite in (False, True):
        assert "not a result of gliomaseg" in in_the_way(ResultFolder(labels.parent), overwrite=overwrite)
    assert labels.read_bytes() == b"drawn by an expert"
