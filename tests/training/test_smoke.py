"""The preset smoke goes the whole path on four patients, and states that its network has learned nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gliomaseg import Segmenter
from gliomaseg.cases.case import Case
from gliomaseg.errors import TrainingError
from gliomaseg.settings.loading import load_settings, preset_names
from gliomaseg.settings.schema import Settings
from gliomaseg.training.export import export
from gliomaseg.training.network import build_network, count_parameters
from gliomaseg.training.run import Run
from gliomaseg.training.train import train

NOTE = "a smoke test: the network has learned nothing"


def quiet(_fraction: float, _text: str) -> None:
    """Say nothing."""


def smoke(*changes: str) -> Settings:
    fast = ("training.workers=0", "training.precision=fp32", "prepare.spacing_mm=3")
    return load_settings("smoke", [*fast, *changes])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, cases: list[Case], cache: Path) -> Run:
    """Return a run that was paused at step 4 and resumed."""
    folder = tmp_path_factory.mktemp("smoke") / "run"
    paused = train(cases, folder, smoke("training.pause_at=4"), cache=cache, progress=quiet)
    assert not paused.read_history().scored
    return train(cases, folder, smoke(), cache=cache, progress=quiet)


def test_it_trains_pauses_resumes_and_validates(finished: Run) -> None:
    (scored,) = finished.read_history().scored
    assert (scored.step, scored.final) == (8, True)
    split = finished.read_split()
    assert (len(split.train), len(split.validation)) == (3, 1)


def test_it_exports_and_segments(finished: Run, cases: list[Case], tmp_path: Path) -> None:
    bundle = export(finished, tmp_path / "model")
    assert bundle.about["difference_from_pytorch"] < 0.02
    result = Segmenter.load(str(tmp_path / "model")).segment(cases[0])
    shape = result.segmentation.labels.shape
    assert shape == (80, 80, 52)
    assert set(np.unique(result.segmentation.labels)) <= {0, 1, 2, 4}


def test_run_plan_and_card_say_so(finished: Run, tmp_path: Path) -> None:
    assert json.loads((finished.folder / "settings.json").read_text())["preset"] == "smoke"
    assert finished.settings.notes == (NOTE,)
    assert NOTE in json.loads((finished.folder / "plan.json").read_text())["advice"]
    assert f"**This is {NOTE}.**" in (export(finished, tmp_path / "model").folder / "card.md").read_text()
    assert not load_settings("unet3d").notes


def test_it_takes_four_of_many_patients(cases: list[Case], tmp_path: Path, cache: Path) -> None:
    names = [case.id for case in cases]
    three = smoke("training.max_patients=3", "training.folds=3")
    split = train(cases[::-1], tmp_path, three, cache=cache, progress=quiet).read_split()
    assert sorted(split.train + split.validation) == names[:3]


def test_too_few_patients(cases: list[Case], tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="3 patients"):
        train(cases[:3], tmp_path, smoke(), progress=quiet)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("preset", preset_names())
def test_every_preset_has_a_tiny_form(preset: str, smallest: Callable[[str], list[str]]) -> None:
    settings = load_settings(preset, smallest(preset))
    if preset != "vnet":  # whose widths are fixed
        assert count_parameters(build_network(settings.network)) < 5_000_000
