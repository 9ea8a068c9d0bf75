"""The smoke test: it goes the whole path for every preset's settings, and is never taken for a training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gliomaseg.cases.find import find_cases
from gliomaseg.errors import TrainingError
from gliomaseg.settings.loading import preset_names
from gliomaseg.smoke import _tiny, smoke_test


def quiet(_fraction: float, _text: str) -> None:
    """Say nothing."""


def test_the_whole_path(phantom_folder: Path, tmp_path: Path) -> None:
    cases = find_cases(phantom_folder)
    (tmp_path / "smoke-test" / "of-before").mkdir(parents=True)
    changes = ["training.workers=0", "training.precision=fp32", "prepare.spacing_mm=3"]
    proof = smoke_test(cases, tmp_path, changes, preset="unet3d", progress=quiet)
    assert [step.name for step in proof.steps] == [
        "prepare, plan, train, validate", "resume", "export", "segment"
    ]  # fmt: skip
    assert proof.steps[0].found.startswith("4 steps")
    assert proof.steps[1].found.startswith("8 steps")
    folder = tmp_path / "smoke-test"
    assert not (folder / "of-before").exists()
    assert proof.folder == folder
    assert proof.steps[3].found.startswith("phantom-0: ")
    assert json.loads((folder / "settings.json").read_text())["preset"] == "smoke test of unet3d"
    assert json.loads((folder / "model" / "bundle.json").read_text())["about"]["name"] == "smoke test"
    assert {path.name for path in tmp_path.iterdir()} == {"smoke-test", "cache"}  # no run of its own


@pytest.mark.parametrize("preset", preset_names())
def test_every_preset_has_a_tiny_form(preset: str) -> None:
    from gliomaseg.training.network import build_network, count_parameters

    settings = _tiny(preset, ["training.hours=5", "training.fold=null"])
    assert (settings.training.steps, settings.training.hours, settings.training.fold) == (8, None, 0)
    if preset != "vnet":  # whose widths are fixed
        assert count_parameters(build_network(settings.network)) < 5_000_000


def test_too_few_patients(phantom_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="3 patients"):
        smoke_test(find_cases(phantom_folder)[:3], tmp_path, preset="unet3d", progress=quiet)
    assert not list(tmp_path.iterdir())
