"""``gliomaseg segment --bids`` from a data set to derivatives, and what the validator of BIDS finds there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gliomaseg.cases.case import Case
from gliomaseg.cases.find import find_cases
from gliomaseg.exchange.bids import write_bids
from gliomaseg.imaging.nifti import write_image
from gliomaseg.imaging.phantom_raw import make_raw_exam, write_raw_exam
from gliomaseg.labels import Modality
from gliomaseg.storage.result_folder import LABELS, STANDARDISED, ResultFolder

MakeResult = Callable[..., ResultFolder]
Run = Callable[..., tuple[int, str, str]]
CopyCase = Callable[..., Path]

NAMES = dict(zip(Modality, ("T1w", "ce-gadolinium_T1w", "T2w", "FLAIR"), strict=True))
#: What the validator may recommend, and gliomaseg can't know.
WARNINGS = {"TOO_FEW_AUTHORS", "SIDECAR_KEY_RECOMMENDED"}


@pytest.fixture
def data_set(phantom_case: Case, tmp_path: Path) -> Path:
    """Return a BIDS data set of one subject at one session: the small exam."""
    anat = tmp_path / "ds" / "sub-01" / "ses-1" / "anat"
    anat.mkdir(parents=True)
    for modality, path in phantom_case.images.items():
        shutil.copyfile(path, anat / f"sub-01_ses-1_{NAMES[modality]}.nii.gz")
    about = {"Name": "phantoms", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
    (tmp_path / "ds" / "dataset_description.json").write_text(json.dumps(about))
    return tmp_path / "ds"


def issues(root: Path) -> dict[str, set[str]]:
    """Return the codes of the validator's errors and warnings; skips where it is not installed."""
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    validator = shutil.which("bids-validator-deno", path=places)
    if not validator:
        pytest.skip("needs bids-validator-deno (pip install bids-validator-deno)")
    done = subprocess.run([validator, root, "--format", "json"], capture_output=True, text=True, check=False)
    found: dict[str, set[str]] = {"error": set(), "warning": set()}
    for issue in json.loads(done.stdout)["issues"]["issues"]:
        found[issue["severity"]].add(issue["code"])
    assert (done.returncode == 0) == (not found["error"])
    return found


@pytest.mark.slow
def test_a_bids_data_set_becomes_valid_derivatives(data_set: Path, run: Run) -> None:
    output = data_set / "derivatives" / "gliomaseg"
    code, _, err = run("segment", data_set, "-o", output, "--only", "seg", "--bids")
    assert code == 0, err
    assert f"BIDS derivatives: {output / 'bids'}" in err
    anat = output / "bids" / "sub-01" / "ses-1" / "anat"
    name = "sub-01_ses-1_space-T1c_desc-gliomaseg_dseg"
    assert (anat / f"{name}.nii.gz").read_bytes() == (output / "sub-01_ses-1" / LABELS).read_bytes()
    source = "bids:raw:sub-01/ses-1/anat/sub-01_ses-1_ce-gadolinium_T1w.nii.gz"
    assert json.loads((anat / f"{name}.json").read_text())["SpatialReference"] == source
    found = issues(output / "bids")
    assert found["error"] == set()
    assert found["warning"] <= WARNINGS


@pytest.mark.slow
def test_derivatives_of_other_ids_and_raw_exams_are_valid(make_result: MakeResult, tmp_path: Path) -> None:
    written = nib.Nifti1Image(np.ones((4, 5, 6), np.uint8), np.eye(4))
    written.header.set_xyzt_units("mm")
    nib.save(written, tmp_path / "map.nii.gz")
    image = (tmp_path / "map.nii.gz").read_bytes()
    transforms = json.dumps({"sequences": {m: {"matrix": np.eye(4).tolist()} for m in Modality}}).encode()
    raw = {"standardised/brain_mask.nii.gz": image, "standardised/transforms.json": transforms}
    for case_id in ("BraTS-GLI-00006-101", "BraTS-GLI-00006-102", "Müller 7", "=1+1"):
        make_result(tmp_path / "out", case_id, more={LABELS: image, "seg_t2f.nii.gz": image, **raw})
    assert {outcome.state for outcome in write_bids(tmp_path / "out", tmp_path / "bids")} == {"done"}
    found = issues(tmp_path / "bids")
    assert found["error"] == set()
    assert found["warning"] <= WARNINGS
    next((tmp_path / "bids").rglob("*_dseg.json")).unlink()
    assert "SIDECAR_KEY_REQUIRED" in issues(tmp_path / "bids")["error"], "the validator sees what lacks"


