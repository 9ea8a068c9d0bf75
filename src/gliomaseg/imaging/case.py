"""Cases: one patient at one timepoint, on disk. Found by name alone; nothing is opened here."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gliomaseg.errors import CaseError, UsageError
from gliomaseg.imaging.layouts import LAYOUTS, STRAY_REFERENCE, Part, parse_name
from gliomaseg.imaging.nifti import missing_file
from gliomaseg.labels import BRATS2021, MODALITY_NAMES, LabelScheme, Modality
from gliomaseg.storage.result_folder import ResultFolder

_ID_COLUMNS = ("case", "id", "case_id", "subject", "patient")
_REFERENCE_COLUMNS = ("seg", "reference", "label", "labels")
_BRATS2023_ID = re.compile(r"(BraTS-[A-Za-z]+-\d+)-\d{3}")


@dataclass(frozen=True)
class Case:
    """One patient at one timepoint: where its sequences lie, and its reference if there is one."""

    id: str
    images: Mapping[Modality, Path]
    reference: Path | None = None
    scheme: LabelScheme = BRATS2021

    @property
    def patient(self) -> str:
        """Return whom the case is of: BraTS 2023 ids end in the timepoint, the others are the patient."""
        match = _BRATS2023_ID.fullmatch(self.id)
        return match[1] if match else self.id

    @property
    def files(self) -> tuple[Path, ...]:
        """Return every file of the case: its images, and its reference if there is one."""
        return (*self.images.values(), *([self.reference] if self.reference else []))

    @classmethod
    def from_folder(cls, folder: str | Path) -> Case:
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

    def anonymous(self, text: str) -> str:
        """Return ``text`` with no more of the paths of the case's files than its id tells.

        A folder or file may be named after the patient: what is written down must not repeat it.
        """
        paths: dict[str, Path] = {modality.value: path for modality, path in self.images.items()}
        if self.reference:
            paths["reference"] = self.reference
        for part, path in paths.items():
            name = path.name if path.name.startswith(self.id) else f"the {part} image"
            text = text.replace(str(path), name)
            text = text.replace(path.name, name) if path.suffix else text
        return text

    def require(self, modalities: Iterable[Modality]) -> Case:
        """Return the case, proven to have all of ``modalities``; raises CaseError (E-MODALITY)."""
        missing = [m for m in modalities if m not in self.images]
        if missing:
            raise CaseError(
                "E-MODALITY",
                f"case {self.id} has no {', '.join(missing)}",
                expected="the sequences " + ", ".join(modalities),
                remedy="add the missing file, named as in " + LAYOUTS[1].example,
            )
        return self

    def present(self, modalities: Sequence[Modality]) -> tuple[Modality, ...]:
        """Return those of ``modalities`` that the case has; raises CaseError (E-MODALITY) for none."""
        found = tuple(m for m in modalities if m in self.images)
        if not found:
            self.require(modalities)
        return found


def find_cases(path: str | Path, *, scheme: LabelScheme | None = None) -> list[Case]:
    """Return the cases under a folder at any depth, or of a CSV list, sorted by id.

    ``scheme`` overrides the label scheme that the layout implies. A case with missing sequences is
    returned as it is. Raises ImageError (E-NOFILE), CaseError (E-NOCASE, E-DUPID, E-MANIFEST).
    """
    path = Path(path)
    if not path.exists():
        raise missing_file(path)
    if path.name.lower().endswith((".nii", ".nii.gz")) and not path.is_dir():
        raise _one_image(path)
    if path.is_file():
        cases = _read_manifest(path)
    else:
        cases = [case for folder in _folders(path) for case in _scan_folder(folder)]
    if not cases:
        raise _nothing_found(path)
    _refuse_duplicates(cases)
    return sorted((replace(c, scheme=scheme) if scheme else c for c in cases), key=lambda c: c.id)


def case_of_files(images: Mapping[str, str | Path], case_id: str | None = None) -> Case:
    """Return the case made of files given by modality name, such as ``{"t1n": "a.nii.gz", ...}``.

    Without ``case_id`` the files' common id is taken when they are named like a data set's, else
    "case". Raises ImageError (E-NOFILE), CaseError (E-MODALITY) for an unknown modality, UsageError (E-USAGE)
    for an id that can't be a folder's name.
    """
    if case_id is not None and not _is_id(case_id):
        raise UsageError(
            "E-USAGE",
            f"{case_id!r} can't be the id of a case",
            expected="a name that a folder can bear",
            remedy="leave out slashes, and a dot at the beginning",
        )
    paths = {_modality(name): Path(path) for name, path in images.items()}
    if len(paths) < len(images):
        raise CaseError(
            "E-MODALITY",
            f"a modality is given twice: {', '.join(images)}",
            expected="one file for each of " + ", ".join(Modality),
            remedy="t1 is another name of t1n, t1ce of t1c, t2 of t2w, flair of t2f",
        )
    for path in paths.values():
        if not path.exists():
            raise missing_file(path)
    ids = {part.case_id for part in (parse_name(path.name) for path in paths.values()) if part}
    found = ids.pop() if len(ids) == 1 else "case"
    return Case(case_id or found, {m: paths[m] for m in Modality if m in paths})


def _modality(name: str) -> Modality:
    if name.lower() in MODALITY_NAMES:
        return MODALITY_NAMES[name.lower()]
    raise CaseError(
        "E-MODALITY",
        f"there is no modality {name!r}",
        expected="one of " + ", ".join(MODALITY_NAMES),
        remedy="t1n is T1, t1c T1 with contrast, t2w T2, t2f FLAIR",
    )


def _is_id(text: str) -> bool:
    return bool(text) and not text.startswith(".") and not set("/\\\0") & set(text)


def _folders(root: Path) -> Iterator[Path]:
    """Yield ``root`` and what lies below it, each folder once: links are followed.

    Hidden folders are left out, and gliomaseg's own results: they are no data.
    """
    seen: set[Path] = set()
    for name, inner, _ in os.walk(root, followlinks=True):
        real = Path(name).resolve()
        is_new = real not in seen and not ResultFolder(real).is_result
        inner[:] = sorted(n for n in inner if not n.startswith(".")) if is_new else []
        if is_new:
            seen.add(real)
            yield Path(name)


def _scan_folder(folder: Path) -> list[Case]:
    files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    found: dict[str, list[tuple[Part, Path]]] = {}
    for file in files:
        part = parse_name(file.name)
        if part is not None:
            found.setdefault(part.case_id, []).append((part, file))
    cases = [_assemble(case_id, parts) for case_id, parts in found.items()]
    cases = [case for case in cases if case.images]
    strays = [file for file in files if STRAY_REFERENCE.fullmatch(file.name)]
    if len(cases) == len(strays) == 1 and cases[0].reference is None:
        return [replace(cases[0], reference=strays[0])]
    return cases


def _assemble(case_id: str, parts: list[tuple[Part, Path]]) -> Case:
    found: dict[Modality | None, Path] = {}
    for part, file in parts:
        other = found.setdefault(part.modality, file)
        if other is not file:
            raise CaseError(
                "E-DUPID",
                f"case {case_id} has two {part.modality or 'seg'} images: {other.name} and {file.name}",
                expected="one file per sequence",
                remedy=f"move one of them out of {file.parent}",
            )
    images = {m: found[m] for m in Modality if m in found}
    return Case(case_id, images, found.get(None), parts[0][0].scheme)


def _one_image(path: Path) -> CaseError:
    return CaseError(
        "E-NOCASE",
        f"{path} is one image, not a case",
        expected="a folder with a case's sequences, or a CSV list",
        remedy=f"give its folder {path.parent}, or name the four with --t1n --t1c --t2w --t2f",
    )


def _nothing_found(path: Path) -> CaseError:
    count = sum(1 for f in _folders(path) for p in f.iterdir() if ".nii" in p.name.lower())
    looked = "; ".join(layout.example for layout in LAYOUTS)
    return CaseError(
        "E-NOCASE",
        f"no case in {path} ({count} NIfTI files there)",
        expected=f"files named like {looked}",
        remedy="rename the files, name the four with --t1n --t1c --t2w --t2f, or give a CSV list "
        "with the columns case, t1n, t1c, t2w, t2f",
    )


def _refuse_duplicates(cases: Iterable[Case]) -> None:
    seen: dict[str, Case] = {}
    for case in cases:
        other = seen.setdefault(case.id.casefold(), case)
        if other is not case:
            first, second = (next(iter(c.images.values())).parent for c in (other, case))
            raise CaseError(
                "E-DUPID",
                f"two cases are called {case.id}: in {first} and in {second}",
                expected="one case per id (upper and lower case count as the same)",
                remedy="rename one of them or give a smaller folder",
            )


def _read_manifest(path: Path) -> list[Case]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        separator = max(",;\t", key=text.partition("\n")[0].count)
        reader = csv.DictReader(io.StringIO(text), delimiter=separator, skipinitialspace=True)
        rows = [(reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise _bad_manifest(path, "it is not a list with columns") from error
    names = {name.strip().lower(): name for name in reader.fieldnames or ()}
    id_column = next((names[n] for n in _ID_COLUMNS if n in names), None)
    columns = {names[n]: m for n, m in MODALITY_NAMES.items() if n in names}
    if id_column is None or not columns or len(set(columns.values())) < len(columns):
        raise _bad_manifest(path, f"its columns are {', '.join(names) or 'missing'}")
    reference = next((names[n] for n in _REFERENCE_COLUMNS if n in names), None)
    return [_from_row(path, line, row, (id_column, columns, reference)) for line, row in rows]


def _from_row(
    path: Path, line: int, row: dict[str, str], columns: tuple[str, dict[str, Modality], str | None]
) -> Case:
    id_column, modalities, reference = columns
    case_id = (row[id_column] or "").strip()
    if not _is_id(case_id):
        raise _bad_manifest(path, f"line {line} has the case id {case_id!r}, which no folder can bear")
    cells = {m: (row[c] or "").strip() for c, m in modalities.items()}
    images = {m: path.parent / cells[m] for m in Modality if cells.get(m)}
    if not images:
        raise _bad_manifest(path, f"line {line} names no image of case {case_id}")
    label = (row[reference] or "").strip() if reference else ""
    return Case(case_id, images, path.parent / label if label else None)


def _bad_manifest(path: Path, what: str) -> CaseError:
    return CaseError(
        "E-MANIFEST",
        f"{path} can't be read as a list of cases: {what}",
        expected="CSV with the columns case, t1n, t1c, t2w, t2f and, if there is one, seg",
        remedy="paths may be relative to the CSV file; separators may be comma, semicolon or tab",
    )
