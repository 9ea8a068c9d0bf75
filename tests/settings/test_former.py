"""Former names: read wherever settings are read, in present units, and logged with --set."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from gliomaseg.errors import SettingsError
from gliomaseg.settings.former import FORMER
from gliomaseg.settings.loading import load_settings, parse_settings
from gliomaseg.settings.schema import Settings

#: Former name, its value, present name, its value.
RENAMED = [
    ("prepare.even_out", 0.5, "prepare.bias_correction", 0.5),
    ("network.auxiliary", 0.25, "network.deep_supervision", 0.25),
    ("augment.pale", 0.15, "augment.lesion_contrast", 0.15),
    ("augment.cut", 0.1, "augment.truncate_fov", 0.1),
    ("training.faint_times", 3, "training.oversample_small_et", 3),
    ("training.muon_times", 5.0, "training.muon_learning_rate_factor", 5.0),
    ("segment.least_et_voxels", 500, "segment.min_et_ml", 0.5),
    ("segment.least_part", 0.02, "segment.min_component_fraction", 0.02),
]


def value_at(settings: Settings, path: str) -> object:
    section, _, name = path.partition(".")
    return getattr(getattr(settings, section), name)


def test_all_of_them_are_tested() -> None:
    assert [before for before, *_ in RENAMED] == list(FORMER)


@pytest.mark.parametrize(("before", "given", "now", "expected"), RENAMED)
def test_a_saved_tree(before: str, given: float, now: str, expected: float) -> None:
    section, _, name = before.partition(".")
    settings = parse_settings({section: {name: given}})
    assert value_at(settings, now) == expected
    assert parse_settings(settings.model_dump(mode="json")) == settings


@pytest.mark.parametrize(("before", "given", "now", "expected"), RENAMED)
def test_a_change(
    before: str, given: float, now: str, expected: float, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert value_at(load_settings("shipped", [f"{before}={given}"]), now) == expected
    (line,) = caplog.messages
    assert line.startswith(f"{before} is now {now}")
    assert ("0.5 for 500" in line) is (given != expected)


def test_present_names_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    load_settings("unet3d", ["prepare.bias_correction=0.5"])
    assert not caplog.messages


@pytest.mark.parametrize("change", ["augment.pale=2", "segment.least_et_voxels=-1", "training.muon_times=no"])
def test_an_impossible_value_is_refused_by_its_present_name(change: str) -> None:
    with pytest.raises(SettingsError, match=FORMER[change.partition("=")[0]][0]):
        load_settings("unet3d", [change])


def test_the_dimensions_of_a_unet2d_of_0_1_0(tmp_path: Path) -> None:
    tree = load_settings("unet2d").model_dump(mode="json")
    del tree["network"]["dimensions"]
    assert parse_settings(tree).network.dimensions == 2
