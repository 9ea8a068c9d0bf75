"""Cases as tables: which files make which case, for people, for programs, as a list to correct by hand."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gliomaseg import files
from gliomaseg.errors import OutputError
from gliomaseg.imaging.case import Case
from gliomaseg.labels import Modality

#: How many ways of naming a table shows.
_MOST_ROWS = 12


def write_list(path: Path, cases: Sequence[Case], *, overwrite: bool = False) -> None:
    """Write cases as a list that ``read_list`` reads, to be corrected by hand: what is unsure is left empty.

    Paths below the list's folder are relative to it. Raises OutputError (E-EXISTS unless ``overwrite``).
    """
    if path.exists() and not overwrite:
        raise OutputError(
            "E-EXISTS",
            f"{path} is there already",
            expected="a new file for the list",
            remedy="choose another name, or replace it with --overwrite",
        )
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["case", "patient", "session", *Modality, "seg", "scheme", "not understood"])
    for case in cases:
        found = understood(case, path.parent)
        images = [found["files"].get(modality, "") for modality in Modality]
        rest = [found["reference"] or "", case.scheme.name if case.reference else ""]
        left = "; ".join(found["not_understood"])
        writer.writerow([case.id, case.patient, case.session, *images, *rest, left])
    files.write_bytes(path, text.getvalue().encode("utf-8-sig", errors="surrogateescape"))


def understood(case: Case, root: Path) -> dict[str, Any]:
    """Return what was understood of a case as plain values; paths are relative to ``root`` if below it."""
    return {
        "patient": case.patient,
        "session": case.session,
        "layout": case.layout,
        "files": {m.value: _shown(file, root) + _volume(case, m) for m, file in case.images.items()},
        "reference": _shown(case.reference, root) if case.reference else None,
        "not_understood": [_shown(file, root) for file in case.unknown],
    }


def mapping(cases: Sequence[Case]) -> list[list[str]]:
    """Return a table of which names make a case: a row for all cases that are named alike, under a header."""
    rows: dict[tuple[str, ...], list[Case]] = {}
    for case in cases:
        parts = [_name(case, m) for m in Modality]
        reference = _in_folder(case, case.reference) if case.reference else ""
        unknown = ", ".join(_in_folder(case, file) for file in case.unknown)
        rows.setdefault((case.layout, *parts, reference, unknown), []).append(case)
    header = ["cases", "layout", *Modality, "reference", "not understood"]
    shown = [[_count(same), *names] for names, same in list(rows.items())[:_MOST_ROWS]]
    rest = sum(map(len, list(rows.values())[_MOST_ROWS:]))
    more = [[f"{rest} others", "see --json or --draft", *[""] * 6]] if rest else []
    return [header, *shown, *more]


def _count(cases: Sequence[Case]) -> str:
    patients = len({case.patient for case in cases})
    whose = f" of {patients} patient{'s' * (patients > 1)}" if patients < len(cases) else ""
    return cases[0].id if len(cases) == 1 else f"{len(cases)}{whose}"


def _name(case: Case, modality: Modality) -> str:
    file = case.images.get(modality)
    return _in_folder(case, file) + _volume(case, modality) if file else ""


def _volume(case: Case, modality: Modality) -> str:
    return f"#{case.channels[modality]}" if modality in case.channels else ""


def _in_folder(case: Case, file: Path) -> str:
    """Return a file's name, with its folder's where the case has files in several."""
    folders = {path.parent for path in case.images.values()}
    name = file.name if folders == {file.parent} else f"{file.parent.name}/{file.name}"
    return f"CASE{name[len(case.id) :]}" if name.startswith(case.id) else name


def _shown(file: Path, root: Path) -> str:
    try:
        return file.relative_to(root).as_posix()
    except ValueError:
        return str(file.resolve())
