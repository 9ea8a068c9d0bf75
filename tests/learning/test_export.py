"""From a run to a bundle: what is written, that it agrees with PyTorch, and what is refused."""

from __future__ import annotations

import json
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import torch

from gliomaseg import __version__, files
from gliomaseg.config import InferenceSettings, Settings
from gliomaseg.errors import ModelError, OutputError
from gliomaseg.inference.bundle import MEMBERS, Bundle
from gliomaseg.inference.engine import Engine
from gliomaseg.learning import export as exporting
from gliomaseg.learning import training
from gliomaseg.learning.export import export
from gliomaseg.learning.network import build_network, count_parameters
from gliomaseg.learning.run import Row, Run, averaged_weights, load_weights, open_run
from gliomaseg.learning.split import Split

SPLIT = Split(("a", "b"), ("c",))


def make_run(folder: Path, settings: Settings, *rows: Row, split: Split = SPLIT) -> Run:
    """Return a run whose average differs from its network, without training it."""
    run = open_run(folder, settings)
    run.keep_split(split)
    state = training._begin(run)
    images = torch.randn(
        2, 4, *(32,) * settings.network.dimensions, generator=torch.Generator().manual_seed(1)
    )
    with torch.no_grad():
        for _ in range(20):  # batch norm learns statistics that are not its first
            state.network.train()(images)
    training._follow(state.average, state.network, 0.1)
    state.history.rows.extend(rows)
    run.save(state)
    return run


@pytest.fixture(scope="module", params=["unet3d", "unet2d"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny) -> Run:
    """Return a run of each preset, with a log."""
    rows = Row(25, 30, 1.0, 1e-3, 0.7, 0.6, 0.5, 0), Row(50, 60, 0.5, 0)
    return make_run(tmp_path_factory.mktemp("run"), tiny(preset=request.param), *rows)


@pytest.fixture(scope="module")
def bundle(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return the bundle of the run."""
    return export(run, tmp_path_factory.mktemp("models") / "tiny", name="tiny")


def unpickles(stream: BinaryIO) -> bool:
    try:
        pickle.load(stream)  # noqa: S301
    except Exception:  # noqa: BLE001 (whatever is wrong with it, it is no pickle)
        return False
    return True


class TestWhatItWrites:
    def test_members(self, bundle: Bundle) -> None:
        assert {path.name for path in bundle.folder.iterdir()} == {*MEMBERS, "bundle.json"}
        assert [path.name for path in bundle.folder.parent.iterdir()] == ["tiny"]

    def test_hashes_are_sealed(self, bundle: Bundle) -> None:
        record = json.loads((bundle.folder / "bundle.json").read_text())
        assert record["files"] == {name: files.sha256_of(bundle.folder / name) for name in MEMBERS}
        assert Bundle.load(bundle.folder) == bundle

    def test_about(self, bundle: Bundle, run: Run) -> None:
        about = dict(bundle.about)
        assert 0 < about.pop("difference_from_pytorch") < 0.02
        assert len(about.pop("created")) == len("2026-01-31")
        assert about == {
            "name": "tiny",
            "gliomaseg": __version__,
            "parameters": count_parameters(build_network(run.settings.network)),
            "trained_on": ["a", "b"],
            "steps": 50,
            "hours": 1.0,
            "held_out": {"cases": ["c"], "dice": {"wt": 0.7, "tc": 0.6, "et": 0.5}},
        }

    def test_settings(self, bundle: Bundle, run: Run) -> None:
        assert bundle.settings == run.settings

    def test_card(self, bundle: Bundle) -> None:
        card = (bundle.folder / "card.md").read_text()
        assert card.startswith("# tiny\n")
        assert "Research use only" in card
        assert "WT 0.700, TC 0.600, ET 0.500" in card

    def test_nothing_in_it_is_a_pickle(self, bundle: Bundle) -> None:
        for path in bundle.folder.iterdir():
            assert not zipfile.is_zipfile(path), path.name
            with path.open("rb") as stream:
                assert not unpickles(stream), path.name


class TestAgreement:
    def test_at_another_shape(self, bundle: Bundle, run: Run) -> None:
        network = build_network(run.settings.network)
        load_weights(network, averaged_weights(run))
        space = (48, 32, 64)[: run.settings.network.dimensions]
        image = torch.randn(1, 4, *space, generator=torch.Generator().manual_seed(5))
        with torch.no_grad():
            expected = network.eval()(image)[0].sigmoid().numpy()
        got = Engine(bundle, InferenceSettings(precision="fp32")).run(image.numpy())
        assert got.shape == expected.shape
        assert np.abs(got - expected).max() < 0.02
        assert expected.std() > 0.02

    def test_a_network_that_differs_is_not_exported(self, run: Run, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setattr(exporting, "_TOLERANCE", 1e-9)
        with pytest.raises(ModelError, match=r"E-MODEL.*differs from PyTorch"):
            export(run, tmp_path / "model")
        assert list(tmp_path.iterdir()) == []


class TestRefusals:
    def test_a_folder_that_is_not_empty(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "mine.txt").write_text("keep")
        with pytest.raises(OutputError, match="E-EXISTS"):
            export(run, tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]

    def test_a_file_in_its_place(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "model").write_text("keep")
        with pytest.raises(OutputError, match="E-EXISTS"):
            export(run, tmp_path / "model")


@pytest.mark.parametrize("run", ["unet3d"], indirect=True)
def test_an_empty_folder_is_taken(run: Run, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    bundle = export(run, tmp_path / "model", card="My words.")
    assert bundle.name == run.folder.name
    assert (bundle.folder / "card.md").read_text() == "My words."


def test_what_was_not_measured_is_said_so(tmp_path: Path, tiny) -> None:
    run = make_run(tmp_path / "run", tiny("training.fold=null"), split=replace(SPLIT, validation=()))
    bundle = export(run, tmp_path / "model")
    assert bundle.about["held_out"] == {"cases": [], "dice": None}
    assert bundle.about["steps"] == 0
    assert "not measured" in (bundle.folder / "card.md").read_text()


def test_a_network_of_some_regions(tmp_path: Path, tiny) -> None:
    one = ("network.regions=[tc]", "training.region_weights=[1]", "segment.thresholds=[0.5]")
    run = make_run(tmp_path / "run", tiny(*one), Row(25, 1, 1, 0, dice_tc=0.5, final=1))
    bundle = export(run, tmp_path / "model")
    assert bundle.about["held_out"]["dice"] == {"tc": 0.5}
    assert "TC 0.500" in (bundle.folder / "card.md").read_text()
