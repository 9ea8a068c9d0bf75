"""Write reports to disk: the page of a cohort, a page for each case that has none yet, tables."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import numpy as np

from gliomaseg.errors import GliomasegError, OutputError, as_coded
from gliomaseg.imaging.volume import Grid, Segmentation, Volume
from gliomaseg.labels import LabelScheme
from gliomaseg.report.case_page import case_page
from gliomaseg.report.cohort import Entry, entry_of, failed_cases, ordered, read_entry
from gliomaseg.report.cohort_page import cohort_page
from gliomaseg.report.content import Report
from gliomaseg.report.mosaic import TITLE as MOSAIC_TITLE
from gliomaseg.report.mosaic import mosaic_png
from gliomaseg.report.packing import MOST_BYTES, TISSUE_NUMBERS
from gliomaseg.report.sources import Source
from gliomaseg.storage import files
from gliomaseg.storage.guard import PAGE, refuse_foreign
from gliomaseg.storage.result_folder import REPORT, ResultFolder
from gliomaseg.storage.tables import to_csv

Progress = Callable[[float, str], None]


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
    page. A case that fails is listed with its error and does not stop the others. Raises OutputError
    (E-EXISTS where the page or the table would replace someone else's file, unless with ``overwrite``).
    """
    refuse_foreign_page(page, overwrite=overwrite)
    files.make_folder(page.parent)
    pages = page.with_name(f"{page.stem}-reports")
    entries = []
    for number, source in enumerate(sources):
        progress(number / max(len(sources), 1), f"{number + 1}/{len(sources)} {source.case_id}")
        try:
            entries.append(_write_case(source, page, pages, limit=limit, mosaic=mosaic, overwrite=overwrite))
        except Exception as error:  # noqa: BLE001 (whatever it is, the other cases go on)
            entries.append(_failed(source, as_coded(error)))
    known = {entry.case_id for entry in entries}
    folders = {source.seg.parent.parent for source in sources}
    entries += [entry for folder in folders for entry in failed_cases(folder) if entry.case_id not in known]
    files.write_text(page, cohort_page(entries, title=_title(sources)))
    files.write_text(page.with_suffix(".csv"), to_csv([_row(entry) for entry in ordered(entries)]))
    return entries


def _title(sources: Sequence[Source]) -> str:
    """Return what the cohort is called: after the folder of its results, whatever the page's own name."""
    folders = {source.folder.path.parent if source.folder else source.seg.parent for source in sources}
    return f"Cohort {folders.pop().resolve().name}".strip() if len(folders) == 1 else "Cohort"


def refuse_foreign_page(page: Path, *, overwrite: bool) -> None:
    """Raise OutputError (E-EXISTS) where a page or the table beside it would replace a file of another kind.

    A folder of results keeps its files whatever is asked: its own report is none of a cohort.
    """
    if ResultFolder(page.parent).is_result:
        raise OutputError(
            "E-EXISTS",
            f"{page.parent} is the folder of a result",
            expected="a page beside the results, not in the folder of one",
            remedy="choose another place with -o",
        )
    refuse_foreign(page, [PAGE], overwrite=overwrite)
    refuse_foreign(page.with_suffix(".csv"), [b"case,quality,", b"case,verdict,"], overwrite=overwrite)


def _write_case(
    source: Source, page: Path, pages: Path, *, limit: int | None, mosaic: int, overwrite: bool
) -> Entry:
    entry, home = None, page.parent
    if limit is not None and (folder := source.stored):
        entry = read_entry(folder, _link(folder.path / REPORT, home))
    if entry and not mosaic:
        return entry
    report = source.report(limit=limit)
    files.make_folder(pages)
    target = pages / f"{source.case_id}.html"
    if entry is None:
        refuse_foreign(target, [PAGE], overwrite=overwrite)
        files.write_text(target, case_page(report, home=_link(page, pages)))
    entry = entry or entry_of(report, _link(target, home))
    if mosaic:
        sheet = pages / f"{source.case_id}-mosaic.png"
        refuse_foreign(sheet, [MOSAIC_TITLE.encode()], overwrite=overwrite)
        files.write_bytes(sheet, mosaic_of(report, mosaic))
        entry = replace(entry, mosaic=_link(sheet, home))
    return entry


def _failed(source: Source, error: GliomasegError) -> Entry:
    return Entry(source.case_id, "failed", (source.anonymous(f"{error.code}: {error.what}"),))


def _link(target: Path, start: Path) -> str:
    """Return a relative link, as a page in the folder ``start`` needs it."""
    relative = Path(os.path.relpath(target.resolve(), start.resolve())).as_posix()
    return quote(relative, errors="surrogateescape")  # a name of any bytes


#: Columns of a case's own table that are written from its entry; ``verdict`` is that of older versions.
_OWN_COLUMNS = ("case", "quality", "verdict", "reasons")


def _row(entry: Entry) -> dict[str, object]:
    return {
        "case": entry.case_id,
        "quality": entry.quality,
        "edited": entry.edited,
        "reasons": " ".join(entry.reasons),
        "missing": " ".join(entry.missing),
        "seconds": entry.seconds,
        **{name: value for name, value in entry.row.items() if name not in _OWN_COLUMNS},
    }


def mosaic_of(report: Report, every: int) -> bytes:
    """Return a PNG of every n-th axial slice of a report's volumes."""
    images, segmentation = unpack(report)
    return mosaic_png(images, segmentation, title=report.case_id, every=every)


def unpack(report: Report) -> tuple[Volume, Segmentation]:
    """Return a report's 8-bit images and its map of tissue numbers, on the grid of its crop."""
    about = report.about["grid"]
    x, y, z = about["shape"]
    grid = Grid((x, y, z), np.array(about["affine"], dtype=np.float64))

    def array(name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        data = np.frombuffer(gzip.decompress(report.volumes[name]), dtype=np.uint8)
        return data.reshape((x, y, z), order="F")

    names = tuple(channel["name"] for channel in report.about["channels"])
    seg = Segmentation(array("seg"), grid, LabelScheme("report", TISSUE_NUMBERS))
    stack = [array(name) for name in names] or [(seg.labels > 0).astype(np.uint8)]
    return Volume(np.stack(stack), grid, names or ("outlines",)), seg
