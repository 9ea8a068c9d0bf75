"""Records of older versions, in today's words."""

import pytest

from gliomaseg.storage.record import renamed


@pytest.mark.parametrize(("before", "now"), [("ok", "pass"), ("check", "review"), ("doubtful", "unreliable")])
def test_records_of_older_versions_are_read(before: str, now: str) -> None:
    old = {"case": "a", "verdict": {"verdict": before, "reasons": ["why"]}}
    assert renamed(old) == {"case": "a", "quality": now, "reasons": ["why"]}
    assert renamed(renamed(old)) == renamed(old)
