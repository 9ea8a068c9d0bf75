"""A bundle is opened only if every byte is the one that was sealed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from gliomaseg.errors import ModelError
from gliomaseg.inference.bundle import INT8, MEMBERS, Bundle, seal, shipped_folder
from gliomaseg.settings.loading import load_settings
from gliomaseg.storage import files


def change_record(bundle: Bundle, **changes: Any) -> None:
    path = bundle.folder / "bundle.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_what_is_sealed_is_loaded(hollow: Bundle) -> None:
    assert Bundle.load(hollow.folder) == hollow
    assert Bundle.load(str(hollow.folder)) == hollow
    assert hollow.name == "hollow"
    assert hollow.settings == load_settings()
    assert hollow.network("bf16") == hollow.folder / "model.xml"


def test_a_network_in_int8_is_sealed_too(hollow: Bundle) -> None:
    with pytest.raises(ModelError, match=r"E-MODEL.*no network in int8"):
        hollow.network("int8")
    for name in INT8:
        (hollow.folder / name).write_text(name)
    with_int8 = seal(hollow.folder, {**hollow.about, "int8": {"cases": 2, "dice_change": {"wt": -0.001}}})
    assert with_int8.sha256 != hollow.sha256
    assert with_int8.network("int8") == hollow.folder / "int8.xml"
    assert with_int8.int8_is_as_good
    (hollow.folder / "int8.bin").write_text("other")
    with pytest.raises(ModelError, match=r"E-MODEL.*int8.bin is not the file"):
        Bundle.load(hollow.folder)


def test_the_shipped_model() -> None:
    bundle = Bundle.load()
    assert bundle.int8_is_as_good
    assert sum(path.stat().st_size for path in bundle.folder.iterdir()) < 20e6


def test_the_hash_names_the_content(hollow: Bundle) -> None:
    assert len(hollow.sha256) == 64
    assert seal(hollow.folder, {**hollow.about, "name": "renamed"}).sha256 == hollow.sha256
    (hollow.folder / "card.md").write_text("the same model in other words")
    assert seal(hollow.folder, hollow.about).sha256 == hollow.sha256
    (hollow.folder / "model.bin").write_bytes(b"other weights")
    assert seal(hollow.folder, hollow.about).sha256 != hollow.sha256


@pytest.mark.parametrize("name", MEMBERS)
@pytest.mark.parametrize("place", [0, -1])
def test_a_flipped_byte(hollow: Bundle, name: str, place: int) -> None:
    path = hollow.folder / name
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match=f"E-MODEL.*{name} is not the file"):
        Bundle.load(hollow.folder)


@pytest.mark.parametrize("name", MEMBERS)
def test_a_missing_member(hollow: Bundle, name: str) -> None:
    (hollow.folder / name).unlink()
    with pytest.raises(ModelError, match=f"E-MODEL.*{name} is missing"):
        Bundle.load(hollow.folder)


@pytest.mark.parametrize("name", MEMBERS)
def test_a_folder_in_place_of_a_member(hollow: Bundle, name: str) -> None:
    (hollow.folder / name).unlink()
    (hollow.folder / name).mkdir()
    with pytest.raises(ModelError, match="E-MODEL"):
        Bundle.load(hollow.folder)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_member_that_may_not_be_read(hollow: Bundle) -> None:
    (hollow.folder / "model.bin").chmod(0)
    with pytest.raises(ModelError, match=r"E-MODEL.*can't be read"):
        Bundle.load(hollow.folder)


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "7", "null", '"text"', "{}", '{"format": 1}', '{"format": 1, "files": 3, "about": {}}',
     '{"format": 1, "files": {}}', '{"format": 1, "files": {}, "about": 3}', "\xff"],
)  # fmt: skip
def test_a_damaged_record(hollow: Bundle, content: str) -> None:
    (hollow.folder / "bundle.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(ModelError, match="E-MODEL"):
        Bundle.load(hollow.folder)


@pytest.mark.parametrize(
    "files", [[*MEMBERS], {"model.xml": "0"}, {**dict.fromkeys(MEMBERS, "0"), "x.pkl": "0"}]
)
def test_other_members(hollow: Bundle, files: Any) -> None:
    change_record(hollow, files=files)
    with pytest.raises(ModelError, match="E-MODEL"):
        Bundle.load(hollow.folder)


@pytest.mark.parametrize(
    "about",
    [
        [],
        {},
        {"name": "x", "trained_on": {}},
        {"name": "x", "trained_on": [["a"]]},
        {"name": "x", "trained_on": [], "int8": []},
        {"name": "x", "trained_on": [], "int8": {"dice_change": [1]}},
        {"name": "x", "trained_on": [], "expected": {"dice": []}},
        {"name": "x", "trained_on": [], "weights": [1]},
    ],
)
def test_what_it_says_of_itself_in_another_shape(hollow: Bundle, about: Any) -> None:
    change_record(hollow, about=about)
    with pytest.raises(ModelError, match="E-MODEL"):
        Bundle.load(hollow.folder)


@pytest.mark.parametrize("name", ["bundle.json", "settings.json"])
def test_json_nested_too_deep(hollow: Bundle, name: str) -> None:
    (hollow.folder / name).write_text('{"a":' * 200_000)
    with pytest.raises(ModelError, match="E-MODEL"):
        Bundle.load(hollow.folder)


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_format(hollow: Bundle, version: Any) -> None:
    change_record(hollow, format=version)
    with pytest.raises(ModelError, match=f"E-MODEL.*format {version}") as caught:
        Bundle.load(hollow.folder)
    assert caught.value.expected == "format 1"
    assert "upgrade gliomaseg" in caught.value.remedy


@pytest.mark.parametrize("settings", ['{"network": {"name": "unet9d"}}', '{"novel": {}}', "[]", "{"])
def test_settings_of_another_version(hollow: Bundle, settings: str) -> None:
    (hollow.folder / "settings.json").write_text(settings)
    with pytest.raises(ModelError, match=r"E-MODEL.*settings"):
        seal(hollow.folder, hollow.about)


@pytest.mark.parametrize("where", ["nowhere", "empty", "file"])
def test_no_bundle_there(tmp_path: Path, where: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("text")
    with pytest.raises(ModelError, match="E-MODEL") as caught:
        Bundle.load(tmp_path / where)
    assert "gliomaseg export" in caught.value.remedy


def test_no_door_for_pickle() -> None:
    source = Path(str(Bundle.load.__func__.__code__.co_filename)).parent.parent
    for path in source.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        for word in ("import pickle", "torch.load", "allow_pickle=True", "joblib"):
            assert word not in text, f"{path.name}: {word}"


def test_the_shipped_model_has_todays_setting_names() -> None:
    stored = files.read_json(shipped_folder() / "settings.json")
    today = Bundle.load().settings.model_dump(mode="json")
    assert {name: set(section) for name, section in stored.items() if isinstance(section, dict)} == {
        name: set(section) for name, section in today.items() if isinstance(section, dict)
    }
