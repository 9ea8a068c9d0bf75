"""Settings: presets, changes, and impossible or misspelled ones refused in words."""

from __future__ import annotations

import json
from importlib import resources

import pytest
import yaml

from gliomaseg.errors import SettingsError
from gliomaseg.labels import Modality, Region
from gliomaseg.settings.loading import load_settings, parse_settings, preset_names
from gliomaseg.settings.schema import Settings


def test_the_shipped_presets() -> None:
    assert {"unet2d", "unet3d"} < set(preset_names())
    for name in preset_names():
        settings = load_settings(name)
        assert settings.preset == name
        assert settings.network.name == ("unet3d" if name in {"shipped", "smoke", "brain"} else name)
        assert len(settings.training.patch) == settings.network.dimensions
        wanted = ((Modality.T1N,), (Region.WT,)) if name == "brain" else (tuple(Modality), tuple(Region))
        assert (settings.network.modalities, settings.network.regions) == wanted


def test_the_shipped_recipe_is_that_of_the_shipped_model() -> None:
    """What its last training had, but for its length, its seed and what it began with."""
    stored = json.loads((resources.files("gliomaseg") / "assets/model/settings.json").read_text())
    model = parse_settings(stored).model_dump(mode="json")  # with defaults for what is newer
    recipe = load_settings("shipped").model_dump(mode="json")
    assert all(recipe[section] == model[section] for section in ("prepare", "network", "augment"))
    of_a_run = ("hours", "fold", "validate_minutes", "init_from", "seed")
    assert recipe["training"] == model["training"] | {n: recipe["training"][n] for n in of_a_run}


@pytest.mark.parametrize("name", ["unet2d", "unet3d"])
def test_settings_survive_being_saved(name: str) -> None:
    settings = load_settings(name, ["training.batch=3"])
    assert parse_settings(settings.model_dump(mode="json")) == settings
    assert parse_settings(yaml.safe_load(yaml.safe_dump(settings.model_dump(mode="json")))) == settings


def test_shares_of_other_sequences() -> None:
    with pytest.raises(SettingsError, match=r"E-SETTING: augment\.drop_shares has 4 values, network needs 2"):
        load_settings("shipped", [two := "network.modalities=[t1c, t2f]"])
    assert load_settings("shipped", [two, "augment.drop_shares=null"]).augment.drop_shares is None


def test_defaults_below_preset_below_changes() -> None:
    assert load_settings("unet3d").training.batch == Settings().training.batch == 2
    assert load_settings("unet2d").training.batch == 16
    assert load_settings("unet2d", ["training.batch=5"]).training.batch == 5
    assert load_settings("unet2d", ["training.batch=5", "training.batch=6"]).training.batch == 6


@pytest.mark.parametrize(
    ("change", "section", "name", "value"),
    [
        ("training.patch=[64, 64, 32]", "training", "patch", (64, 64, 32)),
        ("training.fold=null", "training", "fold", None),
        ("training.hours=1.5", "training", "hours", 1.5),
        ("training.learning_rate=1e-3", "training", "learning_rate", 1e-3),
        (" network.deep_supervision = 0", "network", "deep_supervision", 0.0),
        ("network.modalities=[t1c, t2f]", "network", "modalities", (Modality.T1C, Modality.T2F)),
        ("training.precision=bf16", "training", "precision", "bf16"),
    ],
)
def test_a_change_is_read_as_yaml(change: str, section: str, name: str, value: object) -> None:
    assert getattr(getattr(load_settings(changes=[change]), section), name) == value


