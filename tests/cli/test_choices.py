"""The choices that --help shows are those that the package knows; any other is wrong usage."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import get_args

import pytest

from gliomaseg.cli import choices as cli_choices
from gliomaseg.evaluation.rules import ALIASES, PROFILES
from gliomaseg.labels import SCHEMES
from gliomaseg.settings.loading import preset_names
from gliomaseg.settings.schema import InferenceSettings

Run = Callable[..., tuple[int, str, str]]


def test_the_lists_are_those_of_the_package() -> None:
    fields = InferenceSettings.model_fields
    assert get_args(fields["quality"].annotation) == cli_choices.QUALITIES
    assert get_args(fields["precision"].annotation) == cli_choices.PRECISIONS
    assert get_args(fields["device"].annotation) == cli_choices.DEVICES
    assert tuple(SCHEMES) == cli_choices.SCHEMES
    assert set(cli_choices.RULES) == {*PROFILES, *ALIASES}
    assert list(cli_choices.PRESETS) == preset_names()


@pytest.mark.parametrize(
    ("words", "option", "near"),
    [
        (("segment", "x", "--quality", "superb"), "--quality", "give --quality one of them"),
        (("segment", "x", "--device", "gpu"), "--device", "did you mean --device cpu"),
        (("segment", "x", "--labels", "brats2020x"), "--labels", "did you mean --labels brats202"),
        (("evaluate", "x", "y", "--rules", "brats2019-gli"), "--rules", "did you mean --rules brats20"),
        (("view", "x", "--scheme", "mds"), "--scheme", "did you mean --scheme msd"),
        (("train", "x", "-o", "y", "--preset", "unet9d"), "--preset", "did you mean --preset unet"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_another_choice_is_wrong_usage(run: Run, words: tuple[str, ...], option: str, near: str) -> None:
    code, out, err = run(*words, *(["--json"] if words[0] == "segment" else []))
    assert code == 2
    assert f"{option} {words[-1]}: there is no such choice" in " ".join(err.split())
    assert near in " ".join(err.split())
    if words[0] == "segment":
        assert json.loads(out)["error"]["code"] == "E-USAGE"


def test_choices_are_taken_in_any_case_and_shown(run: Run) -> None:
    code, out, _ = run("segment", "--help")
    assert code == 0
    assert "[fast|standard|best]" in out
    assert run("segment", "no-such-folder", "--quality", "BEST", "--labels", "BraTS2023")[0] == 1
