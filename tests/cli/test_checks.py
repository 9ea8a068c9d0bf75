"""``gliomaseg explain``: the meaning of a code, its consequence and what to do."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gliomaseg.cli.checks import explanation
from gliomaseg.errors import CODES, NOTES, UsageError

Run = Callable[..., tuple[int, str, str]]


def test_every_code_is_explained() -> None:
    for code, meaning in (CODES | NOTES).items():
        first, consequence, remedy, *_ = explanation(code)
        assert first == f"{code}: {meaning}"
        assert ("the work goes on" in consequence) == (code in NOTES)
        assert remedy.startswith("What to do: ")
    with pytest.raises(UsageError, match="E-TRUNCATD") as caught:
        explanation("E-TRUNCATD")
    assert "E-TRUNCATED" in caught.value.remedy


def test_the_verb_takes_any_case(run: Run) -> None:
    assert run("explain", "e-truncated")[:2] == (0, "\n".join(explanation("E-TRUNCATED")) + "\n")
    assert run("explain", "nonsense")[0] == 2
