"""The results of many cases as one table: read from a folder, the strangest first. Ignorant of HTML."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gliomaseg.labels import MODALITY_TITLES, Modality
from gliomaseg.report.content import Report
from gliomaseg.storage.result_folder import TABLE, THUMBNAIL, ResultFolder
from gliomaseg.storage.summary import failed_before
from gliomaseg.storage.tables import read_csv

#: A volume is an outlier when its logarithm is so many robust deviations from the cohort's median
#: (Iglewicz and Hoaglin 1993: 3.5), in cohorts of at least so many cases.
OUTLIER, LEAST_CASES = 3.5, 10
_VOLUMES = ("wt_volume_ml", "tc_volume_ml", "et_volume_ml")
#: The state of a case in the viewer whose label map came without a record, until its page is opened.
NOT_OPENED = "not opened"
_MAD = 0.6745  # median absolute deviation of a normal distribution with a standard deviation of 1


@dataclass(frozen=True)
class Entry:
    """One case of a cohort: its numbers by column, why to look at it, relative links to its pages."""

    case_id: str
    quality: str
    reasons: tuple[str, ...] = ()
    row: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    seconds: float | None = None
    page: str = ""
    thumbnail: bytes = b""
    edited: bool = False
    mosaic: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return what the table says of the case as plain values, for JSON."""
        return {
            "case": self.case_id,
            "quality": self.quality,
            "edited": self.edited,
            "reasons": list(self.reasons),
            "missing": list(self.missing),
            "page": self.page,
        }

    def number(self, column: str) -> float | None:
        """Return a number of the row; None where there is none."""
        try:
            return float(self.row[column])
        except (KeyError, ValueError):
            return None


def entry_of(report: Report, page: str) -> Entry:
    """Return the entry of a report whose page is at ``page``."""
    about = report.about
    return Entry(
        report.case_id,
        about["quality"],
        tuple(about["reasons"]),
        {name: "" if value is None else str(value) for name, value in about["row"].items()},
        tuple(about["missing"]),
        _total(about["run"]),
        page,
        report.pictures.get("thumbnail", b""),
        bool(about.get("edited")),
    )


def read_entry(folder: ResultFolder, page: str) -> Entry:
    """Return the entry of a case's folder as ``segment`` wrote it; raises CaseError (E-REPORT)."""
    sizes, run = folder.measurements(), folder.read()
    try:
        (row,) = read_csv(folder.bytes_of(TABLE).decode("utf-8"))
        return Entry(
            folder.path.name,
            str(sizes["quality"]),
            tuple(map(str, sizes["reasons"])),
            row,
            tuple(MODALITY_TITLES[m] for m in Modality if m not in run["inputs"]),
            _total(run),
            page,
            folder.bytes_of(THUMBNAIL) if folder.has(THUMBNAIL) else b"",
        )
    except (LookupError, TypeError, ValueError) as error:
        raise folder.damaged(TABLE, f"{type(error).__name__}: {error}") from error


def failed_cases(folder: Path) -> Iterator[Entry]:
    """Yield the cases that summary.csv of a results folder lists as failed; none without that file."""
    for row in failed_before(folder):
        words = f"{row.get('error') or ''}: {row.get('message') or ''}".strip(": ")
        yield Entry(row["case"], "failed", (words,) if words else ())


def ordered(entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries with outliers of the cohort named, failed ones first, then the unreliable."""
    strange = _outliers(entries)
    marked = [
        replace(entry, quality=_at_least_review(entry), reasons=(*entry.reasons, *strange[entry.case_id]))
        if strange.get(entry.case_id)
        else entry
        for entry in entries
    ]
    rank = {"failed": 0, "unreliable": 1, "review": 2}
    return sorted(marked, key=lambda e: (rank.get(e.quality, 3), -len(e.reasons), e.case_id))


def _at_least_review(entry: Entry) -> str:
    return "review" if entry.quality == "pass" else entry.quality


def _outliers(entries: Sequence[Entry]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for column in _VOLUMES:
        logs = {e.case_id: math.log(v + 0.1) for e in entries if (v := e.number(column)) is not None}
        if len(logs) < LEAST_CASES:
            continue
        middle = statistics.median(logs.values())
        spread = statistics.median(abs(value - middle) for value in logs.values())
        for case_id, value in logs.items():
            if spread > 0 and abs(_MAD * (value - middle) / spread) > OUTLIER:
                word = "small" if value < middle else "large"
                name = column.partition("_")[0].upper()
                found.setdefault(case_id, []).append(f"{name} is unusually {word} in this cohort.")
    return found


def _total(run: Mapping[str, Any]) -> float | None:
    seconds = run.get("seconds")
    return float(sum(seconds.values())) if isinstance(seconds, dict) and seconds else None
