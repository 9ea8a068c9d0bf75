"""The outcome of each case of a cohort, and summary.csv: a row for every case of a folder of results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from gliomaseg.errors import GliomasegError, Note
from gliomaseg.storage import files
from gliomaseg.storage.guard import refuse_foreign
from gliomaseg.storage.result_folder import LABELS, ResultFolder
from gliomaseg.storage.tables import read_csv, to_csv

SUMMARY = "summary.csv"
Row = Mapping[str, object]
State = Literal["done", "unchanged", "failed", "locked"]

_VOLUMES = ("volume_ml", "volume_low_ml", "volume_high_ml")
#: ``path`` is relative to the table; a case that failed has neither numbers nor a path.
COLUMNS = (
    *("case", "state", "quality", "reasons", "edited", "missing"),
    *(f"{region}_{name}" for region in ("wt", "tc", "et") for name in _VOLUMES),
    *("voxel_mm", "error", "message", "path"),
)
_EDITED = "The label map was edited after it was written: gliomaseg report measures it anew."


@dataclass(frozen=True)
class Outcome:
    """The outcome of one case: a result, or an error."""

    case_id: str
    state: State
    folder: Path | None = None
    """Its folder of results, or the file if only the label map was wanted."""
    measurements: Mapping[str, Any] = field(default_factory=dict)
    error: GliomasegError | None = None
    notes: tuple[Note, ...] = ()
    record: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: ResultFolder) -> Outcome:
        """Return the outcome of a case with an unchanged result; raises CaseError (E-REPORT)."""
        record = folder.read()
        notes = tuple(Note(**note) for note in record.get("notes", ()))
        measured = folder.measurements()
        return cls(folder.path.name, "unchanged", folder.path, measured, notes=notes, record=record)

    def row(self) -> Row:
        """Return the case's row of summary.csv."""
        if self.error:
            message = {"error": self.error.code, "message": self.error.what}
            return {"case": self.case_id, "state": self.state, **message}
        regions = self.measurements.get("regions", ())
        return {
            "case": self.case_id,
            "state": self.state,
            "quality": self.measurements.get("quality"),
            "reasons": " ".join(self.measurements.get("reasons", ())),
            "edited": False,
            "missing": " ".join(self.record.get("missing", ())),
            **{f"{region['region']}_{name}": region[name] for region in regions for name in _VOLUMES},
            "voxel_mm": " x ".join(f"{length:.4g}" for length in self.record.get("voxel_mm", ())),
            "path": f"{self.case_id}/{LABELS}",
        }

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values, for JSON."""
        return {
            "case": self.case_id,
            "state": self.state,
            "quality": self.measurements.get("quality"),
            "reasons": self.measurements.get("reasons", []),
            "missing": self.record.get("missing", []),
            "voxel_mm": self.record.get("voxel_mm"),
            "folder": self.folder.name if self.folder else None,
            "path": self.row().get("path") if self.folder and self.folder.is_dir() else None,
            "measurements": self.measurements or None,
            "error": self.error.as_dict() if self.error else None,
            "notes": [note._asdict() for note in self.notes],
        }


def refuse_foreign_summary(output: Path, *, overwrite: bool) -> None:
    """Raise OutputError (E-EXISTS) if ``output`` holds a summary.csv of another program."""
    refuse_foreign(output / SUMMARY, [b"case,state,"], overwrite=overwrite)


def write_summary(output: Path, outcomes: Sequence[Outcome]) -> None:
    """Write summary.csv: a row for each outcome and for every other case of ``output``, sorted by case.

    A single case that failed leaves no table. Raises OutputError.
    """
    rows = [outcome.row() for outcome in outcomes]
    rows += _others(output, {outcome.case_id for outcome in outcomes})
    if len(rows) > 1 or any(row["state"] not in ("failed", "locked") for row in rows):
        rows.sort(key=lambda row: str(row["case"]))
        files.write_text(output / SUMMARY, to_csv(rows, columns=COLUMNS))


def _others(output: Path, known: set[str]) -> Iterable[Row]:
    """Yield the rows of earlier results, and of cases that failed earlier and still have none."""
    folders = [ResultFolder(path) for path in output.iterdir() if path.is_dir()]
    results = {folder.path.name: folder for folder in folders if folder.is_result()}
    yield from (_earlier_row(folder) for name, folder in results.items() if name not in known)
    yield from (row for row in failed_before(output) if row["case"] not in known | results.keys())


def _earlier_row(folder: ResultFolder) -> Row:
    name = folder.path.name
    try:
        if folder.edited():
            found = Outcome(name, "unchanged", measurements={"reasons": [_EDITED]}, record=folder.read())
            return {**found.row(), "edited": True}
        return Outcome.read(folder).row()
    except GliomasegError as error:
        short = error.reworded(lambda text: text.replace(f"{folder.path.parent}/", ""))
        return Outcome(name, "failed", error=short).row()


def failed_before(output: Path) -> list[dict[str, str]]:
    """Return the rows of failed cases in summary.csv; none if there is no readable table."""
    try:
        with files.open_regular(output / SUMMARY) as stream:
            rows = read_csv(stream.read().decode("utf-8"))
    except (OSError, ValueError):
        return []
    return [row for row in rows if row.get("state") == "failed" and row.get("case")]
