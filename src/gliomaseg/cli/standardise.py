"""``gliomaseg standardise``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gliomaseg.cli import console
from gliomaseg.cli.options import Json, Threads

if TYPE_CHECKING:
    from gliomaseg.exams.prepared_case import PreparedCase


def standardise(
    path: Annotated[Path, typer.Argument(help="An exam's folder, a folder of exams, or a CSV list.")],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the prepared cases.")] = Path(
        "prepared"
    ),
    mask: Annotated[
        Path | None, typer.Option(help="Brain mask of one exam, drawn on one of its sequences.")
    ] = None,
    no_strip: Annotated[
        bool, typer.Option("--no-strip", help="The images show the brain alone, whatever their background.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing cases.")] = False,
    threads: Threads = 0,
    json: Json = False,
) -> None:
    """Make exams from the scanner into cases like those of BraTS: aligned, stripped, 1 mm.

    Each folder holds the sequences, brain_mask.nii.gz, transforms.json, and the reference if there is one.
    """
    from gliomaseg.cases.find import find_cases
    from gliomaseg.cli.inputs import with_mask
    from gliomaseg.exams.prepared_case import prepare_cases

    cases = find_cases(path)
    cases = with_mask(cases, mask) if mask else cases
    with console.progress() as progress, console.resumable():
        found = list(
            prepare_cases(
                cases, output, strip=not no_strip, threads=threads, overwrite=overwrite, progress=progress
            )
        )
    if json:
        console.show_json([case.as_dict() for case in found])
    else:
        console.show_table([["case", "state", "moved (mm)", "brain (ml)", "notes"], *map(_cells, found)])
        for case in found:
            if case.error:
                console.show_error(case.error)
    console.end(sum(case.error is not None for case in found), len(found))


def _cells(case: PreparedCase) -> list[str]:
    """Return a row: the state of a case, how far each sequence was moved, and the volume of its brain."""
    sequences = case.record.get("sequences", {})
    moved = ", ".join(f"{name} {s['moved_mm']:.0f}" for name, s in sequences.items() if s["moved_mm"])
    codes = [case.error.code] if case.error else [note.code for note in case.notes]
    brain = case.record.get("brain_ml")
    return [case.case_id, case.state, moved, f"{brain:.0f}" if brain else "", " ".join(codes)]
