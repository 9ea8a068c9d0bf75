"""The verbs of the command line that look and change nothing: check, explain, doctor. Door: typer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from gliomaseg import console

Json = Annotated[bool, typer.Option("--json", help="Print JSON to stdout instead of tables.")]


def check(
    path: Annotated[Path, typer.Argument(help="A case's folder, a folder of cases, or a CSV list.")],
    *,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read every voxel, and look at what the images show.")
    ] = False,
    scheme: Annotated[str | None, typer.Option(help="Label scheme of the references.")] = None,
    json: Json = False,
) -> None:
    """Tell what is wrong with each case, and what to do, before any work."""
    from gliomaseg.imaging.case import find_cases
    from gliomaseg.labels import find_scheme
    from gliomaseg.survey import survey

    cases = find_cases(path, scheme=find_scheme(scheme) if scheme else None)
    findings = []
    with console.progress() as progress:
        for number, finding in enumerate(survey(cases, deep=deep)):
            progress(number / len(cases), finding.case_id)
            findings.append(finding)
    if json:
        console.show_json([finding.as_dict() for finding in findings])
    else:
        rows = [row for finding in findings for row in finding.rows()]
        console.show_table([["case", "state", "code", "reason", "remedy"], *rows])
        states = [finding.state for finding in findings]
        console.say(", ".join(f"{states.count(s)} {s}" for s in ("pass", "warn", "fail")))
    if any(finding.error for finding in findings):
        raise SystemExit(1)


def explain(code: Annotated[str, typer.Argument(help="A code, such as E-TRUNCATED or W-SPACING.")]) -> None:
    """Say what an error's or a warning's code means and what leads to it."""
    from gliomaseg.bad_inputs import explain

    sys.stdout.write("\n".join(explain(code)) + "\n")


def doctor(
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The folder that is to be written to.")
    ] = Path(),
    threads: Annotated[int, typer.Option(min=0, help="CPU threads of the network; 0: all cores.")] = 0,
    json: Json = False,
) -> None:
    """Examine this machine and installation, and segment the synthetic exam as a self-test."""
    from gliomaseg.doctor import as_dict, examine

    answers = examine(output, threads=threads)
    if json:
        console.show_json(as_dict(answers))
    else:
        console.show_table([["what", "state", "found"], *[[a.name, a.state, a.found] for a in answers]])
        for answer in answers:
            if answer.state != "ok":
                console.say(f"{answer.name}: {answer.remedy}")
        console.say(console.RESEARCH_USE)
    if any(answer.state == "fail" for answer in answers):
        raise SystemExit(1)
