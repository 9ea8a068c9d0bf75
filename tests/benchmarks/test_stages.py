"""Where the time of a case goes: every stage of the command is there, with rooflines beside."""

from __future__ import annotations

import json
import sys

import pytest

import stages
from gliomaseg.cases.case import Case

pytestmark = pytest.mark.slow


def test_stages_add_up(phantom_case: Case) -> None:
    found = stages.measure(phantom_case, runs=1)
    seconds = found["seconds"]
    assert {stages.START, "read", "prepare", "infer", "label", "write", "picture"} <= seconds.keys()
    assert sum(seconds.values()) == pytest.approx(found["total"])
    assert 0 < seconds[stages.START] < found["total"]
    assert found["rooflines"].keys() == {"read", "infer"}
    assert all(seconds > 0 for seconds in found["rooflines"].values())
    assert sum(found["machine"]["kernels"].values()) == 18
    assert json.loads(json.dumps(found))["case"] == phantom_case.id


def test_a_command_that_fails_ends_the_measurement(phantom_case: Case) -> None:
    with pytest.raises(RuntimeError, match="int7"):
        stages.measure(phantom_case, runs=1, options=["--precision", "int7"])


def test_the_figures_are_printed_as_json(
    phantom_case: Case, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = next(iter(phantom_case.images.values())).parent
    monkeypatch.setattr(sys, "argv", ["stages.py", str(folder), "--runs", "1"])
    stages.main()
    assert json.loads(capsys.readouterr().out)["total"] > 0
