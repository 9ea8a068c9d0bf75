"""What the verbs ``report`` and ``view`` do, in words to the user where need be."""

from __future__ import annotations

import webbrowser
from collections.abc import Sequence
from pathlib import Path

from gliomaseg import RESEARCH_USE
from gliomaseg.cli import console
from gliomaseg.labels import LabelScheme
from gliomaseg.report.case_page import case_page
from gliomaseg.report.cohort import Entry, ordered
from gliomaseg.report.serve import Viewer
from gliomaseg.report.sources import Source, case_source, find_sources, is_case
from gliomaseg.report.write import refuse_foreign_page, write_reports
from gliomaseg.storage import files


def report(
    results: Path,
    output: Path,
    *,
    data: Path | None,
    scheme: LabelScheme | None,
    mosaic: int,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write the page of a cohort and say where it is; raises SystemExit when a case failed."""
    sources = find_sources(results, data=data, scheme=scheme)
    with console.progress() as progress, console.resumable():
        entries = ordered(
            write_reports(sources, output, mosaic=mosaic, overwrite=overwrite, progress=progress)
        )
    if as_json:
        console.show_json([entry.as_dict() for entry in entries])
    else:
        rows = [_shown(entry) for entry in entries if entry.quality != "pass" or entry.edited]
        if rows:
            console.show_table([["case", "quality", "why"], *rows[:20]])
        count = sum(entry.quality == "pass" for entry in entries)
        console.say(
            f"{len(entries)} cases, {count} pass; page: {output}; table: {output.with_suffix('.csv')}"
        )
        console.say(RESEARCH_USE)
    console.end(sum(entry.quality == "failed" for entry in entries), len(entries))


def _shown(entry: Entry) -> list[str]:
    return [entry.case_id, entry.quality + ", edited" * entry.edited, " ".join(entry.reasons)]


def sources_of(
    path: Path, *, seg: Path | None, reference: Path | None, data: Path | None, scheme: LabelScheme | None
) -> list[Source]:
    """Return what to view: one case with a label map, or a folder of results."""
    if seg or reference or is_case(path):
        return [case_source(path, seg=seg, reference=reference, scheme=scheme)]
    return find_sources(path, data=data, scheme=scheme)


def view(sources: Sequence[Source], *, port: int, opens_browser: bool) -> None:
    """Serve the pages until the user interrupts."""
    with Viewer(sources, port=port) as viewer:
        console.say(f"open {viewer.address}")
        console.say("the address works once, on this machine; Ctrl-C ends the viewer")
        if opens_browser:
            webbrowser.open(viewer.address)
        try:
            viewer.serve_forever()
        except KeyboardInterrupt:
            console.say("ended")


def write_static(sources: Sequence[Source], folder: Path, *, overwrite: bool) -> None:
    """Write the pages that ``view`` would serve into a folder, with every voxel in them."""
    files.make_folder(folder)
    if len(sources) == 1:
        target = folder / f"{sources[0].case_id}.html"
        refuse_foreign_page(target, overwrite=overwrite)
        files.write_text(target, case_page(sources[0].report(limit=None)))
    else:
        target = folder / "index.html"
        with console.progress() as progress:
            write_reports(sources, target, limit=None, overwrite=overwrite, progress=progress)
    console.say(f"page: {target}")
