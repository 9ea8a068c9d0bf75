"""Cases: one patient at one timepoint, on disk. Found by name alone; nothing is opened but dataset.json.

A case that was found but can't be used (two files for one sequence, a folder that can't be read, an image
whose name no layout knows where a sequence is missing) carries its error, so that the others go on; whoever
asks it for sequences meets the error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from gliomaseg.cases.case_id import split_id
from gliomaseg.cases.layouts import EXAMPLE, LAYOUTS
from gliomaseg.errors import CaseError, GliomasegError, Note
from gliomaseg.labels import BRATS2021, MODALITY_NAMES, LabelScheme, Modality

Given = TypeVar("Given")

#: How many files are opened to tell what they are, where none was understood by its name.
_MOST_OPENED = 1000
#: Which layouts errors show.
_SHOWN = [
    layout.example for layout in LAYOUTS if layout.name in ("BraTS 2018 to 2021", "BIDS", "plain", "MSD")
]


@dataclass(frozen=True)
class Case:
    """One patient at one timepoint: where its sequences lie, and its reference if there is one.

    ``channels`` says which volume a sequence is where a file holds several (counted from 0). ``patient`` and
    ``session`` are told from the id if they are not given. ``layout`` is the name of a row of
    ``layouts.LAYOUTS``, ``unknown`` are images in its folder that no layout knows.
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

    def __post_init__(self) -> None:
        patient, session = split_id(self.id)
        object.__setattr__(self, "patient", self.patient or patient)
        object.__setattr__(self, "session", self.session or session)

    @property
    def files(self) -> tuple[Path, ...]:
        """Return every file of the case: its images, and its reference if there is one."""
        return (*self.images.values(), *([self.reference] if self.reference else []))

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
        """Return the case, proven to have all of ``modalities``; raises E-MODALITY or the case's error."""
        missing = [m for m in modalities if m not in self.images]
        if self.error and (missing or self.error.code != "E-UNKNOWN"):  # what is not wanted is not missed
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
        """Return what is to be noted of the files that were found."""
        if not self.unknown:
            return ()
        what = f"case {self.id}: {listed(self.unknown)}"
        return (
            Note("W-UNKNOWN", what, "it was left out" if len(self.unknown) == 1 else "they were left out"),
        )


def by_modality(given: Mapping[str, Given]) -> dict[Modality, Given]:
    """Return what is given by any names of sequences, in their order; raises CaseError (E-MODALITY)."""
    found = {_modality(name): image for name, image in given.items()}
    if len(found) < len(given):
        raise CaseError(
            "E-MODALITY",
            f"a modality is given twice: {', '.join(given)}",
            expected="one image for each of " + ", ".join(Modality),
            remedy="t1 is another name of t1n, t1ce of t1c, t2 of t2w, flair of t2f",
        )
    return {m: found[m] for m in Modality if m in found}


def _modality(name: str) -> Modality:
    if name.lower() in MODALITY_NAMES:
        return MODALITY_NAMES[name.lower()]
    raise CaseError(
        "E-MODALITY",
        f"there is no modality {name!r}",
        expected="one of " + ", ".join(MODALITY_NAMES),
        remedy="t1n is T1, t1c T1 with contrast, t2w T2, t2f FLAIR",
    )


def listed(paths: Sequence[Path]) -> str:
    """Return in words which images no layout knows."""
    names = ", ".join(path.name for path in paths[:5]) + (", ..." if len(paths) > 5 else "")
    return f"{len(paths)} image{'s were' if len(paths) > 1 else ' was'} not understood by name: {names}"
