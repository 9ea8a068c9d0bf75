"""CSV lists of cases: read as people and spreadsheets write them, written as a draft to correct by hand."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gliomaseg.cases.case import Case, is_id
from gliomaseg.errors import CaseError, GliomasegError
from gliomaseg.imaging.formats import format_of
from gliomaseg.imaging.stored_file import missing_file, unreadable
from gliomaseg.labels import BRATS2021, MODALITY_NAMES, UNSURE, LabelScheme, Modality, find_scheme
from gliomaseg.storage import files
from gliomaseg.storage.guard import refuse_file
from gliomaseg.storage.tables import bare, no_formula

#: The names of each column, in lower case; a sequence's column may have any of ``MODALITY_NAMES``.
_NAMES = {
    "case": ("case", "id", "case_id", "subject", "patient"),
    "patient": ("patient", "patient_id"),
    "session": ("session", "timepoint"),
    "reference": ("seg", "reference", "label", "labels"),
    "scheme": ("scheme",),
}
#: What exported tables write into empty cells.
_EMPTY = ("", "n/a", "nan")
#: A path with the number of a volume: "imagesTr/BRATS_001.nii.gz#2", counted from 0.
_CHANNEL = re.compile(r"(.+)#(\d{1,2})", re.DOTALL)


def read_list(path: Path) -> list[Case]:
    """Return the cases of a CSV list; a case with a missing file carries its error.

    Raises CaseError (E-MANIFEST) naming the line, or E-FORMAT; ImageError (E-PERM).
    """
    text = _decode(path)
    hint = re.match(r"sep=(.)\r?[\n\r]", text)  # Excel's own first line
    text = text[hint.end() :] if hint else text
    separator = hint[1] if hint else max(",;\t", key=re.split(r"[\r\n]", text, maxsplit=1)[0].count)
    try:
        reader = csv.DictReader(io.StringIO(text), delimiter=separator, skipinitialspace=True)
        rows = [(reader.line_num + bool(hint), row) for row in reader]
    except csv.Error as error:
        raise _bad_list(path, "it is not a table with columns") from error
    columns = _columns(path, list(reader.fieldnames or ()))
    cases = [_from_row(path, line, row, columns) for line, row in rows if any(map(_cell, row.values()))]
    return _unique(path, cases)


def _decode(path: Path) -> str:
    """Return the text of a list in UTF-8, UTF-16 or, as Excel saves it in the West, cp1252."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error, "a folder with cases, or a CSV list") from error
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


def _columns(path: Path, header: list[str]) -> dict[str, str]:
    """Return the title of each column by its role: a key of ``_NAMES`` or a modality."""
    names = {name.strip().lower(): name for name in header}
    columns = {role: next((names[n] for n in known if n in names), "") for role, known in _NAMES.items()}
    images = [(MODALITY_NAMES[name].value, title) for name, title in names.items() if name in MODALITY_NAMES]
    if columns["patient"] == columns["case"]:
        columns["patient"] = ""
    if not columns["case"] or not images or len(dict(images)) < len(images):
        raise _bad_list(path, f"its columns are {', '.join(names) or 'missing'}")
    return columns | dict(images)


def _from_row(path: Path, line: int, row: dict[str, str], columns: dict[str, str]) -> Case:
    cells = {role: _cell(row.get(title)) for role, title in columns.items()}
    if not is_id(cells["case"]):
        raise _bad_list(path, f"line {line} has the case id {cells['case']!r}, which is no valid folder name")
    images = {m: _locate(path.parent, cells[m]) for m in Modality if cells.get(m)}
    if not images:
        raise _bad_list(path, f"line {line} names no image of case {cells['case']}")
    reference = path.parent / cells["reference"] if cells["reference"] else None
    paths = [*(file for file, _ in images.values()), *([reference] if reference else [])]
    return Case(
        cells["case"],
        {m: file for m, (file, _) in images.items()},
        reference,
        _scheme(path, line, cells["scheme"]),
        cells["patient"],
        cells["session"],
        "CSV list",
        channels={m: channel for m, (_, channel) in images.items() if channel is not None},
        error=next((_missing(path, line, file) for file in paths if not file.exists()), None),
    )


def _locate(folder: Path, text: str) -> tuple[Path, int | None]:
    """Return the file of a cell, and the number of its volume if one is given."""
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
    return "" if text.lower() in _EMPTY else text


def _unique(path: Path, cases: list[Case]) -> list[Case]:
    """Return one case for each id; where two lines have the same id, it carries the error."""
    found: dict[str, Case] = {}
    for case in cases:
        other = found.setdefault(case.id.casefold(), case)
        if other is not case:
            first, second = (next(iter(c.images.values())).parent for c in (other, case))
            error = CaseError(
                "E-DUPID",
                f"two cases of {path} have the id {case.id}: in {first} and in {second}",
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
        remedy=remedy or "separate columns by comma, semicolon or tab; paths may be relative to the CSV file",
    )


def write_list(path: Path, cases: Sequence[Case], *, overwrite: bool = False) -> None:
    """Write cases as a list that ``read_list`` reads, for correction by hand: ambiguous cells stay empty.

    Paths below the list's folder are relative to it; no cell is a formula in a spreadsheet. Raises
    OutputError (E-EXISTS unless ``overwrite``, E-OUTPUT for one of the images).
    """
    refuse_file(path, [file for case in cases for file in case.files], overwrite=overwrite, option="--draft")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["case", "patient", "session", *Modality, "seg", "scheme", "not understood"])
    for case in cases:
        found = as_plain(case, path.parent)
        images = [found["files"].get(modality, "") for modality in Modality]
        rest = [found["reference"] or "", case.scheme.name if case.reference else ""]
        cells = [case.id, case.patient, case.session, *images, *rest, "; ".join(found["not_understood"])]
        writer.writerow([no_formula(cell) for cell in cells])
    files.write_bytes(path, text.getvalue().encode("utf-8-sig", errors="surrogateescape"))


def as_plain(case: Case, root: Path) -> dict[str, Any]:
    """Return the case's files as plain values for CSV and JSON; paths below ``root`` are relative to it."""
    return {
        "patient": case.patient,
        "session": case.session,
        "layout": case.layout,
        "files": {m.value: _shown(file, root) + volume_suffix(case, m) for m, file in case.images.items()},
        "reference": _shown(case.reference, root) if case.reference else None,
        "not_understood": [_shown(file, root) for file in case.unknown],
    }


def volume_suffix(case: Case, modality: Modality) -> str:
    """Return "#2" for volume 2 of a file with several sequences, else nothing."""
    return f"#{case.channels[modality]}" if modality in case.channels else ""


def _shown(file: Path, root: Path) -> str:
    try:
        return file.relative_to(root).as_posix()
    except ValueError:
        return str(file.resolve())
