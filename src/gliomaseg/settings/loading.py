"""Loading settings: defaults < preset YAML < ``--set section.name=value``, or a saved tree.

Unknown names and impossible values are refused, with the nearest known name.
"""

from __future__ import annotations

import difflib
import json
import logging
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

import yaml
from pydantic import ValidationError

from gliomaseg.errors import SettingsError
from gliomaseg.settings.former import FORMER, with_present_names
from gliomaseg.settings.schema import Settings

_log = logging.getLogger(__name__)


def preset_names() -> list[str]:
    """Return the names of the presets of gliomaseg."""
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
        return Settings.model_validate(with_present_names(tree) if isinstance(tree, Mapping) else tree)
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
    given, equals, text = change.partition("=")
    known, given = _paths(), given.strip()
    path, _ = FORMER.get(given, (given, 1))
    if not equals or path not in known:
        raise SettingsError(
            "E-SETTING",
            f"--set {change} " + (f"names no setting: {path!r}" if equals else "has no value"),
            expected="section.name=value, for example --set training.batch=4",
            remedy=_did_you_mean(path, known),
        )
    section, _, name = path.partition(".")
    if isinstance(_defaults()[section][name], list) and "," in text and "[" not in text:
        text = f"[{text.strip('() ')}]"  # 8,16 and (8, 16) as well as [8, 16]
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(
            "E-SETTING",
            f"--set {change}: {text!r} is not a value",
            expected="a number, a word, or a list such as [96, 96, 96]",
            remedy="close brackets and quotation marks",
        ) from error
    converted = with_present_names({section: {given.partition(".")[2]: value}})[section][name]
    if path != given:
        units = "" if converted == value else f", in other units: {converted:g} for {value}"
        _log.info(f"{given} is now {path}{units}")
    tree.setdefault(section, {})[name] = converted


@cache
def _defaults() -> dict[str, Any]:
    """Return the defaults as a plain tree of sections."""
    tree = Settings().model_dump(mode="json")
    return {section: values for section, values in tree.items() if isinstance(values, dict)}


def _paths() -> list[str]:
    return [f"{section}.{name}" for section, values in _defaults().items() for name in values]


def _remedy(path: str) -> str:
    """Return the remedy for an impossible setting, or for two that don't fit (no path)."""
    if not path:
        return "change one of the two"
    if path not in _paths():
        return _did_you_mean(path, _paths())
    section, _, name = path.partition(".")
    example = json.dumps(_defaults()[section][name]).replace('"', "")  # as --set takes it
    return f"write {path}={example}, for example"


def _did_you_mean(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else "known are: " + ", ".join(known)
