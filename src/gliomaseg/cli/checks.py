"""The verbs of the command line that look and change nothing: check, explain, doctor. Door: typer."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gliomaseg.cli import console
from gliomaseg.cli.options import Json

if TYPE_CHECKING:
    from gliomaseg.cases.case import Case


def check(
    path: Annotated[Path, typer.Argument(help="A case's folder, a folder of cases, or a CSV list.")],
    *,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read every voxel, and look at what the images show.")
    ] = False,
    scheme: Annotated[str | None, typer.Option(help="Label scheme of the references.")] = None,
    draft: Annotated[
        Path | None, typer.Option(help="Write what was understood as a CSV list, to be corrected by hand.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the list that is there.")] = False,
    json: Json = False,
) -> None:
    """Show which files make which case, what is wrong with each, and what to do, before any work.

    gliomaseg check DATA --draft cases.csv, then gliomaseg segment cases.csv
    """
    from gliomaseg.cases.case_table import mapping, write_list
    from gliomaseg.cases.find import find_cases
    from gliomaseg.cases.survey import survey
    from gliomaseg.labels import find_scheme

    cases = find_cases(path, scheme=find_scheme(scheme) if scheme else None)
    if draft:
        write_list(draft, cases, overwrite=overwrite)
    findings = []
    with console.progress() as progress:
        for number, finding in enumerate(survey(cases, deep=deep)):
            progress(number / len(cases), finding.case_id)
            findings.append(finding)
    if json:
        root = path if path.is_dir() else path.parent
        console.show_json([finding.as_dict(root) for finding in findings])
    else:
        console.show_table(mapping(cases), title="What was understood (CASE stands for the id)")
        rows = [row for finding in findings for row in finding.rows()]
        console.show_table([["case", "state", "code", "reason", "remedy"], *rows])
        states = [finding.state for finding in findings]
        console.say(", ".join(f"{states.count(s)} {s}" for s in ("pass", "warn", "fail")))
    _say_dicom(path, cases)
    if draft:
        console.say(f"list: {draft}; when it is right: gliomaseg segment {draft}")
    console.end(sum(finding.error is not None for finding in findings), len(findings))


def _say_dicom(path: Path, cases: Sequence[Case]) -> None:
    """Say which folders hold DICOM files that are no part of any case."""
    from gliomaseg.cases.folders import dicom_folders

    found = dicom_folders(path, {file for case in cases for file in case.unknown}) if path.is_dir() else {}
    if found:
        count, where = sum(found.values()), next(iter(found))
        others = f" and in {len(found) - 1} other folder{'s' * (len(found) > 2)}" if len(found) > 1 else ""
        console.say(
            f"left out: {count} DICOM file{'s' * (count > 1)} in {where}{others}; "
            f"convert a series with: dcm2niix -z y {shlex.quote(str(where))}"
        )


def explain(code: Annotated[str, typer.Argument(help="A code, such as E-TRUNCATED or W-SPACING.")]) -> None:
    """Say what an error's or a warning's code means and what leads to it."""
    from gliomaseg.bad_inputs import explain

    sys.stdout.write("\n".join(explain(code)) + "\n")
