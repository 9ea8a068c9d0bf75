"""The plan: what it counts and measures, that it changes nothing, and what it advises and refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from gliomaseg.cases.case import Case
from gliomaseg.errors import OutputError, TrainingError
from gliomaseg.inference import hardware
from gliomaseg.settings.loading import load_settings
from gliomaseg.settings.schema import Settings
from gliomaseg.training import cache as caching
from gliomaseg.training.cache import PreparedCase, count_room, prepare_cases
from gliomaseg.training.dataset import PatchDataset
from gliomaseg.training.network import build_network, count_memory, count_parameters
from gliomaseg.training.plan import Plan, make_plan
from gliomaseg.training.run import Run
from gliomaseg.training.split import check_patch
from gliomaseg.training.state import begin
from gliomaseg.training.train import plan


def quiet(_fraction: float, _text: str) -> None:
    """Say nothing."""


def planned(settings: Settings, prepared: list[PreparedCase], folder: Path) -> Plan:
    state = begin(Run(folder, settings), Accelerator())
    return make_plan(state, PatchDataset(prepared[:3], settings), prepared[3:], folder)


@pytest.mark.parametrize("preset", ["unet3d", "unet2d"])
def test_what_it_holds(tmp_path: Path, tiny, prepared: list[PreparedCase], preset: str) -> None:
    settings = tiny(preset=preset)
    found = planned(settings, prepared, tmp_path)
    assert (found.training_cases, found.held_out_cases, found.steps) == (3, 1, 6)
    assert found.parameters == count_parameters(build_network(settings.network))
    assert found.step_seconds is not None
    assert found.step_seconds > 0
    assert found.hours is not None
    assert found.hours * 3600 > 6 * found.step_seconds  # reading and a validation come on top
    stored = json.loads((tmp_path / "plan.json").read_text())
    assert stored == json.loads(json.dumps(found.as_dict()))
    assert stored["data"]["cases"] == 4
    assert all(what in found.text() for what in ("cases", "brain's box", "memory", "time: about"))


def test_a_time_budget_tells_how_many_steps(tmp_path: Path, tiny, prepared: list[PreparedCase]) -> None:
    found = planned(tiny("training.hours=1"), prepared, tmp_path)
    assert found.step_seconds is not None
    assert found.steps * (found.step_seconds + found.read_seconds) == pytest.approx(3600, rel=0.01)


def test_it_changes_nothing(tmp_path: Path, tiny, prepared: list[PreparedCase]) -> None:
    settings = tiny("network.name=unet3d")
    state = begin(Run(tmp_path, settings), Accelerator())
    before = {name: value.clone() for name, value in state.network.state_dict().items()}
    make_plan(state, PatchDataset(prepared, settings), [])
    assert all(torch.equal(value, before[name]) for name, value in state.network.state_dict().items())
    assert all(parameter.grad is None for parameter in state.network.parameters())
    assert state.step == 0


def test_plan_only_trains_nothing(tmp_path: Path, tiny, cases: list[Case], cache: Path) -> None:
    plan(cases, tmp_path, tiny(), cache=cache, progress=quiet)
    assert {path.name for path in tmp_path.iterdir()} == {"plan.json", "settings.json", "split.json"}


class TestMemory:
    def test_by_pencil(self) -> None:
        """A convolution and a ReLU keep the image and what lies between; the ReLU its result."""
        network = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.ReLU())
        settings = load_settings("unet2d", ["training.patch=[16, 16]"])
        image, feature = 4 * 16 * 16 * 4, 8 * 16 * 16 * 4
        weights = (8 * 4 * 9 + 8) * 20
        assert count_memory(network, settings, 1) == image + feature + weights

    def test_twice_the_patches(self, tiny) -> None:
        settings = tiny()
        network = build_network(settings.network)
        one, two, three = (count_memory(network, settings, batch) for batch in (1, 2, 3))
        assert two - one == three - two > 0

    def test_too_little(
        self, tmp_path: Path, tiny, prepared: list[PreparedCase], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(hardware, "free_memory", lambda: 1000)
        found = planned(tiny(), prepared, tmp_path)
        assert found.step_seconds is None
        assert found.hours is None
        assert any(line.startswith("memory: ") for line in found.advice)


class TestAdvice:
    @pytest.fixture
    def sound(self, tmp_path: Path, tiny, prepared: list[PreparedCase]) -> Plan:
        settings = tiny("training.workers=1")
        return replace(planned(settings, prepared, tmp_path), step_seconds=1.0, read_seconds=0.5)

    def test_none(self, sound: Plan) -> None:
        assert sound.advice == []

    def test_slow_reading(self, sound: Plan) -> None:
        (line,) = replace(sound, read_seconds=2.6, cores=8).advice
        assert "training.workers=4" in line

    def test_a_patch_larger_than_a_brain(self, sound: Plan) -> None:
        (line,) = replace(sound, patch=(64, 32, 32)).advice
        assert line.startswith("patch: 64 voxels")

    def test_no_enhancing_tumour(self, sound: Plan) -> None:
        (line,) = replace(sound, data=replace(sound.data, without={"et": 2})).advice
        assert line.startswith("labels: 2 cases")


def test_a_patch_larger_than_an_image(tmp_path: Path, tiny, cases: list[Case], cache: Path) -> None:
    settings = tiny("training.patch=[64, 64, 64]")  # the phantoms have 80 x 80 x 52
    with pytest.raises(TrainingError, match=r"larger than the image of phantom-0, which has \[80, 80, 52\]"):
        plan(cases, tmp_path, settings, cache=cache, progress=quiet)
    assert not (tmp_path / "plan.json").exists()


def test_slices_need_no_height(tiny, cases: list[Case]) -> None:
    check_patch(cases, tiny("training.patch=[64, 64]", preset="unet2d"))


class TestRoomForTheCache:
    def test_is_near_what_is_written(self, tmp_path: Path, tiny, cases: list[Case], cache: Path) -> None:
        wanted = count_room(cases, tiny(), tmp_path)
        written = sum(path.stat().st_size for path in cache.rglob("*.npy"))
        assert written < wanted < 2 * written
        assert count_room(cases, tiny(), cache) == 0

    def test_none_is_told_before_the_work(
        self, tmp_path: Path, tiny, cases: list[Case], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(caching, "_BOX_SHARE", 1e9)
        with pytest.raises(OutputError) as error:
            prepare_cases(cases, tiny(), tmp_path, quiet)
        assert error.value.code == "E-DISK"
        assert not list(tmp_path.rglob("*.npy"))
