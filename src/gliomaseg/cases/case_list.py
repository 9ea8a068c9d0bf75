"""CSV lists of cases, as people and spreadsheets write them. Ignorant of images."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from gliomaseg.cases.case import Case
from gliomaseg.cases.case_id import is_id
from gliomaseg.errors import CaseError, GliomasegError, ImageError
from gliomaseg.imaging.header import format_of
from gliomaseg.imaging.raw_file import missing_file
from gliomaseg.labels import BRATS2021, MODALITY_NAMES, UNSURE, LabelScheme, Modality, find_scheme
from gliomaseg.storage.tables import bare

#: What each column may be called, in lower case, besides the sequences' names.
_NAMES = {
    "case": ("case", "id", "case_id", "subject", "patient"),
    "patient": ("patient", "patient_id"),
    "session": ("session", "timepoint"),
    "reference": ("seg", "reference", "label", "labels"),
    "scheme": ("scheme",),
}
#: What stands in a cell that is empty, as tables are exported.
_NOTHING = ("", "n/a", "nan")
#: A path that names a volume of its file: "imagesTr/BRATS_001.nii.gz#2", counted from 0.
_CHANNEL = re.compile(r"(.+)#(\d{1,2})", re.DOTALL)


class _Columns(NamedTuple):
    """Under which name each thing stands in the list."""

    named: dict[str, str]
    modalities: dict[Modality, str]


def read_list(path: Path) -> list[Case]:
    """Return the cases of a CSV list; one whose files are not there carries the error.

    Raises CaseError (E-MANIFEST) naming the line.
    """
    text = _decode(path)
    hint = re.match(r"sep=(.)\r?[\n\r]", text)  # what Excel writes, and understands
    text = text[hint.end() :] if hint else text
    separator = hint[1] if hint else max(",;\t", key=re.split(r"[\r\n]", text, maxsplit=1)[0].count)
    try:
        reader = csv.DictReader(io.StringIO(text), delimiter=separator, skipinitialspace=True)
        rows = [(reader.line_num + bool(hint), row) for row in reader]
    except csv.Error as error:
        raise _bad_list(path, "it is not a list with columns") from error
    columns = _columns(path, list(reader.fieldnames or ()))
    cases = [_from_row(path, line, row, columns) for line, row in rows if any(map(_cell, row.values()))]
    return _once(path, cases)


def _decode(path: Path) -> str:
    """Return the text of a list in UTF-8, UTF-16 or, as Excel saves it in the West, cp1252."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ImageError(
            "E-PERM",
            f"{path} can't be read: {error.strerror}",
            expected="a folder with cases, or a CSV list",
            remedy="check its permissions",
        ) from error
    if path.suffix.lower() in (".xlsx", ".xlsm", ".xls", ".ods", ".numbers"):
        raise _bad_list(path, "it is a spreadsheet in its own format", "save the sheet as CSV UTF-8")
    if found := format_of(raw[:540]):
        kind, remedy = found
        raise CaseError("E-FORMAT", f"{path} is {kind}", expected="a folder or a CSV list", remedy=remedy)
    encodings = ["utf-16"] if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else ["utf-8-sig", "cp1252"]
    for encoding in encodings:
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text.replace("\r\n", "\n").replace("\r", "\n")
    raise _bad_list(path, "it is not a text file")


def _columns(path: Path, header: list[str]) -> _Columns:
    names = {name.strip().lower(): name for name in header}
    named = {key: next((names[n] for n in known if n in names), "") for key, known in _NAMES.items()}
    found = [(MODALITY_NAMES[name], column) for name, column in names.items() if name in MODALITY_NAMES]
    modalities = dict(found)
    if named["patient"] == named["case"]:
        named["patient"] = ""
    if not named["case"] or not modalities or len(modalities) < len(found):
        raise _bad_list(path, f"its columns are {', '.join(names) or 'missing'}")
    return _Columns(named, modalities)


def _from_row(path: Path, line: int, row: dict[str, str], columns: _Columns) -> Case:
    cells = {key: _cell(row.get(column)) for key, column in columns.named.items()}
    if not is_id(cells["case"]):
        raise _bad_list(path, f"line {line} has the case id {cells['case']!r}, which no folder can bear")
    given = {m: _cell(row.get(columns.modalities[m])) for m in Modality if m in columns.modalities}
    files = {m: _locate(path.parent, text) for m, text in given.items() if text}
    if not files:
        raise _bad_list(path, f"line {line} names no image of case {cells['case']}")
    reference = path.parent / cells["reference"] if cells["reference"] else None
    paths = [*(file for file, _ in files.values()), *([reference] if reference else [])]
    return Case(
        cells["case"],
        {m: file for m, (file, _) in files.items()},
        reference,
        _scheme(path, line, cells["scheme"]),
        cells["patient"],
        cells["session"],
        "CSV list",
        channels={m: channel for m, (_, channel) in files.items() if channel is not None},
        error=next((_missing(path, line, file) for file in paths if not file.exists()), None),
    )


def _locate(folder: Path, text: str) -> tuple[Path, int | None]:
    """Return the file that a cell names, and which volume of it."""
    match = _CHANNEL.fullmatch(text)
    if match and not (folder / text).exists():
        return folder / match[1], int(match[2])
    return folder / text, None


def _scheme(path: Path, line: int, name: str) -> LabelScheme:
    if name == UNSURE.name:
        return UNSURE
    try:
        return find_scheme(name) if name else BRATS2021
    except GliomasegError as error:
        raise _bad_list(path, f"line {line}: {error.what}", error.remedy) from error


def _missing(path: Path, line: int, file: Path) -> GliomasegError:
    error = missing_file(file)
    return error.reworded(lambda text: f"{path} line {line}: {text}" if text == error.what else text)


def _cell(value: object) -> str:
    text = bare(value.strip()) if isinstance(value, str) else ""
    return "" if text.lower() in _NOTHING else text


def _once(path: Path, cases: list[Case]) -> list[Case]:
    """Return one case for each id; where two lines have the same, it carries the error."""
    found: dict[str, Case] = {}
    for case in cases:
        other = found.setdefault(case.id.casefold(), case)
        if other is not case:
            first, second = (next(iter(c.images.values())).parent for c in (other, case))
            error = CaseError(
                "E-DUPID",
                f"two cases of {path} are called {case.id}: in {first} and in {second}",
                expected="one case per id (upper and lower case count as the same)",
                remedy="give one of them another id",
            )
            found[case.id.casefold()] = replace(other, error=error)
    return list(found.values())


def _bad_list(path: Path, what: str, remedy: str = "") -> CaseError:
    return CaseError(
        "E-MANIFEST",
        f"{path} can't be read as a list of cases: {what}",
        expected="CSV with the columns case, t1n, t1c, t2w, t2f and, if there is one, seg",
        remedy=remedy or "paths may be relative to the CSV file; separators may be comma, semicolon or tab",
    )