def test_loading_twice_shares_nothing() -> None:
    load_settings("unet2d", ["training.batch=5"])
    assert load_settings("unet2d").training.batch == 16


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("training.batch=0", "training.batch"),
        ("training.batch=many", "training.batch"),
        ("training.batch=1.5", "training.batch"),
        ("training.batch=", "training.batch"),
        ("training.patch=[96, 96, -1]", "training.patch.2"),
        ("training.hours=0", "training.hours"),
        ("training.hours=-1", "training.hours"),
        ("training.learning_rate=0", "training.learning_rate"),
        ("training.learning_rate=.nan", "training.learning_rate"),
        ("augment.noise=.inf", "augment.noise"),
        ("augment.flip=1.5", "augment.flip"),
        ("training.loss=mse", "training.loss"),
        ("network.name=resnet", "network.name"),
        ("network.modalities=[t1c, ct]", "network.modalities.1"),
        ("prepare.clip_percentiles=[0, 150]", "prepare.clip_percentiles.1"),
        ("segment.thresholds=[0.5, 0.5, 2]", "segment.thresholds.2"),
        ("segment.thresholds=[0.5]", "segment.thresholds has 1 values, network needs 3"),
        ("training.region_weights=[1, 1]", "training.region_weights has 2 values, network needs 3"),
        ("network.regions=[wt]", "has 3 values, network needs 1"),
        ("training.patch=[96, 96]", "training.patch has 2 values, network needs 3"),
    ],
)
def test_impossible_values_are_refused_by_name(change: str, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings("unet3d", [change])
    assert caught.value.code == "E-SETTING"
    assert words in caught.value.what
    assert len(caught.value.what) < 300
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("change", "nearest"),
    [
        ("training.batsh=4", "training.batch"),
        ("trainig.batch=4", "training.batch"),
        ("traning.bach=4", "training.batch"),
        ("training.batch.size=4", "training.batch"),
        ("training=4", "training."),
        ("training.batch", "training.batch"),
        ("preset.name=unet2d", "network.name"),
        ("=4", "known are: prepare.clip_percentiles"),
    ],
)
def test_misspelled_changes_are_refused_with_the_nearest_name(change: str, nearest: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(changes=[change])
    assert caught.value.code == "E-SETTING"
    assert change in caught.value.what
    assert nearest in caught.value.remedy


@pytest.mark.parametrize("value", ["[1, 2", "{a", "'x", "@x", "a: b: c"])
def test_a_value_that_is_no_yaml_is_refused(value: str) -> None:
    with pytest.raises(SettingsError, match="is not a value") as caught:
        load_settings(changes=[f"training.patch={value}"])
    assert caught.value.code == "E-SETTING"


def test_an_unknown_preset_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(SettingsError, match="unet3b") as caught:
        load_settings("unet3b")
    assert caught.value.code == "E-PRESET"
    assert "did you mean unet3d" in caught.value.remedy
    for name in ("", "../config", "unet3d.yaml", "UNET3D"):
        with pytest.raises(SettingsError):
            load_settings(name)


def test_unknown_names_in_a_saved_tree_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"setting training\.batchs") as caught:
        parse_settings({"training": {"batchs": 4}})
    assert "training.batch" in caught.value.remedy
    with pytest.raises(SettingsError, match="setting trainings"):
        parse_settings({"trainings": {}})


def test_a_known_setting_needs_another_value() -> None:
    with pytest.raises(SettingsError, match=r"E-SETTING: setting inference\.quality") as caught:
        load_settings(changes=["inference.quality=hard"])
    assert "'fast', 'standard' or 'best'" in caught.value.what
    assert caught.value.remedy == "write inference.quality=fast, for example"


@pytest.mark.parametrize("value", ["8,16", "(8, 16)", "[8, 16]"])
def test_a_list_needs_no_brackets(value: str) -> None:
    assert load_settings("unet2d", [f"network.filters={value}"]).network.filters == (8, 16)


def test_a_number_for_a_list_gets_the_default_as_an_example() -> None:
    with pytest.raises(SettingsError, match=r"network\.filters") as caught:
        load_settings(changes=["network.filters=8"])
    assert caught.value.remedy == "write network.filters=[32, 64, 128, 192], for example"
    example = caught.value.remedy.removeprefix("write ").removesuffix(", for example")
    assert load_settings(changes=[example]).network.filters == (32, 64, 128, 192)
