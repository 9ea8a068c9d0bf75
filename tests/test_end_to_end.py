"""The whole product in processes of its own: cold start, isolation, train to evaluate, real cases."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from gliomaseg import Segmenter, find_cases
from gliomaseg.cases.case import Case
from gliomaseg.evaluation.scores import Column
from gliomaseg.evaluation.segmentation_pair import score_case
from gliomaseg.imaging.nifti import read_labels
from gliomaseg.inference.bundle import Bundle
from gliomaseg.labels import BRATS2021

pytestmark = pytest.mark.slow

#: Segments in a process that may open no socket, load no torch, and write nowhere else.
_WATCHED = """
import sys, os
output = os.path.realpath(sys.argv[sys.argv.index("-o") + 1])

def watch(event, args):
    if event.startswith("socket."):
        raise SystemExit(f"opened a socket: {event} {args}")
    if event == "open" and isinstance(args[0], str) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        if not os.path.realpath(args[0]).startswith(output) and args[0] != os.devnull:
            raise SystemExit(f"wrote {args[0]}")

sys.addaudithook(watch)
sys.dont_write_bytecode = True
from gliomaseg.cli.app import main
try:
    main()
finally:
    loaded = {"torch", "monai", "scipy.ndimage", "matplotlib"} & set(sys.modules)
    if loaded:
        raise SystemExit(f"loaded {loaded}")
"""


def _folder(case: Case) -> Path:
    return next(iter(case.images.values())).parent


def test_segmenting_is_alone_with_its_files(phantom_case: Case, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    command = [
        sys.executable,
        "-c",
        _WATCHED,
        "segment",
        str(_folder(phantom_case)),
        "-o",
        str(tmp_path / "out"),
    ]
    environment = {**os.environ, "HOME": str(home), "TMPDIR": str(home)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=home)
    assert done.returncode == 0, done.stderr
    assert not list(home.iterdir())
    assert (tmp_path / "out" / phantom_case.id / "run.json").exists()


def test_help_and_import_are_light() -> None:
    code = (
        "import sys, gliomaseg; assert not {'numpy', 'openvino', 'torch', 'pydantic'} & set(sys.modules);"
        "import gliomaseg.cli; assert not {'numpy', 'openvino', 'torch', 'nibabel'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_same_command_gives_the_same_bytes(phantom_case: Case, tmp_path: Path) -> None:
    for name in ("one", "two"):
        Segmenter.load().segment(phantom_case).save(tmp_path / name)
    for file in ("seg.nii.gz", "overview.png", "measurements.json"):
        first, second = (tmp_path / name / phantom_case.id / file for name in ("one", "two"))
        assert first.read_bytes() == second.read_bytes()


def test_train_export_segment_evaluate(phantom_folder: Path, tmp_path: Path) -> None:
    """The main commands in a row, on a network small enough to train in seconds."""
    small = {
        "network.filters": [8, 8, 16],
        "training.patch": [32, 32, 32],
        "training.steps": 6,
        "training.folds": 2,
        "training.workers": 0,
        "prepare.multiple": 8,
        "prepare.spacing_mm": 3,
    }
    changes = [a for name, value in small.items() for a in ("--set", f"{name}={json.dumps(value)}")]
    steps = (
        ["train", phantom_folder, "-o", tmp_path / "run", "--fold", "0", *changes],
        [
            "train",
            phantom_folder,
            "-o",
            tmp_path / "on",
            "--init-from",
            tmp_path / "run",
            "--fold",
            "0",
            *changes,
        ],
        ["export", tmp_path / "on", "--average-with", tmp_path / "run", "-o", tmp_path / "model"],
        ["segment", phantom_folder, "--model", tmp_path / "model", "--held-out", "-o", tmp_path / "out"],
        ["evaluate", tmp_path / "out", phantom_folder, "--predicted-only", "-o", tmp_path / "scores"],
    )
    for step in steps:
        command = [sys.executable, "-m", "gliomaseg", *map(str, step)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{step[0]}: {done.stderr}"
    about = Bundle.load(tmp_path / "model").about
    assert (about["networks"], about["steps"]) == (1, 6)
    split = json.loads((tmp_path / "run" / "split.json").read_text())
    scores = json.loads((tmp_path / "scores" / "summary.json").read_text())
    assert sorted(scores["cases"]) == sorted(split["validation"])
    assert scores["seen_in_training"] == []


@pytest.mark.real
def test_a_real_case_lies_on_its_input(real_cases: list[Case], tmp_path: Path) -> None:
    case = next(c for c in real_cases if c.id == "Brats18_CBICA_AQO_1")  # held out
    folder = Segmenter.load().segment(case).save(tmp_path)
    source = case.images["t1n"]  # type: ignore[index]
    got, given = nib.load(folder / "seg.nii.gz"), nib.load(source)
    assert got.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(got.affine, given.affine)
    for field in ("qform_code", "sform_code", "pixdim", "srow_x", "quatern_b", "qoffset_x"):
        np.testing.assert_array_equal(got.header[field], given.header[field])
    one, two = SimpleITK.ReadImage(str(folder / "seg.nii.gz")), SimpleITK.ReadImage(str(source))
    for read in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(one, read)() == getattr(two, read)()
    prediction = read_labels(folder / "seg.nii.gz", BRATS2021)
    reference = read_labels(Path(str(case.reference)), BRATS2021)
    assert score_case(prediction, reference)[Column("wt", "dice", "")] > 0.8


@pytest.mark.real
def test_every_real_case_is_found(real_cases: list[Case]) -> None:
    assert len(real_cases) == 54
    assert all(len(case.images) == 4 and case.reference for case in real_cases)
    assert len({case.patient for case in real_cases}) == 54


@pytest.mark.parametrize(("quality", "looks"), [("fast", 1), ("standard", 2), ("best", 9)])
def test_a_better_quality_looks_again_around_the_tumour(
    phantom_case: Case, monkeypatch: pytest.MonkeyPatch, quality: str, looks: int
) -> None:
    segmenter = Segmenter.load(quality=quality)
    run, shapes = segmenter.engine.run, []
    monkeypatch.setattr(segmenter.engine, "run", lambda w: (shapes.append(w.shape[2:]), run(w))[1])
    result = segmenter.segment(find_cases(_folder(phantom_case))[0])
    assert len(shapes) == looks
    assert all(part <= whole for shape in shapes for part, whole in zip(shape, shapes[0], strict=True))
    assert result.volumes_ml()["wt"] > 1


def test_python_path(phantom_case: Case, tmp_path: Path) -> None:
    case = find_cases(_folder(phantom_case))[0]
    result = Segmenter.load().segment(case)
    folder = result.save(tmp_path)
    volumes = result.volumes_ml()
    assert set(volumes) == {"ncr", "ed", "et", "wt", "tc"}
    assert volumes["wt"] == pytest.approx(volumes["ncr"] + volumes["ed"] + volumes["et"])
    np.testing.assert_array_equal(
        np.asarray(nib.load(folder / "seg.nii.gz").dataobj), result.segmentation.labels
    )