@pytest.mark.slow
def test_a_raw_exam_brings_its_brain_mask_and_transforms(tmp_path: Path, run: Run) -> None:
    """Resampled by SimpleITK with its transform, FLAIR is the image that gliomaseg made of it."""
    pytest.importorskip("picsl_greedy")
    sitk = pytest.importorskip("SimpleITK")
    truth = make_raw_exam("small", seed=1)
    exam = write_raw_exam(truth, tmp_path / "data", case_id="sub-1")
    write_image(tmp_path / "mask.nii.gz", truth.brain.astype(np.uint8), truth.reference.grid)
    words = ("segment", exam, "--mask", tmp_path / "mask.nii.gz", "--only", "seg", "--bids")
    assert run(*words, "-o", tmp_path / "out")[0] == 0
    assert run(*words, "-o", tmp_path / "kept", "--keep-standardised")[0] == 0
    folder = tmp_path / "out" / "sub-1" / STANDARDISED
    assert {path.name for path in folder.iterdir()} == {"brain_mask.nii.gz", "transforms.json"}
    anat = tmp_path / "out" / "bids" / "sub-1" / "anat"
    mask = sitk.ReadImage(str(anat / "sub-1_space-T1c_res-1mm_desc-brain_mask.nii.gz"))
    transform = sitk.ReadTransform(str(anat / "sub-1_from-FLAIR_to-T1c_mode-image_xfm.txt"))
    moving = sitk.ReadImage(str(exam / "sub-1_t2f.nii.gz"), sitk.sitkFloat32)
    moved = sitk.GetArrayFromImage(sitk.Resample(moving, mask, transform, sitk.sitkLinear))
    ours = sitk.ReadImage(str(tmp_path / "kept" / "sub-1" / STANDARDISED / "sub-1_t2f.nii.gz"))
    inside = sitk.GetArrayFromImage(mask) > 0
    one, other = moved[inside], sitk.GetArrayFromImage(ours)[inside]
    assert np.corrcoef(one, other)[0, 1] > 0.999
    found = issues(tmp_path / "out" / "bids")
    assert found["error"] == set()
    assert found["warning"] <= WARNINGS


@pytest.mark.slow
def test_the_same_command_again_and_after_corrections(copy_case: CopyCase, tmp_path: Path, run: Run) -> None:
    command = ("segment", copy_case("a-1").parent, "-o", tmp_path / "out", "--only", "seg", "--bids")
    assert run(*command)[0] == 0
    copy = tmp_path / "out/bids/sub-a1/anat/sub-a1_space-T1c_desc-gliomaseg_dseg.nii.gz"
    before = copy.stat().st_mtime_ns
    code, out, _ = run(*command)
    assert (code, "a-1 (unchanged)" in out) == (0, True)
    assert copy.stat().st_mtime_ns == before
    copy.write_bytes(b"mine")
    code, out, _ = run(*command, "--json")
    assert code == 1
    (found,) = json.loads(out)
    assert (found["state"], found["error"]["code"]) == ("failed", "E-EXISTS")
    assert copy.read_bytes() == b"mine"


def test_one_file_is_no_data_set(copy_case: CopyCase, tmp_path: Path, run: Run) -> None:
    code, _, err = run("segment", copy_case(), "-o", tmp_path / "x.nii.gz", "--bids")
    assert (code, "E-USAGE" in err, "--bids" in err) == (2, True, True)


def test_a_case_with_the_name_of_the_data_set_is_refused_before_any_work(
    copy_case: CopyCase, tmp_path: Path, run: Run
) -> None:
    code, _, err = run("segment", copy_case("BIDS"), "-o", tmp_path / "out", "--bids")
    assert (code, "E-OUTPUT" in err, "another id" in err) == (1, True, True)
    assert not (tmp_path / "out").exists()


def test_a_foreign_folder_is_refused_before_any_work(copy_case: CopyCase, tmp_path: Path, run: Run) -> None:
    (tmp_path / "out" / "bids").mkdir(parents=True)
    (tmp_path / "out" / "bids" / "notes.txt").touch()
    code, _, err = run("segment", copy_case(), "-o", tmp_path / "out", "--bids")
    assert (code, "E-EXISTS" in err, "notes.txt" in err) == (1, True, True)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["bids"]


def test_the_derivatives_are_no_cases(data_set: Path, make_result: MakeResult) -> None:
    before = find_cases(data_set)
    make_result(data_set / "out", "sub-01_ses-1", more={"standardised/brain_mask.nii.gz": b"x"})
    write_bids(data_set / "out", data_set / "out" / "bids")
    assert find_cases(data_set) == before
