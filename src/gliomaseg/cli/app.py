"""The command line: which verbs there are, in which order, and what each --help shows as examples.

Each verb imports what it needs inside itself, so that start-up is fast.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer

from gliomaseg import __version__
from gliomaseg.cli import console
from gliomaseg.cli.checks import check, explain
from gliomaseg.cli.doctor import doctor
from gliomaseg.cli.evaluate import evaluate
from gliomaseg.cli.export import export
from gliomaseg.cli.report import report, view
from gliomaseg.cli.segment import demo, segment
from gliomaseg.cli.standardise import standardise
from gliomaseg.cli.train import train
from gliomaseg.errors import as_coded, strip_folders

#: Each verb with its examples, grouped as --help shows them.
VERBS: dict[str, dict[Callable[..., None], tuple[str, ...]]] = {
    "Use a model": {
        segment: (
            "gliomaseg segment CASE_FOLDER -o out",
            "gliomaseg segment DATA_FOLDER -o out --threads 2",
            "gliomaseg segment --t1c c.nii.gz --t2f f.nii.gz --id patient-7 -o out",
            "gliomaseg segment CASE_FOLDER -o labels.nii.gz",
            "gliomaseg segment EXAM_FOLDER -o out --native all",
        ),
        standardise: (
            "gliomaseg standardise EXAM_FOLDER -o prepared",
            "gliomaseg standardise EXAM_FOLDER -o prepared --mask brain.nii.gz",
        ),
        view: (
            "gliomaseg view out",
            "gliomaseg view CASE_FOLDER --seg labels.nii.gz --reference expert.nii.gz",
            "gliomaseg view out --static pages",
        ),
        report: (
            "gliomaseg report out -o cohort.html",
            "gliomaseg report LABEL_MAPS --data DATA_FOLDER -o cohort.html --mosaic 5",
        ),
        check: (
            "gliomaseg check DATA_FOLDER",
            "gliomaseg check DATA_FOLDER --deep --json",
            "gliomaseg check DATA_FOLDER --draft cases.csv",
        ),
    },
    "Score and train": {
        evaluate: (
            "gliomaseg evaluate out DATA_FOLDER --rules brats2023 -o scores",
            "gliomaseg evaluate ours DATA_FOLDER --compare theirs -o scores",
        ),
        train: (
            "gliomaseg train DATA_FOLDER -o runs/mine",
            "gliomaseg train DATA_FOLDER -o runs/slices --preset unet2d --modalities t1c,t2f --hours 2",
            "gliomaseg train DATA_FOLDER -o runs/tuned --init-from shipped --hours 1",
        ),
        export: (
            "gliomaseg export runs/mine -o models/mine --int8",
            "gliomaseg export runs/fold0 runs/fold1 -o models/both --cache prepared",
        ),
    },
    "Help": {
        explain: ("gliomaseg explain E-TRUNCATED",),
        doctor: ("gliomaseg doctor -o out",),
        demo: ("gliomaseg demo -o demo-out",),
    },
}

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _group, _verbs in VERBS.items():
    for _verb, _examples in _verbs.items():
        _shown = "\n\n".join(("Examples:", *_examples))  # a blank line apart, each stays a line
        app.command(rich_help_panel=_group, epilog=_shown)(_verb)


def _show_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"gliomaseg {__version__}\n")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
    _debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
    log: Annotated[Path | None, typer.Option("--log", help="Add tracebacks of errors to this file.")] = None,
) -> None:
    """Outline brain tumours in MRI. Research use only: not a medical device.

    Exit codes: 0 ok, 1 a problem with data, 2 wrong usage, 3 some of several cases failed, 130 interrupted.
    """
    if log:
        console.keep_log(log)


def main() -> None:
    """Run the command line: errors in three lines, no traceback unless --debug."""
    for stream in (sys.stdout, sys.stderr):  # ids and paths may hold what the terminal's locale does not
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    console.show_log()
    try:
        app()
    except Exception as error:  # noqa: BLE001 (nobody is to meet a traceback: --debug shows it)
        coded = as_coded(error)
        if "--json" in sys.argv:
            console.show_json({"error": coded.reworded(strip_folders).as_dict()})
        console.show_error(coded)
        raise SystemExit(coded.exit_code) from None
