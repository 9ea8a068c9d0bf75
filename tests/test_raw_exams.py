"""Raw exams through ``gliomaseg segment``, end to end: labels on the grids of the files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine

from gliomaseg.cases.find import find_case
from gliomaseg.exams import register as registration
from gliomaseg.imaging.nifti import read_labels, write_image
from gliomaseg.imaging.phantom_raw import RawExam, make_raw_exam, write_raw_exam
from gliomaseg.labels import BRATS2021, Modality, Region
from gliomaseg.storage.result_folder import LABELS, STANDARDISED, ResultFolder, native_labels

pytest.importorskip("picsl_greedy")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def truth() -> RawExam:
    return make_raw_exam("small", seed=1)


@pytest.fixture(scope="module")
def home(truth: RawExam, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("exam")
    write_raw_exam(truth, home)
    write_image(home / "mask.nii.gz", truth.brain.astype(np.uint8), truth.reference.grid)
    return home


@pytest.mark.slow
def test_labels_on_every_grid(truth: RawExam, home: Path, run: Run, tmp_path: Path) -> None:
    words = ["segment", home / "phantom-raw", "-o", tmp_path, "--mask", home / "mask.nii.gz"]
    code, out, err = run(*words, "--native", "all", "--keep-standardised")
    assert code == 0, err
    folder = ResultFolder(tmp_path / "phantom-raw")
    assert folder.is_whole()
    found = read_labels(folder.path / LABELS, BRATS2021)
    assert found.grid.matches(truth.reference.grid)
    one, other = found.mask(Region.WT), truth.reference.mask(Region.WT)
    assert 2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other)) > 0.6
    centre = _centre(one, found.grid.affine)
    for modality in Modality:
        native = read_labels(folder.path / native_labels(modality), BRATS2021)
        assert native.grid.matches(truth.images[modality].grid)
        place = _centre(native.mask(Region.WT), native.grid.affine)
        assert np.linalg.norm(place - apply_affine(truth.moves[modality], centre)) < 2
        ml = np.count_nonzero(native.labels) * native.grid.voxel_ml
        assert ml == pytest.approx(np.count_nonzero(found.labels) * found.grid.voxel_ml, rel=0.06)
    again = find_case(folder.path / STANDARDISED)
    assert set(again.images) == set(Modality)
    record = json.loads((folder.path / "run.json").read_text())
    assert record["exam"] == {"strip": True, "native": "all", "keep": True}
    assert record["inputs"]["brain_mask"]["sha256"]
    code, out, err = run(*words, "--native", "all", "--keep-standardised")
    assert "unchanged" in out, err
    code, out, err = run(*words)
    assert code == 1
    assert "exam differ" in err


def test_one_sequence_is_enough(home: Path, run: Run, tmp_path: Path) -> None:
    image = home / "phantom-raw" / "phantom-raw_t2f.nii.gz"
    words = ["--t2f", image, "--id", "phantom-one", "-o", tmp_path, "--mask", home / "mask.nii.gz"]
    code, _, err = run("segment", *words, "--only", "seg")
    assert code == 1
    assert "E-GRID" in err  # the mask was drawn on t1c, which is not given


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--mask", "no.nii.gz"], "E-NOFILE"),
        (["--native", "t3"], "E-MODALITY"),
    ],
)
def test_wrong_words(home: Path, run: Run, tmp_path: Path, words: list[str], code: str) -> None:
    _, _, err = run("segment", home / "phantom-raw", "-o", tmp_path, *words)
    assert code in err


def test_a_mask_belongs_to_one_exam(home: Path, run: Run, tmp_path: Path, truth: RawExam) -> None:
    write_raw_exam(truth, tmp_path / "many", case_id="one")
    write_raw_exam(truth, tmp_path / "many", case_id="two")
    code, _, err = run("segment", tmp_path / "many", "-o", tmp_path / "out", "--mask", home / "mask.nii.gz")
    assert code == 2
    assert "--mask is the brain mask of one exam, but there are 2 cases" in err


def test_the_raw_demo_names_the_extra(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registration, "find_spec", lambda _name: None)
    code, _, err = run("demo", "--raw", "-o", tmp_path / "out")
    assert code == 1
    assert "E-EXTRA: registration needs picsl_greedy" in err
    assert 'pip install ".[raw]"' in err
    assert not (tmp_path / "out").exists()  # known before any work is done


@pytest.mark.slow
def test_the_raw_demo(run: Run, tmp_path: Path) -> None:
    """Far from chance on T1c's own grid; no accuracy, as it is a phantom."""
    code, _, err = run("demo", "--raw", "-o", tmp_path)
    assert code == 0, err
    found = read_labels(tmp_path / "phantom-raw" / LABELS, BRATS2021)
    truth = read_labels(tmp_path / "exam" / "phantom-raw" / "phantom-raw_seg.nii.gz", BRATS2021)
    assert found.grid.matches(truth.grid)
    assert "".join(nib.aff2axcodes(found.grid.affine)) == "LIA"
    for region in Region:
        one, other = found.mask(region), truth.mask(region)
        dice = 2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other))
        assert dice > 0.7, region  # 0.87, 0.93, 0.89 with the true brain mask
    assert "ynthetic" in (tmp_path / "phantom-raw" / "run.json").read_text()


def _centre(mask: np.ndarray, affine: np.ndarray) -> np.ndarray:
    return np.asarray(apply_affine(affine, np.argwhere(mask).mean(axis=0)))
