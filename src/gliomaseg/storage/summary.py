"""summary.csv: a row for every case of a folder of results, made earlier or now, or failed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gliomaseg.errors import GliomasegError
from gliomaseg.storage import files
from gliomaseg.storage.guard import refuse_foreign
from gliomaseg.storage.result_folder import LABELS, ResultFolder
from gliomaseg.storage.tables import read_csv, to_csv

SUMMARY = "summary.csv"
Row = Mapping[str, object]

_REGIONS = ("wt", "tc", "et")
_VOLUMES = [f"{r}_{name}" for r in _REGIONS for name in ("volume_ml", "volume_low_ml", "volume_high_ml")]
#: ``path`` is relative to the table; a case that failed has neither numbers nor a path.
COLUMNS = (
    *("case", "state", "quality", "reasons", "edited", "missing"),
    *_VOLUMES,
    *("voxel_mm", "error", "message", "path"),
)
_EDITED = "The label map was edited after it was written: gliomaseg report measures it anew."


def refuse_foreign_summary(output: Path, *, overwrite: bool) -> None:
    """Raise OutputError (E-EXISTS) where ``output`` holds someone else's summary.csv."""
    refuse_foreign(output / SUMMARY, [b"case,state,"], overwrite=overwrite)


def result_row(case: str, state: str, record: Mapping[str, Any], measured: Mapping[str, Any]) -> Row:
    """Return the row of a result from its run.json and measurements.json."""
    volumes = {
        f"{region['region']}_{name}": region[name]
        for region in measured.get("regions", ())
        for name in ("volume_ml", "volume_low_ml", "volume_high_ml")
    }
    return {
        "case": case,
        "state": state,
        "quality": measured.get("quality"),
        "reasons": " ".join(measured.get("reasons", ())),
        "edited": False,
        "missing": " ".join(record.get("missing", ())),
        **volumes,
        "voxel_mm": " x ".join(f"{length:.4g}" for length in record.get("voxel_mm", ())),
        "path": f"{case}/{LABELS}",
    }


def failed_row(case: str, error: GliomasegError, *, state: str = "failed") -> Row:
    """Return the row of a case that failed, or is locked by another process."""
    return {"case": case, "state": state, "error": error.code, "message": error.what}


def write_summary(output: Path, rows: Sequence[Row]) -> None:
    """Write summary.csv: ``rows``, and one for every other case that ``output`` knows of, sorted by case.

    A single case that failed leaves no table. Raises OutputError.
    """
    rows = [*rows, *_others(output, {str(row["case"]) for row in rows})]
    if len(rows) > 1 or any(row["state"] not in ("failed", "locked") for row in rows):
        files.write_text(
            output / SUMMARY, to_csv(sorted(rows, key=lambda row: str(row["case"])), columns=COLUMNS)
        )


def _others(output: Path, known: set[str]) -> Iterable[Row]:
    """Yield the rows of results that are there from earlier, and of cases that failed and still have none."""
    there = {path.name: ResultFolder(path) for path in output.iterdir() if path.is_dir()}
    there = {name: folder for name, folder in there.items() if folder.is_result}
    yield from (_row_of(folder) for name, folder in there.items() if name not in known)
    for row in failed_before(output):
        if row["case"] not in known | there.keys():
            yield row


def _row_of(folder: ResultFolder) -> Row:
    name = folder.path.name
    try:
        record = folder.read()
        if folder.edited():
            return {**result_row(name, "unchanged", record, {"reasons": [_EDITED]}), "edited": True}
        return result_row(name, "unchanged", record, folder.measurements())
    except GliomasegError as error:
        return failed_row(name, error.reworded(lambda text: text.replace(f"{folder.path.parent}/", "")))


def failed_before(output: Path) -> list[dict[str, str]]:
    """Return the rows of failed cases in summary.csv; none where there is none that can be read."""
    try:
        with files.open_regular(output / SUMMARY) as stream:
            rows = read_csv(stream.read().decode("utf-8"))
    except (OSError, ValueError):
        return []
    return [row for row in rows if row.get("state") == "failed" and row.get("case")]
