"""Find cases: below a folder by the names of their files, in a CSV list, or from files given one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from gliomaseg.cases.case import Case, bad_id, by_modality, is_id, require_id
from gliomaseg.cases.csv_list import read_list
from gliomaseg.cases.dataset_json import find_dataset
from gliomaseg.cases.folders import walk
from gliomaseg.cases.layouts import LAYOUTS, parse_name
from gliomaseg.cases.search import search
from gliomaseg.errors import CaseError
from gliomaseg.imaging.formats import format_of_file, is_image_name
from gliomaseg.imaging.stored_file import missing_file
from gliomaseg.labels import LabelScheme

#: At most this many files are opened for their format where no case was found.
_MOST_OPENED = 1000
#: The layouts that errors show.
_SHOWN = [
    layout.example for layout in LAYOUTS if layout.name in ("BraTS 2018 to 2021", "BIDS", "plain", "MSD")
]


def find_cases(
    path: str | Path, *, scheme: LabelScheme | None = None, allow_missing: bool = False
) -> list[Case]:
    """Return the cases under a folder at any depth, or of a CSV list, sorted by id.

    ``scheme`` overrides the label scheme that the layout implies. A case may lack sequences; if images in
    its folder were not understood, it then carries the error E-UNKNOWN, unless ``allow_missing``. Others
    carry E-DUPID, E-PERM, E-ID, E-MANIFEST or E-NOFILE.
    Raises ImageError (E-NOFILE, E-PERM), CaseError (E-NOCASE, E-MANIFEST).
    """
    path = Path(path)
    if not path.exists():
        raise missing_file(path)
    if path.is_dir():
        cases = search(path, allow_missing=allow_missing)
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
    """Return the case of files given by modality name, such as ``{"t1n": "a.nii.gz", ...}``.

    Without ``case_id``, the id is the one that the file names share in some layout, else "case". Raises
    ImageError (E-NOFILE), CaseError (E-MODALITY) for an unknown modality, UsageError (E-USAGE) for an id
    that is no valid folder name.
    """
    if case_id is not None:
        require_id(case_id)
    paths = {modality: Path(path) for modality, path in by_modality(images).items()}
    for path in paths.values():
        if not path.exists():
            raise missing_file(path)
    ids = {parsed.case_id for parsed in (parse_name(path.name) for path in paths.values()) if parsed}
    return Case(case_id or (ids.pop() if len(ids) == 1 else "case"), paths)


def label_scheme(path: Path) -> LabelScheme | None:
    """Return the scheme that a label map's name, folder or dataset.json implies, None if nothing does.

    Raises CaseError (E-MANIFEST) for a dataset.json that can't be understood.
    """
    parsed = parse_name(path.name, "".join(f"{name}/" for name in path.resolve().parts[-3:-1]))
    if parsed is None or not parsed.is_label:
        return None
    dataset = find_dataset(path.parent) if parsed.joined is not None else None
    return dataset.scheme if dataset else parsed.layout.scheme


def _one_image(path: Path) -> CaseError:
    return CaseError(
        "E-NOCASE",
        f"{path} is one image, not a case",
        expected="a folder with a case's sequences, or a CSV list",
        remedy=f"give its folder {path.parent}, or the four files with --t1n --t1c --t2w --t2f",
    )


def _nothing_found(path: Path) -> CaseError:
    files = [file for folder in walk(path) for _, file in folder.files] if path.is_dir() else []
    count = sum(".nii" in file.name.lower() for file in files)
    formats = Counter(f for file in files[:_MOST_OPENED] if file.is_file() and (f := format_of_file(file)))
    others = "".join(f"; {kind}, {number} times" for (kind, _), number in formats.most_common(3))
    return CaseError(
        "E-NOCASE",
        f"no case in {path} ({count} NIfTI files there{others})",
        expected="files named as in a layout of docs/get-started.md, such as " + "; ".join(_SHOWN),
        remedy=f"{formats.most_common(1)[0][0][1]}, then give the four files with --t1n --t1c --t2w --t2f"
        if formats and not count
        else "rename the files, give the four with --t1n --t1c --t2w --t2f, or give a CSV list "
        "with the columns case, t1n, t1c, t2w, t2f",
    )
