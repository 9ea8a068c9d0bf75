"""Errors: every code is known, every message has three sentences, every error survives a process border."""

from __future__ import annotations

import ast
import copy
import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

import gliomaseg.errors
from gliomaseg.errors import CODES, GliomasegError, ImageError, UsageError

SOURCE = Path(gliomaseg.errors.__file__).parent


def subclasses(kind: type[GliomasegError] = GliomasegError) -> Iterator[type[GliomasegError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from subclasses(child)


KINDS = {kind.__name__: kind for kind in subclasses()}


def errors_in_source() -> list[tuple[str, ast.Call]]:
    """Return every place of the source where an error of ours is made, and the call."""
    return [
        (f"{path.relative_to(SOURCE)}:{node.lineno}", node)
        for path in sorted(SOURCE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KINDS
    ]


def codes_of(call: ast.Call) -> set[str]:
    """Return the code that a call gives, or both of a condition."""
    words = [node.value for node in ast.walk(call.args[0]) if isinstance(node, ast.Constant)]
    return {word for word in words if isinstance(word, str) and word.startswith("E-")}


def test_every_error_made_in_the_source_has_a_known_code_and_a_remedy() -> None:
    calls = errors_in_source()
    assert len(calls) > 50
    for where, call in calls:
        assert codes_of(call), where
        assert codes_of(call) <= set(CODES), where
        assert len(call.args) == 2, where
        remedy = {keyword.arg: keyword.value for keyword in call.keywords}.get("remedy")
        assert remedy is not None, where
        assert not (isinstance(remedy, ast.Constant) and not remedy.value), where


def test_every_code_is_used() -> None:
    assert set().union(*(codes_of(call) for _, call in errors_in_source())) == set(CODES)


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn = gliomaseg.errors.__doc__ or ""
    assert all(name in drawn for name in KINDS)


def test_three_sentences() -> None:
    error = ImageError("E-EMPTY", "a.nii has 0 bytes", expected="a NIfTI image", remedy="copy it again")
    assert str(error) == "E-EMPTY: a.nii has 0 bytes\nexpected: a NIfTI image\nremedy: copy it again"
    assert error.args == ("a.nii has 0 bytes",)


def test_what_is_kept_even_when_it_ends_like_an_empty_field() -> None:
    assert str(ImageError("E-EMPTY", "odd: ", remedy="r")).startswith("E-EMPTY: odd: \nexpected: ")


def test_what_was_expected_comes_from_the_code_and_an_empty_remedy_is_left_out() -> None:
    error = ImageError("E-EMPTY", "a.nii has 0 bytes")
    assert str(error) == f"E-EMPTY: a.nii has 0 bytes\nexpected: {CODES['E-EMPTY']}"


def test_an_unknown_code_is_a_programming_error() -> None:
    with pytest.raises(KeyError):
        ImageError("E-NONE", "x")


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_errors_survive_pickling_and_copying(kind: type[GliomasegError]) -> None:
    error = kind("E-EMPTY", "what", expected="this", remedy="that")
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301
        assert type(again) is kind
        assert again.as_dict() == error.as_dict()
        assert str(again) == str(error)


def test_exit_codes_are_one_for_data_and_two_for_wrong_usage() -> None:
    assert {kind.exit_code for kind in KINDS.values() if kind is not UsageError} == {1}
    assert UsageError.exit_code == 2


def test_as_dict_is_plain_json() -> None:
    error = ImageError("E-EMPTY", "Füße.nii", expected="e", remedy="r")
    assert json.loads(json.dumps(error.as_dict())) == {
        "code": "E-EMPTY",
        "what": "Füße.nii",
        "expected": "e",
        "remedy": "r",
    }
