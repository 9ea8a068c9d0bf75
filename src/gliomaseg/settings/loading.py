"""How settings come about: defaults < preset YAML < ``--set section.name=value``, or a saved tree.

What is unknown or impossible is refused in words, with the nearest known name.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import yaml
from pydantic import ValidationError

from gliomaseg.errors import SettingsError
from gliomaseg.settings.schema import Section, Settings


def preset_names() -> list[str]:
    """Return the names of the presets that come with gliomaseg."""
    folder = resources.files("gliomaseg.settings") / "presets"
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))


def load_settings(preset: str = "unet3d", changes: Sequence[str] = ()) -> Settings:
    """Return defaults < ``preset`` < ``changes`` such as ``training.batch=4``.

    Raises SettingsError (E-PRESET, E-SETTING).
    """
    if preset not in preset_names():
        raise SettingsError(
            "E-PRESET",
            f"there is no preset {preset!r}",
            expected="one of " + ", ".join(preset_names()),
            remedy=_did_you_mean(preset, preset_names()),
        )
    text = (resources.files("gliomaseg.settings") / "presets" / f"{preset}.yaml").read_text(encoding="utf-8")
    tree: dict[str, Any] = yaml.safe_load(text) or {}
    for change in changes:
        _apply(tree, change)
    return parse_settings({**tree, "preset": preset})


def parse_settings(tree: Mapping[str, Any]) -> Settings:
    """Return the settings of a plain tree; raises SettingsError (E-SETTING) naming the wrong one."""
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(step) for step in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise SettingsError(
            "E-SETTING",
            f"setting {path}: {message.lower()} (got {first['input']!r})" if path else message,
            expected="a value like the default" if path in _paths() else "settings that fit each other",
            remedy=_remedy(path),
        ) from error


def _apply(tree: dict[str, Any], change: str) -> None:
    path, equals, value = change.partition("=")
    section, _, name = path.strip().partition(".")
    if not equals or f"{section}.{name}" not in {*_paths(), *_former_paths()}:
        raise SettingsError(
            "E-SETTING",
            f"--set {change} " + (f"names no setting: {path.strip()!r}" if equals else "has no value"),
            expected="section.name=value, for example --set training.batch=4",
            remedy=_did_you_mean(path, _paths()),
        )
    is_list = isinstance(getattr(getattr(Settings(), section), name), tuple)
    if is_list and "," in value and "[" not in value:  # 8,16 and (8, 16) as well as [8, 16]
        value = f"[{value.strip('() ')}]"
    try:
        tree.setdefault(section, {})[name] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise SettingsError(
            "E-SETTING",
            f"--set {change}: {value!r} is not a value",
            expected="a number, a word, or a list such as [96, 96, 96]",
            remedy="close brackets and quotation marks",
        ) from error


def _paths() -> list[str]:
    return [f"{name}.{field}" for name, kind in _sections().items() for field in kind.model_fields]


def _former_paths() -> list[str]:
    return [f"{name}.{field}" for name, kind in _sections().items() for field in kind.former]


def _sections() -> dict[str, type[Section]]:
    kinds = {name: field.annotation for name, field in Settings.model_fields.items()}
    return {
        name: kind for name, kind in kinds.items() if isinstance(kind, type) and issubclass(kind, Section)
    }


def _remedy(path: str) -> str:
    """Return what to do about a setting, or about two (no path), that can't be."""
    if not path:
        return "change one of the two"
    return (
        f"write {path}={_default(path)}, for example" if path in _paths() else _did_you_mean(path, _paths())
    )


def _default(path: str) -> str:
    """Return the default of a setting as --set takes it."""
    section, _, name = path.partition(".")
    return json.dumps(Settings().model_dump(mode="json")[section][name]).replace('"', "")


def _did_you_mean(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else "known are: " + ", ".join(known)
