"""Tables that are safe to open in a spreadsheet and on a terminal, and read back as they were."""

from __future__ import annotations

import csv
import io
import sys

import pytest

from gliomaseg.cli import console
from gliomaseg.storage.tables import cell, printable, read_csv, to_csv

ODD = ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "plain", "a,b", 'say "x"', "'quoted'"]


@pytest.mark.parametrize("text", ODD)
def test_no_cell_is_a_formula_and_all_are_read_back(text: str) -> None:
    (header, row) = csv.reader(io.StringIO(to_csv([{"case": text, "n": 1.5}])))
    assert header == ["case", "n"]
    assert row[0][0] not in "=+-@"
    assert read_csv(to_csv([{"case": text, "n": 1.5}])) == [{"case": text, "n": "1.5"}]


def test_numbers_stay_numbers() -> None:
    assert [cell(value) for value in (-1.5, -2, None, True, 0.123456, 2.0)] == [
        "-1.5",
        "-2",
        "",
        "yes",
        "0.1235",
        "2",
    ]


@pytest.mark.parametrize("text", ["a\x1b[2Jb", "a\x9b31mb", "a\u202eb", "a\rb", "a\x07b"])
def test_no_name_commands_the_terminal(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    console.echo(f"case {text}")
    console.show_table([["case", text], [text, "1"]], title=text)
    console.show_json({"case": text})
    out, err = capsys.readouterr()
    assert text not in out + err
    assert printable(text) in err
    assert text not in to_csv([{"case": text}])
    assert printable("äö 日本 — ok\n", lines=True) == "äö 日本 — ok\n"


def test_json_of_odd_names_is_still_the_same_json(capsys: pytest.CaptureFixture[str]) -> None:
    import json

    console.show_json({"case": "a\x9bb\u202ec é"})
    assert json.loads(capsys.readouterr().out) == {"case": "a\x9bb\u202ec é"}
    assert sys.stdout is not None
