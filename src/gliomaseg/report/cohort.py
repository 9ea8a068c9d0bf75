"""Many cases as one page and one table: read from results or reported anew, the least usual first."""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gliomaseg.errors import OutputError, as_coded
from gliomaseg.labels import MODALITY_TITLES, Region
from gliomaseg.report.axial import MOSAIC_TITLE, mosaic_png
from gliomaseg.report.case_report import Report
from gliomaseg.report.packing import MOST_BYTES
from gliomaseg.report.pages import cohort_page
from gliomaseg.report.sources import Source
from gliomaseg.storage import files
from gliomaseg.storage.guard import PAGE, refuse_foreign
from gliomaseg.storage.result_folder import REPORT, TABLE, THUMBNAIL, ResultFolder
from gliomaseg.storage.summary import failed_before
from gliomaseg.storage.tables import read_csv, to_csv

Progress = Callable[[float, str], None]

#: A volume is an outlier when its logarithm is so many robust deviations from the cohort's median
#: (Iglewicz and Hoaglin 1993: 3.5), in cohorts of at least so many cases.
OUTLIER, LEAST_CASES = 3.5, 10
_MAD = 0.6745  # median absolute deviation of a normal distribution with a standard deviation of 1
#: Columns of measurements.csv that an entry replaces; ``verdict`` is that of older versions.
_REPLACED = ("case", "quality", "verdict", "reasons")


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
        about, row = report.about, report.about.measurements.as_row()
        return cls(
            about.case,
            about.quality.name,
            about.quality.reasons,
            {name: "" if value is None else str(value) for name, value in row.items()},
            about.missing,
            sum(about.run.seconds.values()) if about.run and about.run.seconds else None,
            page,
            report.thumbnail,
            about.edited,
        )

    @classmethod
    def read(cls, folder: ResultFolder, page: str) -> Entry | None:
        """Return the entry of a result as ``segment`` wrote it; None where its label map was edited since.

        Raises CaseError (E-REPORT).
        """
        if folder.edited():
            return None
        sizes, run = folder.measurements(), folder.read()
        seconds = run.get("seconds")
        try:
            (row,) = read_csv(folder.bytes_of(TABLE).decode("utf-8"))
            return cls(
                folder.path.name,
                str(sizes["quality"]),
                tuple(map(str, sizes["reasons"])),
                row,
                tuple(title for m, title in MODALITY_TITLES.items() if m not in run["inputs"]),
                sum(seconds.values()) if seconds else None,
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


def write_reports(
    sources: Sequence[Source],
    page: Path,
    *,
    limit: int | None = MOST_BYTES,
    mosaic: int = 0,
    overwrite: bool = False,
    progress: Progress = lambda _fraction, _text: None,
) -> list[Entry]:
    """Write the page of a cohort, its CSV table beside it, and a report for each case without one.

    New reports, and a mosaic of every n-th axial slice where ``mosaic`` is n, go into a folder beside the
    page. A case that fails is listed with its error and does not stop the others. Returns the entries in
    the order of the page. Raises OutputError (E-EXISTS where the page or the table would replace a file that
    gliomaseg did not write, unless with ``overwrite``).
    """
    refuse_foreign_page(page, overwrite=overwrite)
    files.make_folder(page.parent)
    known, parents = {source.case_id for source in sources}, {source.seg.parent.parent for source in sources}
    entries = []
    for row in [row for parent in parents for row in failed_before(parent) if row["case"] not in known]:
        reason = ": ".join(row[key] for key in ("error", "message") if row.get(key))
        entries.append(Entry(row["case"], "failed", (reason,) if reason else ()))
    for number, source in enumerate(sources):
        progress(number / max(len(sources), 1), f"{number + 1}/{len(sources)} {source.case_id}")
        try:
            entries.append(_write_case(source, page, limit=limit, mosaic=mosaic, overwrite=overwrite))
        except Exception as error:  # noqa: BLE001 (whatever it is, the other cases go on)
            coded = as_coded(error)
            reason = source.anonymous(f"{coded.code}: {coded.what}")
            entries.append(Entry(source.case_id, "failed", (reason,)))
    entries = ordered(entries)
    homes = {source.folder.path.parent if source.folder else source.seg.parent for source in sources}
    title = f"Cohort {homes.pop().resolve().name}".strip() if len(homes) == 1 else "Cohort"
    files.write_text(page.with_suffix(".csv"), to_csv([entry.as_row() for entry in entries]))
    files.write_text(page, cohort_page(entries, title=title))
    return entries


def write_static(
    sources: Sequence[Source],
    folder: Path,
    *,
    overwrite: bool = False,
    progress: Progress = lambda _fraction, _text: None,
) -> Path:
    """Write the pages of the viewer into a folder, with every voxel in them, and return the first page.

    Raises as ``write_reports``.
    """
    files.make_folder(folder)
    if len(sources) > 1:
        page = folder / "index.html"
        write_reports(sources, page, limit=None, overwrite=overwrite, progress=progress)
        return page
    page = folder / f"{sources[0].case_id}.html"
    refuse_foreign_page(page, overwrite=overwrite)
    files.write_text(page, sources[0].report(limit=None).page())
    return page


def refuse_foreign_page(page: Path, *, overwrite: bool) -> None:
    """Raise OutputError (E-EXISTS) where a page or the table beside it would replace a file of another kind.

    The folder of a result is refused even with ``overwrite``: its report is not that of a cohort.
    """
    if ResultFolder(page.parent).is_result():
        raise OutputError(
            "E-EXISTS",
            f"{page.parent} is the folder of a result",
            expected="a page beside the results, not in the folder of one",
            remedy="choose another place with -o",
        )
    refuse_foreign(page, [PAGE], overwrite=overwrite)
    refuse_foreign(page.with_suffix(".csv"), [b"case,quality,", b"case,verdict,"], overwrite=overwrite)


def _write_case(source: Source, page: Path, *, limit: int | None, mosaic: int, overwrite: bool) -> Entry:
    """Return the entry of a case whose own report is linked, or written beside ``page`` if it has none."""
    pages, home, entry = page.with_name(f"{page.stem}-reports"), page.parent, None
    folder = None if source.case or source.reference or limit is None else source.folder
    if folder and (stored := Entry.read(folder, _link(folder.path / REPORT, home))) and folder.has(REPORT):
        entry = stored
    if entry and not mosaic:
        return entry
    report = source.report(limit=limit)
    files.make_folder(pages)
    target = pages / f"{source.case_id}.html"
    if entry is None:
        refuse_foreign(target, [PAGE], overwrite=overwrite)
        files.write_text(target, report.page(home=_link(page, pages)))
    entry = entry or Entry.of(report, _link(target, home))
    if mosaic:
        sheet = pages / f"{source.case_id}-mosaic.png"
        refuse_foreign(sheet, [MOSAIC_TITLE.encode()], overwrite=overwrite)
        files.write_bytes(sheet, mosaic_png(report, mosaic))
        entry = replace(entry, mosaic=_link(sheet, home))
    return entry


def _link(target: Path, start: Path) -> str:
    """Return a relative link, as a page in the folder ``start`` needs it."""
    relative = Path(os.path.relpath(target.resolve(), start.resolve())).as_posix()
    return quote(relative, errors="surrogateescape")  # file names may be any bytes


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
