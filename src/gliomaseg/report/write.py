"""Write reports to disk: the page of a cohort, a page for each case that has none yet, tables."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from gliomaseg.errors import OutputError, as_coded
from gliomaseg.imaging.volume import Segmentation, Volume
from gliomaseg.labels import LabelScheme
from gliomaseg.report.case_report import Report
from gliomaseg.report.cohort import Entry, cohort_page, cohort_table, failed_cases, ordered
from gliomaseg.report.mosaic import TITLE as MOSAIC_TITLE
from gliomaseg.report.mosaic import mosaic_png
from gliomaseg.report.packing import MOST_BYTES, TISSUE_NUMBERS
from gliomaseg.report.sources import Source
from gliomaseg.storage import files
from gliomaseg.storage.guard import PAGE, refuse_foreign
from gliomaseg.storage.result_folder import REPORT, ResultFolder

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
            coded = as_coded(error)
            reason = source.anonymous(f"{coded.code}: {coded.what}")
            entries.append(Entry(source.case_id, "failed", (reason,)))
    known = {entry.case_id for entry in entries}
    folders = {source.seg.parent.parent for source in sources}
    entries += [entry for folder in folders for entry in failed_cases(folder) if entry.case_id not in known]
    entries = ordered(entries)
    files.write_text(page, cohort_page(entries, title=_title(sources)))
    files.write_text(page.with_suffix(".csv"), cohort_table(entries))
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
    if limit is not None and (folder := source.linked):
        entry = Entry.read(folder, _link(folder.path / REPORT, home))
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
        files.write_bytes(sheet, mosaic_of(report, mosaic))
        entry = replace(entry, mosaic=_link(sheet, home))
    return entry


def _link(target: Path, start: Path) -> str:
    """Return a relative link, as a page in the folder ``start`` needs it."""
    relative = Path(os.path.relpath(target.resolve(), start.resolve())).as_posix()
    return quote(relative, errors="surrogateescape")  # a name of any bytes


def mosaic_of(report: Report, every: int) -> bytes:
    """Return a PNG of every n-th axial slice of a report's 8-bit volumes, on the grid of their crop."""
    slices = report.about.slices

    def array(name: str) -> npt.NDArray[np.uint8]:
        data = np.frombuffer(gzip.decompress(report.volumes[name]), dtype=np.uint8)
        return data.reshape(slices.crop.shape, order="F")

    names = tuple(channel.name for channel in slices.channels)
    seg = Segmentation(array("seg"), slices.crop.grid, LabelScheme("report", TISSUE_NUMBERS))
    stack = [array(name) for name in names] or [(seg.labels > 0).astype(np.uint8)]
    images = Volume(np.stack(stack), slices.crop.grid, names or ("outlines",))
    return mosaic_png(images, seg, title=report.about.case, every=every)
