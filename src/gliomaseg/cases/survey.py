"""``gliomaseg check``: what is wrong with each of many cases, before any work is done with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gliomaseg.cases.case import Case
from gliomaseg.cases.case_table import understood
from gliomaseg.cases.check import check_reference, read_headers
from gliomaseg.cases.content import check_content, check_reference_content
from gliomaseg.cases.sequences import anonymous
from gliomaseg.cases.standardise import standardise
from gliomaseg.errors import GliomasegError, Note, as_coded
from gliomaseg.imaging.nifti import read_labels
from gliomaseg.labels import Modality


@dataclass(frozen=True)
class Finding:
    """What was found about one case."""

    case: Case
    notes: tuple[Note, ...] = ()
    error: GliomasegError | None = None

    @property
    def case_id(self) -> str:
        """Return the id of the case."""
        return self.case.id

    @property
    def state(self) -> Literal["pass", "warn", "fail"]:
        """Return fail for an error, warn for warnings, else pass."""
        return "fail" if self.error else "warn" if self.notes else "pass"

    def rows(self) -> list[list[str]]:
        """Return one row for each remark: id, state, code, reason, remedy."""
        found = [(note.code, note.what, note.remedy) for note in self.notes]
        if self.error:
            found.insert(0, (self.error.code, self.error.what, self.error.remedy))
        return [[self.case_id, self.state, *remark] for remark in found or [("", "", "")]]

    def as_dict(self, root: Path) -> dict[str, Any]:
        """Return everything as plain values, for JSON; paths are relative to ``root`` if below it."""
        return {
            "case": self.case_id,
            **understood(self.case, root),
            "state": self.state,
            "error": self.error.as_dict() if self.error else None,
            "notes": [note._asdict() for note in self.notes],
        }


def survey(
    cases: Sequence[Case], *, deep: bool = False, modalities: Sequence[Modality] = ()
) -> Iterator[Finding]:
    """Yield what is wrong with each case by its headers; with ``deep`` all voxels are read and looked at.

    All of ``modalities`` must be there; without any given, a missing one is no more than a warning.
    """
    for case in cases:
        try:
            wanted = modalities or case.present(tuple(Modality))
            notes = (_look_at if deep else read_headers)(case, wanted)
            yield Finding(case, (*_gaps(case, modalities), *notes))
        except Exception as error:  # noqa: BLE001 (whatever it is, the other cases are looked at)
            yield Finding(case, error=as_coded(error).reworded(case.anonymous))


def _gaps(case: Case, required: Sequence[Modality]) -> tuple[Note, ...]:
    missing = [m for m in Modality if m not in case.images]
    if required or not missing:
        return ()
    what = f"case {case.id} has no {', '.join(missing)}"
    return (
        Note("W-MISSING", what, "the shipped model can do without; others only if they were trained for it"),
    )


def require_sound(cases: Sequence[Case], modalities: Sequence[Modality]) -> None:
    """Raise what is wrong with the first bad case by its headers, and say how many others are bad."""
    errors = [found.error for found in survey(cases, modalities=modalities) if found.error]
    if len(errors) > 1:
        more = f" ({len(errors) - 1} other cases are bad too: gliomaseg check lists them)"
        raise errors[0].reworded(lambda text: text + more if text == errors[0].what else text)
    if errors:
        raise errors[0]


def _look_at(case: Case, modalities: Sequence[Modality]) -> tuple[Note, ...]:
    standardised = standardise(case, modalities)
    volume = check_content(standardised.volume, case.id)
    if case.reference is None:
        return volume.notes
    reference = read_labels(case.reference, case.scheme)
    check_reference(case, standardised.own, reference.grid)
    found = check_reference_content(volume, standardised.forward(reference), case.id)
    return anonymous(case, (*volume.notes, *found))
