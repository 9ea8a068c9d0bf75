"""The verbs check and explain."""

from __future__ import annotations

import difflib
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gliomaseg.cli import console
from gliomaseg.cli.options import Json
from gliomaseg.errors import CODES, NOTES, UsageError

if TYPE_CHECKING:
    from gliomaseg.cases.case import Case


def check(
    path: Annotated[Path, typer.Argument(help="A case's folder, a folder of cases, or a CSV list.")],
    *,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read every voxel, and check what the images show.")
    ] = False,
    scheme: Annotated[str | None, typer.Option(help="Label scheme of the references.")] = None,
    draft: Annotated[
        Path | None, typer.Option(help="Write the cases as a CSV list, to be corrected by hand.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing list.")] = False,
    json: Json = False,
) -> None:
    """Show the files of each case, what is wrong with them and what to do, before any work.

    gliomaseg check DATA --draft cases.csv, then gliomaseg segment cases.csv
    """
    from gliomaseg.cases.csv_list import write_list
    from gliomaseg.cases.find import find_cases
    from gliomaseg.exams.check_cases import check_cases, name_table
    from gliomaseg.labels import find_scheme

    cases = find_cases(path, scheme=find_scheme(scheme) if scheme else None)
    if draft:
        write_list(draft, cases, overwrite=overwrite)
    findings = []
    with console.progress() as progress:
        for number, finding in enumerate(check_cases(cases, deep=deep)):
            progress(number / len(cases), finding.case_id)
            findings.append(finding)
    if json:
        root = path if path.is_dir() else path.parent
        console.show_json([finding.as_dict(root) for finding in findings])
    else:
        console.show_table(name_table(cases), title="Files of each case (CASE stands for its id)")
        rows = [row for finding in findings for row in finding.rows()]
        console.show_table([["case", "state", "code", "reason", "remedy"], *rows])
        states = [finding.state for finding in findings]
        console.echo(", ".join(f"{states.count(s)} {s}" for s in ("pass", "warn", "fail")))
    _show_dicom(path, cases)
    if draft:
        console.echo(f"list: {draft}; when it is right: gliomaseg segment {draft}")
    console.end(sum(finding.error is not None for finding in findings), len(findings))


def _show_dicom(path: Path, cases: Sequence[Case]) -> None:
    """Show the folders with DICOM files, which are left out."""
    from gliomaseg.cases.folders import dicom_folders

    found = dicom_folders(path, {file for case in cases for file in case.unknown}) if path.is_dir() else {}
    if found:
        count, where = sum(found.values()), next(iter(found))
        others = f" and in {len(found) - 1} other folder{'s' * (len(found) > 2)}" if len(found) > 1 else ""
        console.echo(
            f"left out: {count} DICOM file{'s' * (count > 1)} in {where}{others}; "
            f"convert a series with: dcm2niix -z y {shlex.quote(str(where))}"
        )


def explain(code: Annotated[str, typer.Argument(help="A code, such as E-TRUNCATED or W-SPACING.")]) -> None:
    """Show the meaning of an error's or a note's code, its consequence, and where its remedy is found."""
    sys.stdout.write("\n".join(explanation(code)) + "\n")


_OF_ERRORS = """\
An error: the case, or the whole command, is refused.
What to do: its message names what was given, what was expected, and the remedy.
gliomaseg check DATA --deep shows all three for each case of a data set. All codes: docs/errors.md"""
_OF_NOTES = """\
A note: the work goes on.
What to do: its message names what was noticed, and what was done or can be done about it.
Notes are shown at the end, and kept in run.json and the report. All codes: docs/errors.md"""


def explanation(code: str) -> list[str]:
    """Return what is known about a code, line by line; raises UsageError (E-USAGE) for an unknown one."""
    name, known = code.upper(), {**CODES, **NOTES}
    if name in known:
        return [f"{name}: {known[name]}", *(_OF_NOTES if name in NOTES else _OF_ERRORS).splitlines()]
    close = difflib.get_close_matches(name, known, n=3)
    raise UsageError(
        "E-USAGE",
        f"there is no code {code}",
        expected="a code such as E-TRUNCATED or W-SPACING",
        remedy=f"did you mean {' or '.join(close)}?" if close else "docs/errors.md lists all of them",
    )
