"""The folder of one result: the only module that knows its file names, reads its files and verifies them.

run.json is written last and holds the SHA-256 of every other file. A file that it does not list was written
by another program, and a label map that differs from it was edited by hand: neither is ever replaced.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gliomaseg.errors import CaseError, OutputError
from gliomaseg.labels import Modality
from gliomaseg.storage import files
from gliomaseg.storage.guard import BROWSERS_OWN, refuse_inputs
from gliomaseg.storage.record import IDENTITY, RUN_SCHEMA, is_newer, parse_record, renamed

RECORD = "run.json"
LABELS = "seg.nii.gz"
REPORT = "report.html"
REPORT_DATA = "report.json"
MEASUREMENTS = "measurements.json"
TABLE = "measurements.csv"
OVERVIEW = "overview.png"
THUMBNAIL = "thumbnail.jpg"
#: The folder of a raw exam's brain mask and transforms, and of its standardised images if they are kept.
STANDARDISED = "standardised"
#: The sequence on whose grid the label map lies is the first of these that a case has.
_FIRST = (Modality.T1C, Modality.T1N, Modality.T2W, Modality.T2F)

#: A run.json with none of these keys was written by another program.
_OURS = frozenset({"gliomaseg", "outputs", "scheme"})

_REPLACE = "choose another folder with -o, or replace it with --overwrite"
#: The remedy where --overwrite would lose work.
_MOVE = "move it away to keep it, or choose another folder with -o"


def native_labels(modality: str) -> str:
    """Return the name of the label map on the grid of a sequence."""
    return f"seg_{modality}.nii.gz"


@dataclass(frozen=True)
class ResultFolder:
    """The folder of one case, existing or not."""

    path: Path

    @classmethod
    def of(cls, labels: Path) -> ResultFolder | None:
        """Return the result with the label map ``labels``, run.json damaged or not; None for other maps."""
        found = cls(labels.parent)
        return found if labels.name == LABELS and found.is_result(damaged=True) else None

    def is_result(self, *, damaged: bool = False) -> bool:
        """Return whether gliomaseg wrote this folder (other programs write a run.json, too).

        ``damaged`` is the answer for a run.json that can't be read.
        """
        if not os.path.lexists(self.path / RECORD):
            return False
        try:
            content = files.read_json(self.path / RECORD)
        except (OSError, ValueError):
            return damaged
        return not _OURS.isdisjoint(content) if isinstance(content, dict) else damaged

    def read(self) -> dict[str, Any]:
        """Return run.json, checked; raises CaseError (E-REPORT) if it is missing, damaged or too new."""
        try:
            content = files.read_json(self.path / RECORD)
            if not is_newer(content):
                return parse_record(content)
        except OSError as error:
            raise self.damaged(RECORD, error.strerror or str(error)) from error
        except ValueError as error:
            raise self.damaged(RECORD, str(error)) from error
        raise CaseError(
            "E-REPORT",
            f"{self.path / RECORD} was written by a newer gliomaseg: schema {content['schema_version']}",
            expected=f"schema {RUN_SCHEMA} or older",
            remedy="upgrade gliomaseg, or segment the case again into another folder",
        )

    def measurements(self) -> dict[str, Any]:
        """Return measurements.json with today's keys; raises CaseError (E-REPORT)."""
        return renamed(json.loads(self.bytes_of(MEASUREMENTS)))

    def has(self, name: str) -> bool:
        """Return whether a file of this name was written; raises as ``read``."""
        return name in self.read()["outputs"]

    def bytes_of(self, name: str) -> bytes:
        """Return the content of a file after comparing its hash; raises CaseError (E-REPORT)."""
        try:
            with files.open_regular(self.path / name) as stream:
                content = stream.read()
        except OSError as error:
            raise self.damaged(name, error.strerror or str(error)) from error
        if hashlib.sha256(content).hexdigest() != self.read()["outputs"].get(name):
            raise self.damaged(name, "its SHA-256 is not the one in run.json")
        return content

    def label_maps(self) -> dict[Modality, str]:
        """Return the file of each label map by the sequence on whose grid it lies; raises as ``read``."""
        record = self.read()
        used = [modality for modality in _FIRST if modality in record.get("inputs", {})]
        own = {used[0]: LABELS} if used else {}
        more = {m: name for m in Modality if (name := native_labels(m)) in record["outputs"]}
        return own | {modality: name for modality, name in more.items() if modality not in own}

    def edited(self) -> bool:
        """Return whether the label map was changed since it was written; raises as ``read``."""
        labels = self.path / LABELS
        if not self.has(LABELS) or not labels.is_file():
            return False
        return files.sha256_of(labels) != str(self.read()["outputs"][LABELS])

    def is_whole(self) -> bool:
        """Return whether every file that was written exists unchanged; raises as ``read``."""
        record = self.read()
        return not self._missing(record) and not self._changed(record)

    def same_as(self, wanted: Callable[[], Mapping[str, Any]]) -> bool:
        """Return whether this is a whole result with the provenance ``wanted``; else it is to be computed.

        ``wanted`` is called only if there is a whole result. Raises OutputError (E-EXISTS) if a new one would
        destroy something: another result, an edited one, or files of another program.
        """
        if self._is_free():
            return False
        record = self._own_record()
        if changed := self._changed(record):
            self._require_replaceable(record)
            raise self._in_the_way(f"holds a result that was edited since ({', '.join(changed)})", _REPLACE)
        if self._missing(record):
            self._require_replaceable(record)
            return False
        plain = json.loads(json.dumps(dict(wanted())))
        if differing := [key for key in IDENTITY if record.get(key) != plain.get(key)]:
            raise self._in_the_way(f"holds another result: its {', '.join(differing)} differ", _REPLACE)
        if record.get("windowed") and not plain.get("windowed"):
            raise self._in_the_way("holds a result computed in windows, for want of memory", _REPLACE)
        return True

    @contextmanager
    def write(self, *, overwrite: bool = False, inputs: Iterable[Path] = ()) -> Iterator[Path]:
        """Yield a draft that replaces this folder when the block ends; ``seal`` it last.

        Raises OutputError: E-OUTPUT if one of ``inputs`` is in here, E-EXISTS for what must not be replaced
        (anything without ``overwrite``; an edited label map and other programs' files even with it), E-DISK,
        E-PERM.
        """
        refuse_inputs(self.path.parent, [self.path], inputs)
        files.make_folder(self.path.parent)
        if not self._is_free():
            self._require_replaceable(self._own_record())
            if not overwrite:
                raise self._in_the_way("exists already and holds another result", _REPLACE)
        with files.open_folder(self.path) as draft:
            yield draft

    def _is_free(self) -> bool:
        return not self.path.exists() or (self.path.is_dir() and not self._names())

    def _names(self) -> set[str]:
        try:
            return {name for name in _names_in(self.path) if Path(name).name not in BROWSERS_OWN}
        except OSError as error:
            raise files.output_error(error, self.path) from error

    def _missing(self, record: Mapping[str, Any]) -> list[str]:
        return [name for name in record["outputs"] if not (self.path / name).is_file()]

    def _changed(self, record: Mapping[str, Any], names: Iterable[str] | None = None) -> list[str]:
        """Return which of ``names``, by default of all files, exist with another content than written."""
        wanted = record["outputs"]
        there = [name for name in names or wanted if name in wanted and (self.path / name).is_file()]
        return [name for name in there if files.sha256_of(self.path / name) != wanted[name]]

    def _own_record(self) -> dict[str, Any]:
        """Return run.json of a folder that is to be replaced; raises OutputError (E-EXISTS)."""
        if not self.is_result(damaged=True):
            some = ", ".join(sorted(self._names())[:3])
            raise self._in_the_way(f"holds files that are not a result of gliomaseg: {some}")
        try:
            return self.read()
        except CaseError as error:
            raise self._in_the_way(f"holds a result that can't be verified: {error.what}") from error

    def _require_replaceable(self, record: Mapping[str, Any]) -> None:
        """Raise OutputError (E-EXISTS) for files of another program and for an edited label map."""
        if foreign := sorted(self._names() - record["outputs"].keys() - {RECORD}):
            some = ", ".join(foreign[:3])
            raise self._in_the_way(f"holds files that gliomaseg did not write: {some}")
        if self._changed(record, [LABELS]):
            raise self._in_the_way(f"holds a {LABELS} that was edited by hand")

    def _in_the_way(self, what: str, remedy: str = _MOVE) -> OutputError:
        return OutputError(
            "E-EXISTS",
            f"{self.path} {what}",
            expected="a case folder that is not there yet, or the same result",
            remedy=remedy,
        )

    def damaged(self, name: str, reason: str) -> CaseError:
        """Return the E-REPORT error of a file that gliomaseg did not write like this."""
        return CaseError(
            "E-REPORT",
            f"{self.path / name} is not as gliomaseg wrote it: {reason}",
            expected="results in which nothing but the label map was changed",
            remedy=f"segment the case again, or remove {RECORD}: the label map then counts as made elsewhere",
        )


def _names_in(folder: Path) -> list[str]:
    """Return the path in ``folder`` of each file, link and empty folder, with slashes."""
    names = []
    for path in folder.iterdir():
        inner = _names_in(path) if path.is_dir() and not path.is_symlink() else []
        names += [f"{path.name}/{name}" for name in inner] or [path.name]
    return names


def seal(draft: Path, record: Mapping[str, Any]) -> None:
    """Write run.json into a draft, last: the record, and the SHA-256 of every other file."""
    outputs = {name: files.sha256_of(draft / name) for name in sorted(_names_in(draft))}
    files.write_json(draft / RECORD, {**record, "outputs": outputs})
