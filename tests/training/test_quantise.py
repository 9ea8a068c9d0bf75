"""int8: calibrated on training cases alone, measured on held-out ones, close to fp32."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from accelerate import Accelerator

from gliomaseg.errors import SettingsError, TrainingError
from gliomaseg.inference.bundle import INT8, Bundle
from gliomaseg.inference.openvino_engine import OpenVinoEngine
from gliomaseg.settings.schema import InferenceSettings
from gliomaseg.training import quantise
from gliomaseg.training.cache import PreparedCase
from gliomaseg.training.export import export
from gliomaseg.training.run import Run, open_run
from gliomaseg.training.split import Split
from gliomaseg.training.state import begin


def make_run(folder: Path, tiny, split: Split, preset: str = "unet3d") -> Run:
    run = open_run(folder, tiny(preset=preset))
    run.keep_split(split)
    run.save(begin(run, Accelerator()))
    return run


@pytest.mark.parametrize("preset", ["unet3d", "unet2d"])
def test_both_networks_in_one_bundle(prepared: list[PreparedCase], tmp_path: Path, tiny, preset: str) -> None:
    ids = [case.id for case in prepared]
    run = make_run(tmp_path / "run", tiny, Split(tuple(ids[:2]), tuple(ids[2:])), preset)
    bundle = export(run, tmp_path / "model", int8=True, cache=prepared[0].folder.parents[1])
    assert bundle == Bundle.load(bundle.folder)
    assert {*INT8} < {path.name for path in bundle.folder.iterdir()}
    about = bundle.about["int8"]
    assert (about["calibrated_on"], about["cases"]) == (2, 2)
    assert set(about["dice_change"]) == {"wt", "tc", "et"}
    window = quantise._input(prepared[3], run.settings)
    exact, short = (
        OpenVinoEngine(bundle, InferenceSettings(precision=precision)).run(window)  # type: ignore[arg-type]
        for precision in ("fp32", "int8")
    )
    assert 0 < np.abs(exact - short).max() < 0.2
    assert np.abs(exact - short).mean() < 0.02


def test_only_training_cases_calibrate(
    prepared: list[PreparedCase], tmp_path: Path, tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [case.id for case in prepared]
    seen: list[str] = []
    monkeypatch.setattr(quantise, "_quantise", lambda _, cases: seen.extend(c.id for c in cases))
    monkeypatch.setattr(quantise, "_dice", lambda *_: {})
    bundle = Bundle(tmp_path, tiny(), "", {"name": "x", "int8": {}})
    about = quantise.add_int8(bundle, Split(tuple(ids[1:]), ()), prepared[0].folder.parents[1])
    assert seen == ids[1:]
    assert about == {"calibrated_on": 3, "cases": 0, "dice_change": None}


def test_a_case_that_is_not_prepared(tmp_path: Path, tiny) -> None:
    run = make_run(tmp_path / "run", tiny, Split(("a",), ("b",)))
    with pytest.raises(TrainingError, match=r"E-RUN.*prepared case a is not in"):
        export(run, tmp_path / "model", int8=True, cache=tmp_path / "cache")
    assert not (tmp_path / "model").exists()


def test_without_nncf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(SettingsError, match=r"E-EXTRA.*nncf"):
        quantise._quantise(None, [])
