"""``gliomaseg standardise``: folders like those of BraTS, written whole, read again as prepared cases."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gliomaseg.cases.find import find_case
from gliomaseg.cases.read import read_case
from gliomaseg.exams.prepared_case import BRAIN_MASK, TRANSFORMS, PreparedCase, prepare_cases
from gliomaseg.exams.standardise import standardise_exam
from gliomaseg.imaging.nifti import read_image
from gliomaseg.labels import Modality

from .conftest import RawCase

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def made(raw: RawCase, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PreparedCase]:
    output = tmp_path_factory.mktemp("prepared")
    (found,) = prepare_cases([raw.masked], output)
    assert found.error is None
    return output, found


def test_the_folder_is_a_prepared_case(made: tuple[Path, PreparedCase], raw: RawCase) -> None:
    output, _ = made
    folder = output / raw.case.id
    assert {p.name for p in folder.iterdir()} == {
        *(f"{raw.case.id}_{m}.nii.gz" for m in Modality),
        f"{raw.case.id}_seg.nii.gz",
        BRAIN_MASK,
        TRANSFORMS,
    }
    case = find_case(folder)
    volume = read_case(case, tuple(Modality))
    assert not case.notes
    assert not volume.notes
    again = standardise_exam(case, tuple(Modality))
    assert again.is_own  # nothing is registered or resampled a second time
    mask, grid = read_image(folder / BRAIN_MASK)
    assert grid.matches(volume.grid)
    assert not volume.array[:, mask == 0].any()


def test_transforms_lead_from_t1c_to_each_file(made: tuple[Path, PreparedCase], raw: RawCase) -> None:
    output, found = made
    record = json.loads((output / raw.case.id / TRANSFORMS).read_text())
    assert record == found.record
    assert np.allclose(record["sequences"]["t1c"]["matrix"], np.eye(4))
    for modality in Modality:
        apart = np.array(record["sequences"][modality]["matrix"]) - raw.truth.moves[modality]
        assert np.abs(apart[:3, :3]).max() < 0.02
        assert record["sequences"][modality]["there_and_back_mm"] <= 2


def test_a_second_run_computes_nothing(
    made: tuple[Path, PreparedCase], raw: RawCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, _ = made
    monkeypatch.setattr("gliomaseg.exams.prepared_case.standardise_exam", None)
    (found,) = prepare_cases([raw.masked], output)
    assert found.state == "unchanged"


@pytest.mark.slow
def test_another_exam_is_never_overwritten_unasked(
    made: tuple[Path, PreparedCase], raw: RawCase, run: Run
) -> None:
    output, _ = made
    before = {p.name: p.read_bytes() for p in (output / raw.case.id).iterdir()}
    (found,) = prepare_cases([raw.masked], output, strip=False)
    assert found.error is not None
    assert found.error.code == "E-EXISTS"
    assert {p.name: p.read_bytes() for p in (output / raw.case.id).iterdir()} == before


def test_files_of_others_are_kept_even_with_overwrite(raw: RawCase, tmp_path: Path) -> None:
    (tmp_path / raw.case.id).mkdir()
    (tmp_path / raw.case.id / "notes.txt").write_text("mine")
    (found,) = prepare_cases([raw.masked], tmp_path, overwrite=True)
    assert found.error is not None
    assert found.error.code == "E-EXISTS"
    assert (tmp_path / raw.case.id / "notes.txt").read_text() == "mine"


@pytest.mark.slow
def test_an_edited_mask_is_kept_even_with_overwrite(raw: RawCase, tmp_path: Path) -> None:
    (found,) = prepare_cases([raw.masked], tmp_path)
    assert found.folder is not None
    (again,) = prepare_cases([raw.masked], tmp_path, strip=False, overwrite=True)
    assert again.state == "done"
    (found.folder / BRAIN_MASK).write_bytes(b"edited")
    (refused,) = prepare_cases([raw.masked], tmp_path, overwrite=True)
    assert refused.error is not None
    assert refused.error.what.endswith(f"did not write: {BRAIN_MASK}")
    assert (found.folder / BRAIN_MASK).read_bytes() == b"edited"


def test_never_among_the_inputs(raw: RawCase) -> None:
    home = next(iter(raw.case.images.values())).parent.parent
    (found,) = prepare_cases([raw.masked], home)
    assert found.error is not None
    assert found.error.code == "E-OUTPUT"


@pytest.mark.slow
def test_one_bad_exam_stops_no_other(raw: RawCase, copied: Callable[[], object], tmp_path: Path) -> None:
    bad = copied()
    bad.images[Modality.T2W].write_bytes(b"")  # type: ignore[attr-defined]
    states = [c.state for c in prepare_cases([bad, raw.masked], tmp_path / "out")]  # type: ignore[list-item]
    assert states == ["failed", "done"]


def test_command_line(raw: RawCase, run: Run, tmp_path: Path) -> None:
    folder = next(iter(raw.case.images.values())).parent
    words = ["standardise", str(folder), "-o", str(tmp_path), "--mask", str(raw.masked.brain_mask), "--json"]
    code, out, _ = run(*words)
    assert code == 0
    (found,) = json.loads(out)
    assert found["state"] == "done"
    assert found["transforms"]["brain_ml"] == pytest.approx(1600, rel=0.3)
