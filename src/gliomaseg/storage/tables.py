"""Tables as CSV that are safe to open: no cell is a formula in a spreadsheet, or a command on a terminal."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping

#: Characters that move the cursor, change colours or the direction of text.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
#: A spreadsheet takes a text with one of these in front for a formula.
_FORMULA = ("=", "+", "-", "@")


def printable(text: str, *, lines: bool = False) -> str:
    """Return ``text`` with its control characters written out as escapes; with ``lines``, new lines stay."""
    return _CONTROL.sub(
        lambda m: "\n" if lines and m[0] == "\n" else m[0].encode("unicode_escape").decode("ascii"), text
    )


def json_text(content: object) -> str:
    """Return ``content`` as readable JSON with control characters as escapes."""
    text = json.dumps(content, indent=2, ensure_ascii=False)
    return _CONTROL.sub(lambda m: "\n" if m[0] == "\n" else f"\\u{ord(m[0]):04x}", text)


def to_csv(rows: Iterable[Mapping[str, object]], columns: Iterable[str] = ()) -> str:
    """Return rows as CSV with ``columns`` and every other column of any row.

    Numbers have 4 decimals at most, None is empty, and a text that a spreadsheet would take for a formula
    begins with an apostrophe.
    """
    rows = list(rows)
    names = list(dict.fromkeys([*columns, *(name for row in rows for name in row)]))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([cell(row.get(name)) for name in names] for row in rows)
    return text.getvalue()


def cell(value: object) -> str:
    """Return a value as a cell of plain text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4f}".rstrip("0").rstrip(".")
    if isinstance(value, int):
        return str(value)
    return no_formula(printable(str(value)))


def no_formula(text: str) -> str:
    """Return ``text``, with an apostrophe in front if a spreadsheet would take it for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def bare(text: str) -> str:
    """Return ``text`` without the apostrophe that ``no_formula`` added."""
    return text[1:] if text.startswith(tuple(f"'{sign}" for sign in _FORMULA)) else text


def read_csv(text: str) -> list[dict[str, str]]:
    """Return the rows of a table that ``to_csv`` wrote; raises ValueError for any other."""
    try:
        rows = list(csv.DictReader(io.StringIO(text)))
    except csv.Error as error:
        raise ValueError(str(error)) from error
    return [{name: bare(value or "") for name, value in row.items() if name is not None} for row in rows]
