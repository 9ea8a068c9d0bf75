"""Cases as tables: which files make which case, for people, for programs, as a list to correct by hand."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gliomaseg.cases.case import Case
from gliomaseg.labels import Modality
from gliomaseg.storage import files
from gliomaseg.storage.guard import refuse_file
from gliomaseg.storage.tables import no_formula

#: How many ways of naming a table shows.
_MOST_SHOWN = 12


def write_list(path: Path, cases: Sequence[Case], *, overwrite: bool = False) -> None:
    """Write cases as a list that ``read_list`` reads, to be corrected by hand: what is unsure is left empty.

    Paths below the list's folder are relative to it; no cell is a formula in a spreadsheet. Raises
    OutputError (E-EXISTS unless ``overwrite``, E-OUTPUT for one of the images).
    """
    read = [file for case in cases for file in case.files]
    refuse_file(path, read, overwrite=overwrite, option="--draft")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["case", "patient", "session", *Modality, "seg", "scheme", "not understood"])
    for case in cases:
        found = understood(case, path.parent)
        images = [found["files"].get(modality, "") for modality in Modality]
        rest = [found["reference"] or "", case.scheme.name if case.reference else ""]
        left = "; ".join(found["not_understood"])
        cells = [case.id, case.patient, case.session, *images, *rest, left]
        writer.writerow([no_formula(text) for text in cells])
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
    """Return a table of which names make a case, once for all cases that are named alike, under a header."""
    alike: dict[tuple[tuple[str, str], ...], list[Case]] = {}
    for case in cases:
        alike.setdefault((("", case.layout), *_parts(case)), []).append(case)
    rows = [["cases", "layout", "part", "file"]]
    for (layout, *parts), same in list(alike.items())[:_MOST_SHOWN]:
        heads = [(_count(same), layout[1]), *[("", "")] * (len(parts) - 1)]
        rows += [[*head, *part] for head, part in zip(heads, parts, strict=True)]
    rest = sum(map(len, list(alike.values())[_MOST_SHOWN:]))
    return [*rows, *([[f"{rest} others", "", "", "see --json or --draft"]] if rest else [])]


def _parts(case: Case) -> list[tuple[str, str]]:
    """Return each part of a case with the name of its file."""
    parts = [(m.value, _in_folder(case, file) + _volume(case, m)) for m, file in case.images.items()]
    parts += [(m.value, "(missing)") for m in Modality if m not in case.images]
    parts += [("reference", _in_folder(case, case.reference))] if case.reference else []
    return [*parts, *(("not understood", _in_folder(case, file)) for file in case.unknown)]


def _count(cases: Sequence[Case]) -> str:
    patients = len({case.patient for case in cases})
    whose = f" of {patients} patient{'s' * (patients > 1)}" if patients < len(cases) else ""
    return cases[0].id if len(cases) == 1 else f"{len(cases)}{whose}"


def _volume(case: Case, modality: Modality) -> str:
    return f"#{case.channels[modality]}" if modality in case.channels else ""


def _in_folder(case: Case, file: Path) -> str:
    """Return a file's name, with its folder's where the case has files in several."""
    folders = {path.parent for path in case.images.values()}
    names = [file.name] if folders == {file.parent} else [file.parent.name, file.name]
    return "/".join(f"CASE{n[len(case.id) :]}" if n.startswith(case.id) else n for n in names)


def _shown(file: Path, root: Path) -> str:
    try:
        return file.relative_to(root).as_posix()
    except ValueError:
        return str(file.resolve())
