"""Which subject and session of a BIDS data set a case is, as the tables of the data set record it.

BIDS allows letters and digits in labels, nothing else: ``BraTS-GLI-00006-101`` becomes subject
``BraTSGLI00006``, session ``101``. The tables keep the original ids, and a label that was given stays given:
another id with the same letters and digits gets one with a part of its hash.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from gliomaseg.cases.case import Case
from gliomaseg.errors import OutputError
from gliomaseg.storage import files
from gliomaseg.storage.tables import cell

#: The column of the original id.
SOURCE = "source_id"
#: File systems allow names of 255 bytes; one holds both labels and up to 60 characters more.
_LONGEST = 64
#: The length of the part of a hash.
_DIGEST = 6
_EMPTY = "n/a"


@dataclass(frozen=True)
class Entities:
    """The subject and session of a case, without their prefixes; ``session`` is empty if there is none."""

    subject: str
    session: str = ""

    @property
    def stem(self) -> str:
        """Return what every file name of the case begins with, such as ``sub-1_ses-2``."""
        return f"sub-{self.subject}" + (f"_ses-{self.session}" if self.session else "")


@dataclass
class _Table:
    """participants.tsv, or sessions.tsv of one subject; columns of other programs are kept."""

    path: Path
    key: str
    prefix: str
    rows: list[dict[str, str]] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path, key: str, prefix: str) -> _Table:
        """Return the table in a file, an empty one if there is none. Raises OutputError (E-OUTPUT)."""
        try:
            lines = path.read_text("utf-8-sig").splitlines() if path.exists() else []
        except (OSError, UnicodeError) as error:
            raise OutputError(
                "E-OUTPUT",
                f"{path} can't be read: {error}",
                expected="the table as gliomaseg wrote it",
                remedy="remove it: it is written again",
            ) from error
        header, *rows = [line.split("\t") for line in lines if line] or [[]]
        return cls(path, key, prefix, [dict(zip(header, row, strict=False)) for row in rows])

    def label(self, source: str) -> str:
        """Return the label of an original id: the recorded one, or a new one, which is then recorded."""
        shown = _shown(source)
        known = {row.get(self.key, "").removeprefix(self.prefix): row.get(SOURCE) for row in self.rows}
        if recorded := next((label for label, found in known.items() if found == shown), None):
            return recorded
        label = plain(source.removeprefix(self.prefix))
        if label.casefold() in {found.casefold() for found in known}:
            label = label[: _LONGEST - _DIGEST] + _digest(source)
        self.rows.append({self.key: f"{self.prefix}{label}", SOURCE: shown})
        return label

    def write(self) -> None:
        """Write the rows of the labels that have a folder, if they changed, and what the column means.

        Raises OutputError.
        """
        rows = [row for row in self.rows if (self.path.parent / row.get(self.key, "")).is_dir()]
        rows.sort(key=lambda row: row[self.key])
        columns = dict.fromkeys([self.key, SOURCE, *(name for row in rows for name in row)])
        lines = [list(columns), *([row.get(name) or _EMPTY for name in columns] for row in rows)]
        if rows:
            write_if_changed(self.path, "".join("\t".join(line) + "\n" for line in lines))
            sidecar = self.path.with_suffix(".json")
            if not sidecar.exists():
                files.write_json(
                    sidecar, {SOURCE: {"Description": "The id in the images that were segmented"}}
                )


class Labels:
    """The labels of the cases of one data set, from its tables."""

    def __init__(self, root: Path) -> None:
        """Read participants.tsv in the folder of the data set; raises OutputError (E-OUTPUT)."""
        self._root = root
        self._participants = _Table.read(root / "participants.tsv", "participant_id", "sub-")
        self._sessions: dict[str, _Table] = {}

    def of(self, case_id: str) -> Entities:
        """Return subject and session of a case, by its id alone; raises OutputError (E-OUTPUT)."""
        case = Case(case_id, {})
        subject = self._participants.label(case.patient)
        if not case.session:
            return Entities(subject)
        if subject not in self._sessions:
            path = self._root / f"sub-{subject}" / f"sub-{subject}_sessions.tsv"
            self._sessions[subject] = _Table.read(path, "session_id", "ses-")
        return Entities(subject, self._sessions[subject].label(case.session))

    def write(self) -> None:
        """Write the tables that changed; raises OutputError."""
        for table in (self._participants, *self._sessions.values()):
            table.write()


def in_order(case_ids: Iterable[str]) -> list[str]:
    """Return ids in the order in which they get labels: first those that are labels as they are."""

    def is_changed(case_id: str) -> bool:
        patient = Case(case_id, {}).patient.removeprefix("sub-")
        return plain(patient) != patient

    return sorted(case_ids, key=lambda case_id: (is_changed(case_id), case_id))


def plain(text: str) -> str:
    """Return the letters and digits of ``text``, with a part of its hash if there are none or too many."""
    label = re.sub(r"[^A-Za-z0-9]", "", text)
    if not label or len(label) > _LONGEST:
        return label[: _LONGEST - _DIGEST] + _digest(text)
    return label


def write_if_changed(path: Path, text: str) -> None:
    """Write a text file, whole or not at all, unless it has this content. Raises OutputError."""
    if not path.is_file() or path.read_bytes() != text.encode("utf-8", errors="backslashreplace"):
        files.write_text(path, text)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:_DIGEST]


def _shown(text: str) -> str:
    """Return an id as it is written into a table, and read from it."""
    return cell(text).encode("utf-8", errors="backslashreplace").decode()
