"""The settings' definitions: frozen, and each says what it is."""

from __future__ import annotations

import ast
import inspect
from itertools import pairwise

import pytest
from pydantic import ValidationError

from gliomaseg.settings import schema as config
from gliomaseg.settings.schema import Settings


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
