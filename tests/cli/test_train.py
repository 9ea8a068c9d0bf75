"""The verb train as a user meets it, in this process: what it prints, writes and refuses before training."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]

SMALL = (
    "--set", "network.filters=[8,8,8]", "--set", "training.patch=[32,32,32]", "--set", "training.workers=0",
    "--set", "training.precision=fp32", "--set", "training.steps=2", "--set", "training.folds=2",
    "--set", "prepare.spacing_mm=3",
)  # fmt: skip


@pytest.fixture
def train(run: Run, phantom_folder: Path) -> Run:
    """Return a function of the words after ``gliomaseg train PHANTOMS``."""
    return partial(run, "train", phantom_folder)


def test_a_plan_only(train: Run, tmp_path: Path) -> None:
    code, out, _ = train("-o", tmp_path, "--modalities", "t1c, t2f", "--plan-only", "--json", *SMALL)
    assert code == 0
    assert json.loads(out) == json.loads((tmp_path / "plan.json").read_text())
    assert json.loads(out)["data"]["sequences"] == ["t1c", "t2f"]
    assert not (tmp_path / "checkpoint.safetensors").exists()


def test_a_picture_of_augmentation(train: Run, tmp_path: Path) -> None:
    picture = tmp_path / "patches.png"
    code, _, err = train("-o", tmp_path / "run", "--show-augmentation", picture, *SMALL)
    assert code == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert f"picture: {picture}" in err
    assert not (tmp_path / "run" / "checkpoint.safetensors").exists()
    assert train("-o", tmp_path / "run", "--show-augmentation", picture, *SMALL)[0] == 0, "drawn again"
    picture.write_bytes(b"my figure")
    code, _, err = train("-o", tmp_path / "run", "--show-augmentation", picture, *SMALL)
    assert code == 1
    assert "E-EXISTS" in err
    assert "choose another name with --show-augmentation" in err
    assert picture.read_bytes() == b"my figure"


def test_a_run_is_never_begun_among_its_images(run: Run, phantom_folder: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(phantom_folder, tmp_path / "data"))
    case = next(data.rglob("*_t1ce.nii.gz")).parent
    before = sorted(data.rglob("*"))
    for more in ([], ["--plan-only"]):
        code, _, err = run("train", data, "-o", case, *SMALL, *more)
        assert code == 1
        assert "E-OUTPUT" in err
    assert sorted(data.rglob("*")) == before


def test_a_training_as_json(train: Run, tmp_path: Path) -> None:
    code, out, err = train("-o", tmp_path, "--json", *SMALL)
    assert code == 0
    assert json.loads(out)["last"]["step"] == "2"
    assert "plan:" in err
    assert (tmp_path / "curves.png").is_file()


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["--preset", "unet3"], "E-PRESET", "did you mean --preset unet3d"),
        (["--modalities", "t1c,flare"], "E-SETTING", "network.modalities"),
        (["--track", "wandb"], "E-SETTING", "training.track"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_refused(train: Run, tmp_path: Path, args: list[str], code: str, words: str) -> None:
    status, _, err = train("-o", tmp_path / "run", "--set", "training.precision=fp32", *args)
    assert status == (2 if code == "E-PRESET" else 1)
    assert f"{code}: " in err
    assert words in err


def without_reference(data: Path) -> None:
    for file in data.rglob("phantom-[12]*seg*"):
        file.unlink()


def twice(data: Path) -> None:
    shutil.copytree(data / "phantom-0", data / "again" / "phantom-0")


@pytest.mark.parametrize(
    ("spoil", "args", "code", "words"),
    [
        (without_reference, [], "E-NOREF", "case phantom-1 has no reference label map, nor have 1 others"),
        (twice, [], "E-DUPID", "phantom-0"),
        (None, ["--scheme", "brats2023"], "E-LABELS", "--scheme brats2021"),
        (None, ["--set", "training.folds=5"], "E-FEWCASES", "with 4 patients"),
        (None, ["--fold", "7"], "E-FEWCASES", "fold 7 of 2"),
        (None, ["--set", "training.fractions=[0.8,0.1,0.1]"], "E-FEWCASES", "leave a part empty"),
        (None, ["--set", "training.patch=[64,64,64]"], "E-SETTING", "larger than the image of phantom-0"),
    ],
)
def test_data_are_refused_before_the_work(
    run: Run, phantom_folder: Path, tmp_path: Path, spoil: Callable[[Path], None] | None, args: list[str],
    code: str, words: str,
) -> None:  # fmt: skip
    data = shutil.copytree(phantom_folder, tmp_path / "data")
    if spoil:
        spoil(data)
    status, _, err = run("train", data, "-o", tmp_path / "run", *SMALL, *args)
    assert status == (2 if code == "E-PRESET" else 1)
    assert f"{code}: " in err
    assert words in err
    assert not list(tmp_path.rglob("*.npy"))


def test_a_run_of_other_settings_is_left_alone(train: Run, tmp_path: Path) -> None:
    assert train("-o", tmp_path, *SMALL)[0] == 0
    before = (tmp_path / "checkpoint.safetensors").read_bytes()
    status, _, err = train("-o", tmp_path, *SMALL, "--set", "training.loss=dice")
    assert status == 1
    assert "E-RUN: " in err
    assert "training.loss was dice_ce, is dice" in err
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == before


def test_help_names_the_presets(train: Run) -> None:
    code, out, _ = train("--help")
    assert code == 0
    assert all(name in out for name in ("mednext", "smoke", "--plan-only", "--init-from"))
