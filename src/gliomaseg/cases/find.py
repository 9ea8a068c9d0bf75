"""Find cases: those under a folder by their files' names, those of a CSV list, one of files given by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from gliomaseg.cases.case import Case, by_modality, listed
from gliomaseg.cases.case_id import bad_id, is_id, require_id
from gliomaseg.cases.case_list import read_list
from gliomaseg.cases.folders import walk
from gliomaseg.cases.layouts import EXAMPLE, LAYOUTS, is_image_name, parse_name
from gliomaseg.cases.search import Group, Piece, search
from gliomaseg.errors import CaseError
from gliomaseg.imaging.header import kind_of
from gliomaseg.imaging.raw_file import missing_file
from gliomaseg.labels import BRATS2021, LabelScheme, Modality

#: How many files are opened to tell what they are, where none was understood by its name.
_MOST_OPENED = 1000
#: Which layouts errors show.
_SHOWN = [
    layout.example for layout in LAYOUTS if layout.name in ("BraTS 2018 to 2021", "BIDS", "plain", "MSD")
]


def find_cases(
    path: str | Path, *, scheme: LabelScheme | None = None, allow_missing: bool = False
) -> list[Case]:
    """Return the cases under a folder at any depth, or of a CSV list, sorted by id.

    ``scheme`` overrides the label scheme that the layout implies. A case with missing sequences is returned
    as it is; one that lacks a sequence while an image in its folder was not understood carries the error
    E-UNKNOWN, unless ``allow_missing``. Others carry E-DUPID, E-PERM, E-ID, E-MANIFEST or E-NOFILE.
    Raises ImageError (E-NOFILE, E-PERM), CaseError (E-NOCASE, E-MANIFEST).
    """
    path = Path(path)
    if not path.exists():
        raise missing_file(path)
    if path.is_dir():
        cases = [_case_of(group, allow_missing=allow_missing) for group in search(path)]
    elif is_image_name(path.name):
        raise _one_image(path)
    else:
        cases = read_list(path)
    if not cases:
        raise _nothing_found(path)
    cases = [case if is_id(case.id) else replace(case, error=bad_id(case.id)) for case in cases]
    return sorted((replace(c, scheme=scheme) if scheme else c for c in cases), key=lambda c: c.id)


def find_case(folder: str | Path) -> Case:
    """Return the only case in ``folder``; raises CaseError (E-NOCASE) for none or several."""
    cases = find_cases(folder)
    if len(cases) == 1:
        return cases[0]
    raise CaseError(
        "E-NOCASE",
        f"{folder} holds {len(cases)} cases",
        expected="a folder with one case",
        remedy="use find_cases() for a folder of cases",
    )


def case_of_files(images: Mapping[str, str | Path], case_id: str | None = None) -> Case:
    """Return the case made of files given by modality name, such as ``{"t1n": "a.nii.gz", ...}``.

    Without ``case_id`` the files' common id is taken when they are named like a data set's, else
    "case". Raises ImageError (E-NOFILE), CaseError (E-MODALITY) for an unknown modality, UsageError (E-USAGE)
    for an id that can't be a folder's name.
    """
    if case_id is not None:
        require_id(case_id)
    paths = {modality: Path(path) for modality, path in by_modality(images).items()}
    for path in paths.values():
        if not path.exists():
            raise missing_file(path)
    ids = {part.case_id for part in (parse_name(path.name) for path in paths.values()) if part}
    found = ids.pop() if len(ids) == 1 else "case"
    return Case(case_id or found, paths)


def _case_of(group: Group, *, allow_missing: bool) -> Case:
    found = {m: group.images[m] for m in Modality if m in group.images}
    pieces = {m: fitting[0] for m, fitting in found.items() if len(fitting) == 1}
    label = group.labels[0] if len(group.labels) == 1 else None
    scheme = label or next((fitting[0] for fitting in found.values()), None)
    slots: list[tuple[str, list[Piece]]] = [*found.items(), ("seg", group.labels)]
    error = group.error or next((_two(group, part, two) for part, two in slots if len(two) > 1), None)
    case = Case(
        group.case_id,
        {m: piece.path for m, piece in pieces.items()},
        label.path if label else None,
        scheme.scheme if scheme else BRATS2021,
        patient=group.patient,
        layout=group.layout,
        channels={m: piece.channel for m, piece in pieces.items() if piece.channel is not None},
        unknown=(*group.unknown, *(piece.path for _, two in slots if len(two) > 1 for piece in two)),
        error=error,
    )
    lacks = len(case.images) < len(Modality) and case.unknown
    if not error and lacks and not (allow_missing and case.images):
        return replace(case, error=_not_understood(case))
    return case


def _two(group: Group, part: str, pieces: list[Piece]) -> CaseError:
    first, second = (piece.path for piece in pieces[:2])
    return CaseError(
        "E-DUPID",
        f"case {group.case_id} has two {part} images: {first.name} and {second.name}",
        expected="one file per sequence",
        remedy=f"move one of them out of {first.parent}, or give a CSV list that names the one to take: "
        "gliomaseg check FOLDER --draft cases.csv writes it",
    )


def _not_understood(case: Case) -> CaseError:
    missing = ", ".join(m for m in Modality if m not in case.images)
    go_on = "if it is none of these sequences: --allow-missing" if case.images else "or leave the folder out"
    return CaseError(
        "E-UNKNOWN",
        f"case {case.id} has no {missing}, and in {case.unknown[0].parent} {listed(case.unknown)}",
        expected="names as in one of the layouts of docs/get-started.md, such as " + EXAMPLE,
        remedy="rename the file, or give a CSV list that names it: gliomaseg check FOLDER --draft cases.csv "
        f"writes it; {go_on}",
    )


def _one_image(path: Path) -> CaseError:
    return CaseError(
        "E-NOCASE",
        f"{path} is one image, not a case",
        expected="a folder with a case's sequences, or a CSV list",
        remedy=f"give its folder {path.parent}, or name the four with --t1n --t1c --t2w --t2f",
    )


def _nothing_found(path: Path) -> CaseError:
    files = [file for folder in walk(path) for _, file in folder.files] if path.is_dir() else []
    count = sum(".nii" in file.name.lower() for file in files)
    kinds = Counter(kind for file in files[:_MOST_OPENED] if file.is_file() and (kind := kind_of(file)))
    others = "".join(f"; {kind}, {number} times" for (kind, _), number in kinds.most_common(3))
    return CaseError(
        "E-NOCASE",
        f"no case in {path} ({count} NIfTI files there{others})",
        expected="files named as in a layout of docs/get-started.md, such as " + "; ".join(_SHOWN),
        remedy=f"{kinds.most_common(1)[0][0][1]}, then name the four with --t1n --t1c --t2w --t2f"
        if kinds and not count
        else "rename the files, name the four with --t1n --t1c --t2w --t2f, or give a CSV list "
        "with the columns case, t1n, t1c, t2w, t2f",
    )
