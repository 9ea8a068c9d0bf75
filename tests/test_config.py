"""The settings' definitions: frozen, and each says what it is."""

from __future__ import annotations

import ast
import inspect
from itertools import pairwise

import pytest
from pydantic import ValidationError

from gliomaseg import config
from gliomaseg.config import Settings


def test_settings_can_not_be_changed_in_place() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().training.batch = 5  # type: ignore[misc]


def test_every_setting_says_what_it_is() -> None:
    found = 0
    for section in ast.parse(inspect.getsource(config)).body:
        if isinstance(section, ast.ClassDef) and section.name != "Settings":
            for line, after in pairwise([*section.body, ast.Pass()]):
                if isinstance(line, ast.AnnAssign):
                    found += 1
                    assert isinstance(after, ast.Expr), ast.unparse(line)
    assert found > len(Settings.model_fields)


def test_what_enhances_must_be_told_for_the_core_to_depend_on_it() -> None:
    shifted = {"segment": {"core_shifts": [[0.02, 3.5]]}}
    assert Settings.model_validate(shifted).segment.core_shifts == ((0.02, 3.5),)
    two = {"network": {"regions": ["wt", "tc"]}, "training": {"region_weights": [1, 1]}}
    halves = {"segment": shifted["segment"] | {"thresholds": [0.5, 0.5]}}
    with pytest.raises(ValidationError, match=r"segment\.core_shifts needs all three regions"):
        Settings.model_validate(two | halves)
    falling = {"segment": {"core_shifts": [[0.02, 3.5], [0.02, 1]]}}
    with pytest.raises(ValidationError, match=r"shares of segment\.core_shifts must rise"):
        Settings.model_validate(falling)
