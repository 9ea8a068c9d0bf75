"""The verbs of the command line that show results: report, view. Door: typer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gliomaseg.cli.options import Data, Json, Overwrite, Scheme


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
    """Make one page of many cases, and a report of each that has none or was edited."""
    from gliomaseg.cli import report_verbs as verbs
    from gliomaseg.labels import find_scheme

    verbs.report(
        results,
        output,
        data=data,
        scheme=find_scheme(scheme) if scheme else None,
        mosaic=mosaic,
        overwrite=overwrite,
        as_json=json,
    )


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
    from gliomaseg.cli import report_verbs as verbs
    from gliomaseg.labels import find_scheme

    sources = verbs.sources_of(
        path, seg=seg, reference=reference, data=data, scheme=find_scheme(scheme) if scheme else None
    )
    if static:
        verbs.write_static(sources, static, overwrite=overwrite)
    else:
        verbs.view(sources, port=port, opens_browser=browser)
