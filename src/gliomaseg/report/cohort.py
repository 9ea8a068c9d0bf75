"""Many cases as one table and one page: read from results, the least usual first, outliers named."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gliomaseg.labels import MODALITY_TITLES, REGION_TITLES, Region
from gliomaseg.report.case_report import Report
from gliomaseg.report.pages import render
from gliomaseg.storage.result_folder import TABLE, THUMBNAIL, ResultFolder
from gliomaseg.storage.summary import failed_before
from gliomaseg.storage.tables import read_csv, to_csv

#: A volume is an outlier when its logarithm is so many robust deviations from the cohort's median
#: (Iglewicz and Hoaglin 1993: 3.5), in cohorts of at least so many cases.
OUTLIER, LEAST_CASES = 3.5, 10
_MAD = 0.6745  # median absolute deviation of a normal distribution with a standard deviation of 1
#: The state of a case in the viewer whose label map has no record, until its page is opened.
NOT_OPENED = "not opened"
STATES = ("pass", "review", "unreliable", "failed", NOT_OPENED)

SCRIPTS = ("cohort.js",)
#: Columns of the page with numbers: title, name in measurements.csv, decimals.
NUMBERS = (
    ("WT, ml", "wt_volume_ml", 1),
    ("TC, ml", "tc_volume_ml", 1),
    ("ET, ml", "et_volume_ml", 1),
    ("lesions", "rano_lesions", 0),
    ("RANO, mm²", "rano_sum_of_products_mm2", 0),
)
#: Columns of measurements.csv that an entry replaces; ``verdict`` is that of older versions.
_REPLACED = ("case", "quality", "verdict", "reasons")
_BINS, _WIDTH, _HEIGHT = 24, 320, 76  # of a histogram, in pixels


@dataclass(frozen=True)
class Entry:
    """One case of a cohort: its numbers by column, the reasons to review it, relative links to its pages."""

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

    @classmethod
    def of(cls, report: Report, page: str) -> Entry:
        """Return the entry of a report whose page is at ``page``."""
        about = report.about
        return cls(
            about.case,
            about.quality.name,
            about.quality.reasons,
            {
                name: "" if value is None else str(value)
                for name, value in about.measurements.as_row().items()
            },
            about.missing,
            _total(about.run.seconds if about.run else {}),
            page,
            report.thumbnail,
            about.edited,
        )

    @classmethod
    def read(cls, folder: ResultFolder, page: str) -> Entry:
        """Return the entry of a case's folder as ``segment`` wrote it; raises CaseError (E-REPORT)."""
        sizes, run = folder.measurements(), folder.read()
        try:
            (row,) = read_csv(folder.bytes_of(TABLE).decode("utf-8"))
            return cls(
                folder.path.name,
                str(sizes["quality"]),
                tuple(map(str, sizes["reasons"])),
                row,
                tuple(title for m, title in MODALITY_TITLES.items() if m not in run["inputs"]),
                _total(run.get("seconds", {})),
                page,
                folder.bytes_of(THUMBNAIL) if folder.has(THUMBNAIL) else b"",
            )
        except (LookupError, TypeError, ValueError) as error:
            raise folder.damaged(TABLE, f"{type(error).__name__}: {error}") from error

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {
            "case": self.case_id,
            "quality": self.quality,
            "edited": self.edited,
            "reasons": list(self.reasons),
            "missing": list(self.missing),
            "page": self.page,
        }

    def as_row(self) -> dict[str, object]:
        """Return the row of the table beside the page."""
        return {
            "case": self.case_id,
            "quality": self.quality,
            "edited": self.edited,
            "reasons": " ".join(self.reasons),
            "missing": " ".join(self.missing),
            "seconds": self.seconds,
            **{name: value for name, value in self.row.items() if name not in _REPLACED},
        }

    def number(self, column: str) -> float | None:
        """Return a number of the row; None where there is none."""
        try:
            return float(self.row[column])
        except (KeyError, ValueError):
            return None


def failed_cases(folder: Path) -> Iterator[Entry]:
    """Yield the cases that summary.csv of a results folder lists as failed; none without that file."""
    for row in failed_before(folder):
        words = f"{row.get('error') or ''}: {row.get('message') or ''}".strip(": ")
        yield Entry(row["case"], "failed", (words,) if words else ())


def ordered(entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries with outliers of the cohort named, failed ones first, then the unreliable."""
    unusual = _outliers(entries)
    marked = [
        replace(
            entry,
            quality="review" if entry.quality == "pass" else entry.quality,
            reasons=(*entry.reasons, *unusual[entry.case_id]),
        )
        if entry.case_id in unusual
        else entry
        for entry in entries
    ]
    rank = {"failed": 0, "unreliable": 1, "review": 2}
    return sorted(marked, key=lambda e: (rank.get(e.quality, 3), -len(e.reasons), e.case_id))


def _outliers(entries: Sequence[Entry]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for region in Region:
        column = f"{region}_volume_ml"
        logs = {e.case_id: math.log(v + 0.1) for e in entries if (v := e.number(column)) is not None}
        if len(logs) < LEAST_CASES:
            continue
        middle = statistics.median(logs.values())
        spread = statistics.median(abs(value - middle) for value in logs.values())
        for case_id, value in logs.items():
            if spread > 0 and abs(_MAD * (value - middle) / spread) > OUTLIER:
                word = "small" if value < middle else "large"
                found.setdefault(case_id, []).append(f"{region.upper()} is unusually {word} in this cohort.")
    return found


def _total(seconds: Mapping[str, float]) -> float | None:
    return float(sum(seconds.values())) if seconds else None


def cohort_table(entries: Sequence[Entry]) -> str:
    """Return one row per case as CSV."""
    return to_csv([entry.as_row() for entry in entries])


def cohort_page(entries: Sequence[Entry], *, title: str = "Cohort", served: bool = False) -> str:
    """Return the page of ``ordered`` entries as HTML; its script only sorts and filters."""
    return render(
        "cohort.html",
        scripts=SCRIPTS,
        served=served,
        title=title,
        entries=entries,
        counts={name: sum(entry.quality == name for entry in entries) for name in STATES},
        numbers=NUMBERS,
        histograms=[chart for region in Region if (chart := _histogram(entries, region))],
    )


def _histogram(entries: Sequence[Entry], region: Region) -> dict[str, Any] | None:
    """Return how many cases have which volume: bars as (x, width, height) in pixels; None for one case."""
    values = [v for e in entries if (v := e.number(f"{region}_volume_ml")) is not None]
    if len(values) < 2:
        return None
    top, median, width = max(values) or 1.0, statistics.median(values), _WIDTH / _BINS
    counts = [0] * _BINS
    for value in values:
        counts[min(int(value / top * _BINS), _BINS - 1)] += 1
    spread = f"median {median:.1f} ml, {min(values):.1f} to {max(values):.1f} ml"
    return {
        "title": f"{REGION_TITLES[region]} ({region.upper()}): {spread}",
        "largest_ml": top,
        "median": median / top * _WIDTH,
        "bars": [
            (number * width + 1, width - 2, _HEIGHT * count / max(counts))
            for number, count in enumerate(counts)
            if count
        ],
    }
