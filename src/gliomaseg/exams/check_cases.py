"""``gliomaseg check``: the files of each of many cases, and their faults, before any work starts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gliomaseg.cases.case import Case
from gliomaseg.cases.content import check_content, check_reference_content
from gliomaseg.cases.csv_list import as_plain, volume_suffix
from gliomaseg.cases.headers import check_reference, read_headers
from gliomaseg.errors import GliomasegError, Note, as_coded
from gliomaseg.exams.standardise import standardise_exam
from gliomaseg.imaging.nifti import read_labels
from gliomaseg.labels import Modality

#: How many ways of naming files a table shows.
_MOST_SHOWN = 12


@dataclass(frozen=True)
class Finding:
    """One case with its notes, and the error that stops it if there is one."""

    case: Case
    notes: tuple[Note, ...] = ()
    error: GliomasegError | None = None

    @property
    def case_id(self) -> str:
        """Return the id of the case."""
        return self.case.id

    @property
    def state(self) -> Literal["pass", "warn", "fail"]:
        """Return fail for an error, warn for notes, else pass."""
        return "fail" if self.error else "warn" if self.notes else "pass"

    def rows(self) -> list[list[str]]:
        """Return a row for the error and for each note: id, state, code, reason, remedy."""
        found = [(note.code, note.what, note.remedy) for note in self.notes]
        if self.error:
            found.insert(0, (self.error.code, self.error.what, self.error.remedy))
        return [[self.case_id, self.state, *row] for row in found or [("", "", "")]]

    def as_dict(self, root: Path) -> dict[str, Any]:
        """Return everything as plain values, for JSON; paths below ``root`` are relative to it."""
        return {
            "case": self.case_id,
            **as_plain(self.case, root),
            "state": self.state,
            "error": self.error.as_dict() if self.error else None,
            "notes": [note._asdict() for note in self.notes],
        }


def check_cases(
    cases: Sequence[Case], *, deep: bool = False, modalities: Sequence[Modality] = ()
) -> Iterator[Finding]:
    """Yield the faults of each case, from its headers; with ``deep`` from all of its voxels.

    A missing sequence is an error if it is one of ``modalities``, and a note where none are given. Never
    raises: an error becomes part of the finding.
    """
    for case in cases:
        try:
            wanted = modalities or case.present(tuple(Modality))
            missing = _missing(case, modalities)
            yield Finding(case, (*missing, *(_read_all if deep else read_headers)(case, wanted)))
        except Exception as error:  # noqa: BLE001 (whatever it is, the other cases are checked)
            yield Finding(case, error=as_coded(error).reworded(case.anonymous))


def _missing(case: Case, required: Sequence[Modality]) -> tuple[Note, ...]:
    missing = [m for m in Modality if m not in case.images]
    if required or not missing:
        return ()
    what = f"case {case.id} has no {', '.join(missing)}"
    return (Note("W-MISSING", what, "the shipped model supports missing sequences; other models may not"),)


def _read_all(case: Case, modalities: Sequence[Modality]) -> tuple[Note, ...]:
    standardised = standardise_exam(case, modalities)
    volume = check_content(standardised.volume, case.id)
    if case.reference is None:
        return volume.notes
    reference = read_labels(case.reference, case.scheme)
    check_reference(case, standardised.own, reference.grid)
    found = check_reference_content(volume, standardised.forward(reference), case.id)
    return case.anonymous_notes((*volume.notes, *found))


def require_sound(cases: Sequence[Case], modalities: Sequence[Modality]) -> None:
    """Raise the error of the first case whose headers are faulty, with the number of other such cases."""
    errors = [found.error for found in check_cases(cases, modalities=modalities) if found.error]
    if len(errors) > 1:
        more = f" ({len(errors) - 1} more with errors: gliomaseg check lists them)"
        raise errors[0].reworded(lambda text: text + more if text == errors[0].what else text)
    if errors:
        raise errors[0]


def name_table(cases: Sequence[Case]) -> list[list[str]]:
    """Return a table of the files that make a case, one block for all cases named alike, under a header."""
    alike: dict[tuple[tuple[str, str], ...], list[Case]] = {}
    for case in cases:
        alike.setdefault((("", case.layout), *_roles(case)), []).append(case)
    rows = [["cases", "layout", "role", "file"]]
    for (layout, *roles), same in list(alike.items())[:_MOST_SHOWN]:
        heads = [(_count(same), layout[1]), *[("", "")] * (len(roles) - 1)]
        rows += [[*head, *role] for head, role in zip(heads, roles, strict=True)]
    rest = sum(map(len, list(alike.values())[_MOST_SHOWN:]))
    return [*rows, *([[f"{rest} others", "", "", "see --json or --draft"]] if rest else [])]


def _roles(case: Case) -> list[tuple[str, str]]:
    """Return the role of each file of a case, and its name."""
    roles = [(m.value, _in_folder(case, file) + volume_suffix(case, m)) for m, file in case.images.items()]
    roles += [(m.value, "(missing)") for m in Modality if m not in case.images]
    roles += [("reference", _in_folder(case, case.reference))] if case.reference else []
    return [*roles, *(("not understood", _in_folder(case, file)) for file in case.unknown)]


def _count(cases: Sequence[Case]) -> str:
    patients = len({case.patient for case in cases})
    whose = f" of {patients} patient{'s' * (patients > 1)}" if patients < len(cases) else ""
    return cases[0].id if len(cases) == 1 else f"{len(cases)}{whose}"


def _in_folder(case: Case, file: Path) -> str:
    """Return a file's name, after its folder's where the case's files are in several."""
    folders = {path.parent for path in case.images.values()}
    names = [file.name] if folders == {file.parent} else [file.parent.name, file.name]
    return "/".join(f"CASE{n[len(case.id) :]}" if n.startswith(case.id) else n for n in names)
