"""``gliomaseg report`` and ``gliomaseg view``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gliomaseg import RESEARCH_USE
from gliomaseg.cli import console
from gliomaseg.cli.options import Data, Json, Overwrite, Scheme

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gliomaseg.report.sources import Source


def report(
    results: Annotated[Path, typer.Argument(help="Results of segment, or a folder of label maps.")],
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The page; a CSV table goes beside it.")
    ] = Path("cohort.html"),
    data: Data = None,
    scheme: Scheme = None,
    mosaic: Annotated[
        int, typer.Option(min=0, help="Also draw every n-th axial slice of each case on one sheet.")
    ] = 0,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Make one page of many cases, and a report for each that has none or was edited."""
    from gliomaseg.labels import find_scheme
    from gliomaseg.report.cohort import write_reports
    from gliomaseg.report.sources import find_sources

    with console.progress() as progress, console.resumable():
        progress(0, "finding label maps")
        sources = find_sources(results, data=data, scheme=find_scheme(scheme) if scheme else None)
        entries = write_reports(sources, output, mosaic=mosaic, overwrite=overwrite, progress=progress)
    passed = [entry for entry in entries if entry.quality == "pass"]
    if json:
        console.show_json([entry.as_dict() for entry in entries])
    else:
        rows = [
            [entry.case_id, entry.quality + ", edited" * entry.edited, " ".join(entry.reasons)]
            for entry in entries
            if entry.quality != "pass" or entry.edited
        ]
        if rows:
            console.show_table([["case", "quality", "why"], *rows[:20]])
        table = output.with_suffix(".csv")
        console.echo(f"{len(entries)} cases, {len(passed)} pass; page: {output}; table: {table}")
        console.echo(RESEARCH_USE)
    console.end(sum(entry.quality == "failed" for entry in entries), len(entries))


def view(
    path: Annotated[Path, typer.Argument(help="Results of segment, a folder of label maps, or a case.")],
    *,
    seg: Annotated[Path | None, typer.Option(help="The label map to show on the case PATH.")] = None,
    reference: Annotated[Path | None, typer.Option(help="Another label map, to compare with.")] = None,
    data: Data = None,
    scheme: Scheme = None,
    static: Annotated[Path | None, typer.Option(help="Write the pages to this folder instead.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one.")] = 0,
    overwrite: Overwrite = False,
    browser: Annotated[bool, typer.Option(help="Open the browser.")] = True,
) -> None:
    """Look at results in the browser: slices, outlines, comparison, 3D. Nothing leaves this machine."""
    from gliomaseg.labels import find_scheme
    from gliomaseg.report.sources import sources_of

    known = find_scheme(scheme) if scheme else None
    sources = sources_of(path, seg=seg, reference=reference, data=data, scheme=known)
    if static:
        from gliomaseg.report.cohort import write_static

        with console.progress() as progress:
            page = write_static(sources, static, overwrite=overwrite, progress=progress)
        console.echo(f"page: {page}")
    else:
        _serve(sources, port, opens_browser=browser)


def _serve(sources: Sequence[Source], port: int, *, opens_browser: bool) -> None:
    """Serve the pages until the user interrupts."""
    import webbrowser

    from gliomaseg.report.serve import Viewer

    with Viewer(sources, port=port) as viewer:
        console.echo(f"open {viewer.address}")
        console.echo("the address works once, on this machine; Ctrl-C ends the viewer")
        if opens_browser:
            webbrowser.open(viewer.address)
        try:
            viewer.serve_forever()
        except KeyboardInterrupt:
            console.echo("ended")
