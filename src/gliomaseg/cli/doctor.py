"""``gliomaseg doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gliomaseg import RESEARCH_USE
from gliomaseg.cli import console
from gliomaseg.cli.options import Json, Threads


def doctor(
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder that results would go to.")] = Path(),
    threads: Threads = 0,
    json: Json = False,
) -> None:
    """Examine this machine and installation, and segment the synthetic exam as a self-test."""
    from gliomaseg.cli.examine import as_dict, examine

    answers = examine(output, threads=threads)
    if json:
        console.show_json(as_dict(answers))
    else:
        console.show_table([["what", "state", "found"], *[[a.name, a.state, a.found] for a in answers]])
        for answer in answers:
            if answer.state != "ok":
                console.echo(f"{answer.name}: {answer.remedy}")
        console.echo(RESEARCH_USE)
    if any(answer.state == "fail" for answer in answers):
        raise SystemExit(1)
