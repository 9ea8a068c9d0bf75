"""The settings' definitions: frozen, and each says what it is."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from gliomaseg.config import Settings


def test_settings_can_not_be_changed_in_place() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().training.batch = 5  # type: ignore[misc]


def test_every_setting_says_what_it_is() -> None:
    for section in Settings.model_fields.values():
        fields = getattr(section.annotation, "model_fields", {})
        for name, field in fields.items():
            assert field.description, name
