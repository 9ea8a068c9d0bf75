"""From a run to a bundle: what is written, that it agrees with PyTorch, and what is refused."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from gliomaseg import __version__
from gliomaseg.errors import ModelError, OutputError, SettingsError, TrainingError
from gliomaseg.inference.bundle import MEMBERS, ONNX, WEIGHTS, Bundle
from gliomaseg.inference.openvino_engine import OpenVinoEngine, core
from gliomaseg.labels import Modality
from gliomaseg.settings.loading import preset_names
from gliomaseg.settings.schema import InferenceSettings, Settings
from gliomaseg.storage import files
from gliomaseg.training import export as exporting
from gliomaseg.training.export import export
from gliomaseg.training.history import Row
from gliomaseg.training.network import build_network, count_parameters
from gliomaseg.training.run import Run, averaged_weights, load_run, load_weights, open_run, weights
from gliomaseg.training.split import Split
from gliomaseg.training.state import begin, update_ema
from gliomaseg.training.target import channel_count, probabilities
from gliomaseg.training.torch_engine import TorchEngine
from gliomaseg.training.trained import load_networks, read_weights

SPLIT = Split(("a", "b"), ("c",))
DICE = {"dice_wt": 0.7, "dice_tc": 0.6, "dice_et": 0.5}


def make_run(folder: Path, settings: Settings, *rows: Row, split: Split = SPLIT) -> Run:
    """Return a run whose average differs from its network, without training it."""
    run = open_run(folder, settings)
    run.keep_split(split)
    state = begin(run, Accelerator())
    shape = settings.network.window or (32,) * settings.network.dimensions
    size = (2, len(settings.network.modalities), *shape)
    images = torch.randn(size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for _ in range(5):  # batch norm learns statistics that are not its first
            state.network.train()(images)
    update_ema(state.average, state.network, 0.1)
    state.history.rows.extend(rows)
    run.save(state)
    return run


@pytest.fixture(scope="module", params=["unet3d", "unet2d"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny) -> Run:
    """Return a run of each preset, with a log."""
    rows = Row(25, 30, 1.0, 1e-3, DICE, False), Row(50, 60, 0.5, 0)
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
        assert {path.name for path in bundle.folder.iterdir()} == {*MEMBERS, WEIGHTS, "bundle.json"}
        assert [path.name for path in bundle.folder.parent.iterdir()] == ["tiny"]

    def test_hashes_are_sealed(self, bundle: Bundle) -> None:
        record = json.loads((bundle.folder / "bundle.json").read_text())
        assert record["files"] == {
            name: files.sha256_of(bundle.folder / name) for name in (*MEMBERS, WEIGHTS)
        }
        assert Bundle.load(bundle.folder) == bundle

    def test_about(self, bundle: Bundle, run: Run) -> None:
        about = copy.deepcopy(dict(bundle.about))
        assert 0 < about.pop("difference_from_pytorch") < 0.02
        assert 0 < about["weights"].pop("difference_from_pytorch") < 0.1
        assert len(about.pop("created")) == len("2026-01-31")
        assert about == {
            "name": "tiny",
            "gliomaseg": __version__,
            "parameters": count_parameters(build_network(run.settings.network)),
            "networks": 1,
            "compared_on": "random numbers",
            "weights": {"stored_as": "int8", "networks": 1},
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
        got = OpenVinoEngine(bundle, InferenceSettings(precision="fp32")).run(image.numpy())
        assert got.shape == expected.shape
        assert np.abs(got - expected).max() < 0.02
        assert expected.std() > 0.02

    def test_channels_are_put_back_into_space_by_one_operation(self, bundle: Bundle) -> None:
        kinds = [op.get_type_name() for op in core().read_model(bundle.network("fp32")).get_ops()]
        is_half_resolution = bundle.settings.network.name == "unet3d"
        assert kinds.count("DepthToSpace") == is_half_resolution
        assert kinds.count("Transpose") == is_half_resolution  # the way in

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


def test_what_cross_validation_found_goes_in(tmp_path: Path, tiny, prepared) -> None:
    split = Split(tuple(case.id for case in prepared), ())
    run = make_run(tmp_path / "run", tiny("training.fold=null"), split=split)
    measured = {
        "segment": {"least_et_voxels": 7},  # as 0.1.0 measured it
        "expected": {"cases": 51, "dice": {"t1c": {"wt": 0.5}}},
        "int8": {"dice_change": {"wt": -0.001, "tc": 0.0, "et": 0.0}, "cases": 51},
    }
    cache = prepared[0].folder.parents[1]
    bundle = export(run, tmp_path / "model", int8=True, cache=cache, measured=measured)
    assert bundle.settings.segment.min_et_ml == 0.007
    assert bundle.settings.segment.thresholds == run.settings.segment.thresholds
    assert bundle.expected_dice([Modality.T1C]) == {"wt": 0.5}
    assert bundle.int8_is_as_good
    with pytest.raises(SettingsError, match="min_et_ml"):
        export(run, tmp_path / "other", measured={"segment": {"least_et_voxels": -1}})
    assert not (tmp_path / "other").exists()


def test_a_network_of_some_regions(tmp_path: Path, tiny) -> None:
    one = ("network.regions=[tc]", "training.region_weights=[1]", "segment.thresholds=[0.5]")
    run = make_run(tmp_path / "run", tiny(*one), Row(25, 1, 1, 0, {"dice_tc": 0.5}, True))
    bundle = export(run, tmp_path / "model")
    assert bundle.about["held_out"]["dice"] == {"tc": 0.5}
    assert "TC 0.500" in (bundle.folder / "card.md").read_text()


TESTED_ELSEWHERE = ("unet2d", "unet3d", "shipped", "swin_unetr")
OTHERS = [preset for preset in preset_names() if preset not in TESTED_ELSEWHERE]


@pytest.mark.slow
@pytest.mark.parametrize("preset", OTHERS)
def test_every_network_is_exported(tmp_path: Path, tiny, preset: str) -> None:
    run = make_run(tmp_path / "run", tiny(preset=preset))
    bundle = export(run, tmp_path / "model")
    assert 0 < bundle.about["difference_from_pytorch"] < 0.02
    exact = InferenceSettings(precision="fp32")
    shape = run.settings.network.window or (48, 32, 64)
    size = (1, len(run.settings.network.modalities), *shape)
    window = np.random.default_rng(0).normal(size=size).astype(np.float32)
    ours, expected = (
        TorchEngine.load(bundle, exact, "cpu").run(window),
        OpenVinoEngine(bundle, exact).run(window),
    )
    assert expected.std() > 0.01
    assert np.abs(ours - expected).max() < 0.1
    assert 0 < bundle.about["weights"]["difference_from_pytorch"] < 0.1


def test_classes_become_regions(tmp_path: Path, tiny) -> None:
    run = make_run(tmp_path / "run", tiny("training.target=classes"))
    bundle = export(run, tmp_path / "model")
    image = torch.randn(1, 4, 32, 48, 32, generator=torch.Generator().manual_seed(3))
    wt, tc, et = OpenVinoEngine(bundle, InferenceSettings(precision="fp32")).run(image.numpy())[0]
    assert (wt >= tc - 1e-3).all()
    assert (tc >= et - 1e-3).all()
    network = build_network(run.settings.network, channel_count(run.settings))
    load_weights(network, averaged_weights(run))
    with torch.no_grad():
        expected = probabilities(network.eval()(image)[0], run.settings)[0]
    assert np.abs(np.stack([wt, tc, et]) - expected.numpy()).max() < 0.02


class TestEnsemble:
    @pytest.fixture
    def two(self, tmp_path: Path, tiny) -> list[Run]:
        """Return two folds of a training, with weights that differ."""
        splits = Split(("a", "b"), ("c",)), Split(("a", "c"), ("b",))
        return [
            make_run(tmp_path / f"fold{n}", tiny(f"training.seed={n}"), Row(9, 60, 1, 0, DICE), split=split)
            for n, split in enumerate(splits)
        ]

    def test_it_puts_out_the_mean(self, two: list[Run], tmp_path: Path) -> None:
        bundles = [
            export(runs, tmp_path / name, name=name)
            for name, runs in (("a", two[0]), ("b", two[1]), ("m", two))
        ]
        image = np.random.default_rng(0).normal(size=(1, 4, 32, 32, 48)).astype(np.float32)
        one, other, mean = (
            OpenVinoEngine(b, InferenceSettings(precision="fp32")).run(image) for b in bundles
        )
        assert np.abs(one - other).max() > 0.05
        assert np.abs((one + other) / 2 - mean).max() < 0.005
        in_torch = TorchEngine.load(bundles[2], InferenceSettings(precision="fp32"), "cpu").run(image)
        assert np.abs(in_torch - mean).max() < 0.02

    def test_networks_of_two_kinds_are_for_the_cpu(self, two: list[Run], tmp_path: Path, tiny) -> None:
        wider = make_run(tmp_path / "wider", tiny("network.filters=[16, 16, 16]"))
        bundle = export([two[0], wider], tmp_path / "model")
        assert bundle.about["weights"] == {"stored_as": "int8", "networks": 1}
        with pytest.raises(ModelError, match="mean of 2 networks"):
            load_networks(bundle)

    def test_it_knows_every_case_that_was_seen(self, two: list[Run], tmp_path: Path) -> None:
        about = export(two, tmp_path / "model").about
        assert about["trained_on"] == ["a", "b", "c"]
        assert about["held_out"] == {"cases": [], "dice": None}
        assert (about["networks"], about["steps"], about["hours"]) == (2, 18, 2.0)

    def test_runs_that_do_not_go_together(self, two: list[Run], tmp_path: Path, tiny) -> None:
        other = make_run(tmp_path / "other", tiny("prepare.clip_percentiles=[1, 99]"))
        with pytest.raises(TrainingError, match=r"E-RUN.*other inputs"):
            export([two[0], other], tmp_path / "model")

    @pytest.mark.parametrize("of", ["run", "bundle"])
    def test_the_mean_of_weights_is_one_network(self, two: list[Run], tmp_path: Path, of: str) -> None:
        source = two[1].folder if of == "run" else export(two[1], tmp_path / "other", name="fold1").folder
        bundle = export(two[0], tmp_path / "model", average_with=[str(source)])
        one, found = averaged_weights(two[0]), read_weights(bundle)[0]
        other = averaged_weights(two[1]) if of == "run" else read_weights(Bundle.load(source))[0]
        floats = [name for name, tensor in one.items() if tensor.is_floating_point()]
        assert all(is_near(found[name], (one[name] + other[name]) / 2) for name in floats)
        assert any(not is_near(found[name], one[name]) for name in floats)
        assert all(torch.equal(found[name], one[name]) for name in one.keys() - set(floats))
        image = np.random.default_rng(0).normal(size=(1, 4, 32, 32, 16)).astype(np.float32)
        (network,) = load_networks(bundle)
        with torch.no_grad():
            expected = probabilities(network(torch.from_numpy(image))[0], two[0].settings).numpy()
        mean = OpenVinoEngine(bundle, InferenceSettings(precision="fp32")).run(image)
        assert np.abs(mean - expected).max() < 0.02
        about = bundle.about
        assert (about["networks"], about["steps"], about["trained_on"]) == (1, 9, ["a", "b", "c"])
        assert (about["averaged_with"], about["held_out"]["cases"]) == (["fold1"], [])
        assert about["parameters"] == count_parameters(network)

    def test_different_networks_have_no_mean_of_weights(self, two: list[Run], tmp_path: Path, tiny) -> None:
        wider = make_run(tmp_path / "wider", tiny("network.filters=[16, 16, 16]"))
        with pytest.raises(TrainingError, match=r"E-RUN.*no mean"):
            export(two[0], tmp_path / "model", average_with=[str(wider.folder)])


def is_near(found: torch.Tensor, expected: torch.Tensor) -> bool:
    """Return whether no number is off by more than half of one of 127 steps."""
    return bool((found - expected).abs().max() <= expected.abs().max() / 250)


class TestWeights:
    def test_they_are_those_of_the_run(self, run: Run, bundle: Bundle) -> None:
        expected, found = averaged_weights(run), read_weights(bundle)[0]
        assert found.keys() == expected.keys()
        assert all(is_near(found[k], expected[k]) for k in found)

    @pytest.mark.parametrize("of", ["run", "bundle"])
    def test_a_training_begins_with_them(
        self, run: Run, bundle: Bundle, tmp_path: Path, tiny, of: str
    ) -> None:
        source = run.folder if of == "run" else bundle.folder
        settings = tiny(f"training.init_from={source}", preset=run.settings.preset)
        fresh = open_run(tmp_path / "fresh", settings)
        fresh.keep_split(Split(("d",), ("e",)))
        state, expected = begin(fresh, Accelerator()), averaged_weights(run)
        for network in (state.network, state.average):
            assert all(is_near(v, expected[k]) for k, v in weights(network).items())
        fresh.save(state)
        assert export(fresh, tmp_path / "model").about["trained_on"] == ["a", "b", "d"]

    @pytest.mark.slow
    def test_networks_of_folds_are_kept_with_the_code_and_taken_again(self, run: Run, tmp_path: Path) -> None:
        script, kept = Path(__file__).parents[2] / "benchmarks" / "model" / "folds.py", tmp_path / "kept"
        for words in (["keep", kept, run.folder], ["take", kept, tmp_path / "runs"]):
            subprocess.run([sys.executable, script, *words], check=True)
        again = load_run(tmp_path / "runs" / run.folder.name)
        expected, found = averaged_weights(run), averaged_weights(again)
        assert all(is_near(found[k], expected[k]) for k in expected)
        assert (again.settings, again.read_split()) == (run.settings, run.read_split())
        state = begin(again, Accelerator())
        assert (state.step, state.seconds) == (50, 3600)

    def test_held_out_cases_that_they_have_seen(self, run: Run, tmp_path: Path, tiny, caplog) -> None:
        caplog.set_level(logging.INFO)
        settings = tiny(f"training.init_from={run.folder}", preset=run.settings.preset)
        fresh = open_run(tmp_path / "fresh", settings)
        fresh.keep_split(Split(("d",), ("a",)))
        begin(fresh, Accelerator())
        assert "was trained on 1 held-out cases" in caplog.text

    def test_weights_of_another_network(self, run: Run, tmp_path: Path, tiny) -> None:
        settings = tiny(f"training.init_from={run.folder}", "network.filters=[16, 16, 16]")
        fresh = open_run(tmp_path / "fresh", settings)
        fresh.keep_split(SPLIT)
        with pytest.raises(TrainingError, match="another network"):
            begin(fresh, Accelerator())


def test_onnx_is_the_same_network(tmp_path: Path, tiny) -> None:
    bundle = export(make_run(tmp_path / "run", tiny()), tmp_path / "model", onnx=True)
    assert 0 <= bundle.about["onnx"]["difference_from_pytorch"] < 1e-3
    assert (bundle.folder / ONNX).stat().st_size > 10_000


def test_the_best_validation_is_exported_when_asked_for(tmp_path: Path, tiny) -> None:
    run = make_run(tmp_path / "run", tiny())
    other = build_network(run.settings.network)
    run.save_best(other)
    bundle = export(run, tmp_path / "model", best=True)
    found = read_weights(bundle)[0]
    assert all(is_near(found[k], v) for k, v in weights(other).items())


def test_a_real_patch_is_compared_where_there_is_one(tmp_path: Path, tiny, prepared) -> None:
    split = Split(tuple(case.id for case in prepared), ())
    run = make_run(tmp_path / "run", tiny(), split=split)
    bundle = export(run, tmp_path / "model", cache=prepared[0].folder.parents[1])
    assert bundle.about["compared_on"] == "a patch of a training case"
    assert 0 < bundle.about["difference_from_pytorch"] < 0.02
