"""gliomaseg check: each case with its reason and remedy; headers first."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gliomaseg.cases.find import find_cases
from gliomaseg.errors import ImageError
from gliomaseg.exams.check_cases import check_cases, require_sound
from gliomaseg.imaging.stored_file import StoredFile
from gliomaseg.labels import Modality

CopyCase = Callable[..., Path]

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cases(copy_case: CopyCase, tmp_path: Path) -> Path:
    """Return a folder with an intact case, a truncated one, one with a swap, one without T2."""
    data = tmp_path / "data"
    for name in ("a-intact", "b-cut", "c-swapped"):
        copy_case(name, data)
    copy_case("d-missing", data, without=(Modality.T2W,), reference=False)
    cut = data / "b-cut" / "b-cut_t1.nii.gz"
    cut.write_bytes(cut.read_bytes()[:-1000])
    t2, flair = (data / "c-swapped" / f"c-swapped_{name}.nii.gz" for name in ("t2", "flair"))
    swapped = t2.read_bytes()
    t2.write_bytes(flair.read_bytes())
    flair.write_bytes(swapped)
    return data


def states(data: Path, *, deep: bool) -> list[str]:
    return [f"{f.state} {f.error.code if f.error else ''}" for f in check_cases(find_cases(data), deep=deep)]


def test_headers_reveal_some_errors_and_deep_the_rest(cases: Path) -> None:
    assert states(cases, deep=False) == ["warn ", "fail E-TRUNCATED", "warn ", "warn "]
    assert states(cases, deep=True) == [*("warn ", "fail E-TRUNCATED", "fail E-MODALITY-ORDER", "warn ")]


def test_sequences_that_a_model_does_not_need_may_be_missing(cases: Path) -> None:
    whole = find_cases(cases)[-1]
    assert [note.code for found in check_cases([whole]) for note in found.notes][:1] == ["W-MISSING"]
    (needed,) = check_cases([whole], modalities=(Modality.T1C, Modality.T2F))
    assert needed.error is None
    assert "W-MISSING" not in [note.code for note in needed.notes]


def test_only_headers_are_read(cases: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, sizes = StoredFile._stored, dict[int, int]()

    def count(self: StoredFile, size: int) -> bytes:
        data = read(self, size)
        sizes[id(self)] = sizes.get(id(self), 0) + len(data)
        files.append(self)  # so that no other has its id
        return data

    files: list[StoredFile] = []
    monkeypatch.setattr(StoredFile, "_stored", count)
    (finding,) = check_cases(find_cases(cases)[:1])
    assert finding.state == "warn"  # voxels of 3 mm
    assert len(sizes) == 5
    assert 0 < max(sizes.values()) <= 4096 + 2


def test_the_first_bad_case_is_raised_with_the_number_of_others(cases: Path) -> None:
    with pytest.raises(ImageError, match=r"b-cut_t1.*\(1 more with errors") as caught:
        require_sound(find_cases(cases), tuple(Modality))
    assert caught.value.code == "E-TRUNCATED"
    require_sound(find_cases(cases)[:1], tuple(Modality))
    with pytest.raises(ImageError, match="b-cut_t1") as caught:
        require_sound(find_cases(cases)[:3], tuple(Modality))
    assert "others" not in caught.value.what


def test_a_reference_is_checked_too(copy_case: CopyCase, tmp_path: Path) -> None:
    folder = copy_case("a", tmp_path / "data")
    path = folder / "a_seg.nii.gz"
    image = nib.load(path)
    labels = np.asarray(image.dataobj).copy()
    labels[0, 0, 0] = 9
    nib.save(nib.Nifti1Image(labels, image.affine), path)
    assert states(tmp_path / "data", deep=True) == ["fail E-LABELS"]


def test_the_command_shows_a_table_and_json(cases: Path, run: Run) -> None:
    for more in ((), ("--json",)):
        code, out, err = run("check", cases, *more)
        assert code == 3, "one of four fails"
        if more:
            found = json.loads(out)
            assert [finding["state"] for finding in found] == ["warn", "fail", "warn", "warn"]
            assert found[1]["error"]["remedy"]
            assert str(cases) not in out
        else:
            assert "E-TRUNCATED" in out
            assert "0 pass, 3 warn, 1 fail" in err


def test_training_refuses_bad_cases_before_any_work(cases: Path, tmp_path: Path, run: Run) -> None:
    assert "E-TRUNCATED" in run("train", cases, "-o", tmp_path / "run")[2]
    assert not (tmp_path / "run").exists()


def test_content_errors_are_notes_in_training(
    cases: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One odd case in a hundred must not stop a training; check --deep refuses it."""
    pytest.importorskip("torch")
    from gliomaseg.settings.schema import Settings
    from gliomaseg.training.cache import prepare_cases

    swapped = [case for case in find_cases(cases) if case.id == "c-swapped"]
    caplog.set_level("INFO", logger="gliomaseg")
    prepare_cases(swapped, Settings(), tmp_path / "cache", lambda *_: None)
    assert "W-FORCED: E-MODALITY-ORDER" in caplog.text
