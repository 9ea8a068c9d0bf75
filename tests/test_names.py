"""Names as file systems allow them: bytes of another century, and more than one line."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

CopyCase = Callable[..., Path]
Run = Callable[..., tuple[int, str, str]]


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes")
@pytest.mark.parametrize("case_id", [os.fsdecode(b"M\xfcller"), "two\nlines", "tab\there", "-o", "%s {x}"])
def test_every_verb_takes_any_name(run: Run, copy_case: CopyCase, tmp_path: Path, case_id: str) -> None:
    copy_case(case_id, tmp_path / "data")
    out = tmp_path / "out"
    assert run("check", tmp_path / "data")[0] == 0
    code, _, words = run("segment", tmp_path / "data", "-o", out, "--json")
    assert code == 0, words
    record = json.loads((out / case_id / "run.json").read_text(encoding="utf-8"))
    assert record["case"] == case_id
    assert json.loads(run("segment", tmp_path / "data", "-o", out, "--json")[1])[0]["state"] == "unchanged"
    assert run("report", out, "-o", tmp_path / "cohort.html")[0] == 0
    assert run("evaluate", out, tmp_path / "data", "-o", tmp_path / "scores")[0] == 0
    with (tmp_path / "scores" / "scores.csv").open(encoding="utf-8", newline="") as stream:
        found = {row["case"] for row in csv.DictReader(stream)}
    plain = case_id.encode(errors="backslashreplace").decode()
    assert {name.removeprefix("'") for name in found} == {plain}
