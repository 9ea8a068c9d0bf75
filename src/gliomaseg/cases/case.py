"""Case: the files of one patient at one timepoint, and its id.

A case that was found but can't be used (two files for one sequence, an unreadable folder) carries its error
instead of raising it, so that the other cases go on; it is raised when the sequences are asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from gliomaseg.cases.layouts import EXAMPLE
from gliomaseg.errors import CaseError, GliomasegError, Note, UsageError
from gliomaseg.labels import BRATS2021, MODALITY_NAMES, LabelScheme, Modality

Given = TypeVar("Given")

#: Ids that name a patient and a session (in BraTS 2023 and later: the timepoint).
_SESSIONS = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(BraTS-[a-z]+-\d+)-(\d{3})",
        r"(sub-[^_]+)_(ses-[^_]+)",
        r"(UCSF-PDGM-\d+)_(FU\d+d)",
        r"(UPENN-GBM-\d+)_(\d+)",
        r"(TCGA-\w\w-\w{4})_(\d{4}\.\d\d\.\d\d)",
        r"(BraTSReg_\d+)_(\d\d(?:_\d{4})?)",
        r"(Patient-\d+)_(week-[\d-]+)",
    )
]
#: The longest id, in bytes: file systems allow names of 255, and lock and draft files add a prefix.
_LONGEST_ID = 200
#: Names that Windows reserves, and the file beside the cases' folders in the results.
_RESERVED = re.compile(
    r"(?:con|prn|aux|nul|com[1-9]|lpt[1-9])(?:\..*)?|summary\.csv", re.IGNORECASE | re.DOTALL
)
_ID_EXPECTED = f"a valid folder name, also on Windows, of at most {_LONGEST_ID} bytes"


@dataclass(frozen=True)
class Case:
    """One patient at one timepoint: the files of its sequences, and its reference if there is one.

    ``channels`` is the volume of each sequence in files that hold several (counted from 0). ``patient`` and
    ``session`` come from the id unless given. ``layout`` is the name of a row of ``layouts.LAYOUTS``;
    ``unknown`` are images in its folder whose names no layout knows. ``brain_mask`` is a mask drawn on one of
    the sequences, for raw exams: without it, the brain is extracted.
    """

    id: str
    images: Mapping[Modality, Path]
    reference: Path | None = None
    scheme: LabelScheme = BRATS2021
    patient: str = ""
    session: str = ""
    layout: str = ""
    channels: Mapping[Modality, int] = field(default_factory=dict)
    unknown: tuple[Path, ...] = ()
    error: GliomasegError | None = None
    brain_mask: Path | None = None

    def __post_init__(self) -> None:
        named = next((match for pattern in _SESSIONS if (match := pattern.fullmatch(self.id))), None)
        patient, session = (named[1], named[2]) if named else (self.id, "")
        object.__setattr__(self, "patient", self.patient or patient)
        object.__setattr__(self, "session", self.session or session)

    @property
    def files(self) -> tuple[Path, ...]:
        """Return every file of the case: its images, and its reference and brain mask if there are."""
        return (*self.images.values(), *(path for path in (self.reference, self.brain_mask) if path))

    def anonymous(self, text: str) -> str:
        """Return ``text`` without the paths of the case's files, as far as they reveal more than its id.

        A folder or file may be named after the patient; nothing that is stored may repeat that name.
        """
        more = {"reference": self.reference, "brain mask": self.brain_mask}
        paths: dict[str, Path] = {modality.value: path for modality, path in self.images.items()}
        paths |= {role: path for role, path in more.items() if path}
        for role, path in paths.items():
            name = path.name if path.name.startswith(self.id) else f"the {role} image"
            text = text.replace(str(path), name)
            if path.suffix:  # not the end of a longer name
                text = name.join(re.split(rf"(?<![\w-]){re.escape(path.name)}", text))
        return text

    def anonymous_notes(self, notes: Iterable[Note]) -> tuple[Note, ...]:
        """Return each note once, sorted, without the paths of the case's files."""
        return tuple(dict.fromkeys(note._replace(what=self.anonymous(note.what)) for note in sorted(notes)))

    def require(self, modalities: Iterable[Modality]) -> Case:
        """Return the case if it has all ``modalities``; raises its own error, or CaseError (E-MODALITY)."""
        missing = [m for m in modalities if m not in self.images]
        if self.error and (missing or self.error.code != "E-UNKNOWN"):  # the missing one may not be needed
            raise self.error
        if missing:
            raise CaseError(
                "E-MODALITY",
                f"case {self.id} has no {', '.join(missing)}",
                expected="the sequences " + ", ".join(modalities),
                remedy="add the missing file, named as in " + EXAMPLE,
            )
        return self

    def present(self, modalities: Sequence[Modality]) -> tuple[Modality, ...]:
        """Return those of ``modalities`` that the case has; raises CaseError (E-MODALITY) for none."""
        found = tuple(m for m in modalities if m in self.images)
        if self.error or not found:
            self.require(modalities)
        return found

    @property
    def notes(self) -> tuple[Note, ...]:
        """Return a note of the files that were left out, if any."""
        if not self.unknown:
            return ()
        what = f"case {self.id}: {list_unknown(self.unknown)}"
        return (Note("W-UNKNOWN", what, f"{'it was' if len(self.unknown) == 1 else 'they were'} left out"),)


