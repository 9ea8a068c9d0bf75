"""``gliomaseg evaluate`` as a user meets it: words, files, exit codes, several methods, maps, Ctrl-C."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gliomaseg.evaluation.evaluation import evaluate
from gliomaseg.evaluation.rules import PROFILES

Run = Callable[..., tuple[int, str, str]]
Write = Callable[..., None]


@pytest.fixture
def run(run: Run) -> Run:
    """Return a function of the words after ``gliomaseg evaluate``."""
    return partial(run, "evaluate")


@pytest.fixture
def root(tmp_path: Path, write_pair: Write) -> Path:
    for case, shift in {"A": 0, "B": 1, "C": 3}.items():
        write_pair(tmp_path, case, shift=shift)
    return tmp_path


def test_the_table_the_files_and_the_page(run: Run, root: Path) -> None:
    code, out, err = run(root / "predictions", root / "data", "--rules", "brats2023", "-o", root / "scores")
    assert code == 0
    assert "rules brats2023-gli" in out
    assert "lesion Dice" in out
    assert out.index("│ C") < out.index("│ B")
    assert f"page: {root / 'scores' / 'scores.html'}" in err
    assert "not a medical device" in err
    with (root / "scores" / "scores.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["rules"] for row in rows} == {"brats2023-gli"}
    summary = json.loads((root / "scores" / "summary.json").read_text())
    assert (summary["n"], summary["rules"]) == (3, "brats2023-gli")


def test_json_is_one_document(run: Run, root: Path) -> None:
    code, out, _ = run(root / "predictions", root / "data", "--json")
    found = json.loads(out)
    assert (code, found["rules"], found["cases"]["A"]["dice_wt"]) == (0, "brats2020", 1.0)
    code, out, _ = run(root / "predictions", root / "nowhere", "--json")
    assert (code, json.loads(out)["error"]["code"]) == (1, "E-NOFILE")


def test_several_methods_are_ranked(run: Run, root: Path) -> None:
    for name in ("worse", "worst"):
        (root / name).mkdir()
    for case in "ABC":
        image = nib.load(root / "predictions" / f"{case}.nii.gz")
        labels = np.asarray(image.dataobj)
        nib.save(nib.Nifti1Image(np.roll(labels, -2, 1), image.affine), root / "worse" / f"{case}.nii.gz")
        nib.save(nib.Nifti1Image(labels * 0, image.affine), root / "worst" / f"{case}.nii.gz")
    code, out, err = run(
        root / "predictions", root / "data", "--compare", root / "worse", "--compare", root / "worst",
        "-o", root / "scores",
    )  # fmt: skip
    assert code == 0
    assert "Ranking, 1 is best" in out
    assert "worst against predictions" in out
    assert "Wilcoxon" in err
    found = json.loads((root / "scores" / "summary.json").read_text())["comparison"]
    assert list(found["ranking"]["mean_rank"].values()) == sorted(found["ranking"]["mean_rank"].values())
    assert found["ranking"]["mean_rank"]["predictions"] == 1
    with (root / "scores" / "scores.csv").open(newline="") as stream:
        assert {row["predictions"] for row in csv.DictReader(stream)} == {"predictions", "worse", "worst"}


def test_a_failed_case_is_named_and_the_exit_code_is_three(run: Run, root: Path) -> None:
    shutil.copy(root / "predictions" / "A.nii.gz", root / "predictions" / "D.nii.gz")
    (root / "predictions" / "B.nii.gz").write_bytes(b"\x1f\x8b cut")
    code, out, err = run(root / "predictions", root / "data", "-o", root / "scores")
    assert code == 3
    assert "failed: B\nE-" in err
    assert "remedy: " in err
    assert "1 without a reference, left out: D" in err
    assert "│ A" in out
    assert "failed: B\nE-" in (root / "scores" / "scores.html").read_text()


def test_when_every_case_failed_there_is_no_table(run: Run, root: Path) -> None:
    for path in (root / "predictions").glob("*.nii.gz"):
        path.write_bytes(b"\x1f\x8b cut")
    code, out, err = run(root / "predictions", root / "data", "-o", root / "scores")
    assert code == 1
    assert err.count("remedy: ") >= 2
    assert "interval]" not in out  # of a table without rows


@pytest.mark.parametrize(
    ("args", "code", "error"),
    [
        (("--rules", "brats2032"), 2, "E-USAGE"),
        (("--uncertainty", "data"), 1, "E-NOCASE"),
        (("--probabilities", "nowhere"), 1, "E-NOFILE"),
        (("--jobs", "-1"), 2, ""),
    ],
)
def test_wrong_options(run: Run, root: Path, args: tuple[str, str], code: int, error: str) -> None:
    value = root / args[1] if error in ("E-NOCASE", "E-NOFILE") else args[1]
    found, _, err = run(root / "predictions", root / "data", args[0], value)
    assert (found, error in err) == (code, True)
    assert not (root / "scores").exists()


def test_every_profile_and_metric_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "evaluate.md").read_text(encoding="utf-8")
    assert [name for name in PROFILES if f"`{name}`" not in text] == []
    metrics = {metric for profile in PROFILES.values() for metric in profile.metrics} - {"nsd", "lesion_nsd"}
    known = {"lesion_fp": "_fp", "lesion_fn": "_fn"}
    assert [m for m in metrics if f"`{known.get(m, m)}`" not in text] == []


# --- maps -----------------------------------------------------------------------------------------


def _write_maps(root: Path, case: str) -> None:
    image = nib.load(root / "predictions" / f"{case}.nii.gz")
    labels = np.asarray(image.dataobj)
    (root / "maps" / case).mkdir(parents=True)
    for region, name, values in (("wt", "whole", (1, 2, 4)), ("tc", "core", (1, 4)), ("et", "enhance", (4,))):
        mask = np.isin(labels, values)
        doubt = nib.Nifti1Image(np.where(mask, 10, 0).astype(np.uint8), image.affine)
        nib.save(doubt, root / "maps" / f"{case}_unc_{name}.nii.gz")
        probability = nib.Nifti1Image(np.where(mask, 0.9, 0).astype(np.float32), image.affine)
        nib.save(probability, root / "maps" / case / f"probabilities_{region}.nii.gz")


def test_uncertainty_and_calibration_of_a_folder(run: Run, root: Path) -> None:
    for case in "AB":
        _write_maps(root, case)
    maps = root / "maps"
    code, out, err = run(
        root / "predictions", root / "data", "--uncertainty", maps, "--probabilities", maps, "-o", root / "s"
    )
    assert code == 0
    assert "QU-BraTS score" in out
    assert "expected calibration error inside the brain: WT 0.0" in err
    summary = json.loads((root / "s" / "summary.json").read_text())
    # A is right everywhere: at the first 4 of 41 thresholds all tumour is left out, and the Dice is 1.
    found = summary["cases"]["A"]
    assert found["qu_dice_wt"] == 1
    assert found["qu_filtered_tp_wt"] == pytest.approx((3 + 0.5) / 40, abs=1e-6)
    assert found["qu_filtered_tn_wt"] == 0
    assert found["qu_brats_wt"] == pytest.approx((3 - 3.5 / 40) / 3, abs=1e-6)
    assert summary["cases"]["C"].get("qu_brats_wt") is None
    statistics = {(r["region"], r["metric"]): r for r in summary["statistics"]}
    assert (statistics["wt", "qu_brats"]["n"], statistics["wt", "qu_brats"]["undefined"]) == (2, 1)
    assert summary["calibration"]["wt"]["bins"][0][:2] == [0, pytest.approx(0.02, abs=0.03)]
    assert "Calibration" in (root / "s" / "scores.html").read_text()


def test_a_map_on_another_grid_fails_its_case(root: Path) -> None:
    _write_maps(root, "A")
    path = root / "maps" / "A_unc_core.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((3, 3, 3), np.uint8), np.eye(4)), path)
    failed = evaluate(root / "predictions", root / "data", uncertainty=root / "maps").failed
    assert failed["A"]["code"] == "E-GRID"
    assert "A_unc_core.nii.gz has 3 x 3 x 3 voxels" in failed["A"]["what"]


def test_logits_are_no_probabilities(root: Path) -> None:
    _write_maps(root, "A")
    path = root / "maps" / "A" / "probabilities_wt.nii.gz"
    image = nib.load(path)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj) * 9, image.affine), path)
    evaluation = evaluate(root / "predictions", root / "data", probabilities=root / "maps")
    assert evaluation.failed["A"]["code"] == "E-VALUES"


# --- processes ------------------------------------------------------------------------------------


def _states(group: int) -> list[str]:
    """Return the states of the processes of a group, after a moment to end in."""
    time.sleep(1)
    found = subprocess.run(["ps", "-e", "-o", "pgid=,stat="], capture_output=True, text=True, check=True)
    rows = (line.split() for line in found.stdout.splitlines())
    return [state[0] for number, state in rows if int(number) == group]


@pytest.mark.skipif(shutil.which("ps") is None, reason="needs ps")
def test_ctrl_c_leaves_no_process_and_no_file(root: Path, write_pair: Write) -> None:
    for number in range(60):
        write_pair(root, f"more{number:02}", shift=2)
    command = [sys.executable, "-m", "gliomaseg", "evaluate", str(root / "predictions"), str(root / "data")]
    process = subprocess.Popen(
        [*command, "--jobs", "2", "-o", str(root / "scores")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    assert " %  " in process.stderr.readline()  # the first case is done
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode in (130, -signal.SIGINT)
    assert "Traceback" not in err
    assert not (root / "scores").exists()
    assert not [state for state in _states(process.pid) if state != "Z"]