def list_unknown(paths: Sequence[Path]) -> str:
    """Return a clause that counts and names the images whose names no layout knows."""
    names = ", ".join(path.name for path in paths[:5]) + (", ..." if len(paths) > 5 else "")
    return f"{len(paths)} image{'s were' if len(paths) > 1 else ' was'} not understood by name: {names}"


def by_modality(given: Mapping[str, Given]) -> dict[Modality, Given]:
    """Return the values by modality, in the order t1n, t1c, t2w, t2f; raises CaseError (E-MODALITY)."""
    for name in given:
        if name.lower() not in MODALITY_NAMES:
            raise CaseError(
                "E-MODALITY",
                f"there is no modality {name!r}",
                expected="one of " + ", ".join(MODALITY_NAMES),
                remedy="use t1n for T1, t1c for T1 with contrast, t2w for T2, t2f for FLAIR",
            )
    found = {MODALITY_NAMES[name.lower()]: image for name, image in given.items()}
    if len(found) < len(given):
        raise CaseError(
            "E-MODALITY",
            f"a modality is given twice: {', '.join(given)}",
            expected="one image for each of " + ", ".join(Modality),
            remedy="t1 is another name of t1n, t1ce of t1c, t2 of t2w, flair of t2f",
        )
    return {m: found[m] for m in Modality if m in found}


def is_id(text: str) -> bool:
    """Return whether a case can have this id: a folder name that is valid here and on Windows."""
    return (
        bool(text)
        and len(text.encode(errors="surrogateescape")) <= _LONGEST_ID
        and text[0] != "."
        and text[-1] not in ". "
        and not set("/\\\0") & set(text)
        and not _RESERVED.fullmatch(text)
    )


def bad_id(text: str) -> CaseError:
    """Return the error of an id that is no valid folder name."""
    shown = text if len(text) < 60 else f"{text[:50]}..., {len(text)} characters"
    return CaseError(
        "E-ID",
        f"{shown!r} can't be the id of a case",
        expected=_ID_EXPECTED,
        remedy="list the cases in a CSV file with other ids: no slash, no dot at the start, no dot or space "
        "at the end, no name that Windows reserves (con, nul, ...)",
    )


def require_id(case_id: str) -> None:
    """Raise UsageError (E-USAGE) for an id that is no valid folder name."""
    if not is_id(case_id):
        raise UsageError("E-USAGE", bad_id(case_id).what, expected=_ID_EXPECTED, remedy="give another --id")
