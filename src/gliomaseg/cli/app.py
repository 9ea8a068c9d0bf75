"""The command line. Each verb imports what it needs inside itself, so that start-up is fast."""

from __future__ import annotations

import sys
from enum import StrEnum
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any

import typer

from gliomaseg import __version__
from gliomaseg.cli import checks as cli_checks
from gliomaseg.cli import console, show
from gliomaseg.cli import evaluate as cli_evaluate
from gliomaseg.cli import results as cli_results
from gliomaseg.cli import train as cli_train
from gliomaseg.cli.choices import DEVICES, PRECISIONS, QUALITIES, SCHEMES, choice
from gliomaseg.errors import as_coded, strip_folders

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Output = Annotated[Path, typer.Option("--output", "-o", help="Folder for the results; made if need be.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON to stdout instead of tables.")]
Image = Annotated[Path | None, typer.Option(help="This sequence's file, instead of PATH.")]
Threads = Annotated[int, typer.Option(min=0, help="CPU threads of the network; 0: one for each core.")]
Precision = Annotated[
    str,
    choice("--precision", PRECISIONS, "auto: the fastest that loses next to nothing here."),
]
Model = Annotated[str, typer.Option(help="Folder of a bundle; default: the shipped model.")]


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


_LOOKING = (cli_checks.check, cli_checks.explain, cli_checks.doctor, cli_results.report)
for _verb in (*_LOOKING, cli_results.view):
    app.command()(_verb)


class Only(StrEnum):
    """What of a result may be wanted alone."""

    SEG = "seg"


@app.command()
def segment(
    path: Annotated[
        Path | None, typer.Argument(help="A case's folder, a folder of cases, or a CSV list.")
    ] = None,
    *,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Folder for results; a name such as x.nii.gz: the label map of one case."
        ),
    ] = Path("out"),
    only: Annotated[
        Only | None, typer.Option(help="seg: without report and pictures.", show_default=False)
    ] = None,
    t1n: Image = None,
    t1c: Image = None,
    t2w: Image = None,
    t2f: Image = None,
    case_id: Annotated[str | None, typer.Option("--id", help="Case id for files given one by one.")] = None,
    labels: Annotated[str, choice("--labels", SCHEMES, "Label scheme of the result.")] = "brats2021",
    model: Model = "shipped",
    quality: Annotated[
        str,
        choice("--quality", QUALITIES, "fast: one pass; standard: two, +0.2 s; best: nine, +1.3 s."),
    ] = "fast",
    threads: Threads = 0,
    precision: Precision = "auto",
    device: Annotated[
        str, choice("--device", DEVICES, "cuda needs PyTorch; auto: cuda if there is one.")
    ] = "cpu",
    max_memory: Annotated[
        float | None, typer.Option(help="Most GB to take, by smaller windows; default: what is free.")
    ] = None,
    held_out: Annotated[
        bool, typer.Option("--held-out", help="Leave out cases that the model was trained on.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results that are there.")] = False,
    allow_missing: Annotated[
        bool,
        typer.Option("--allow-missing", help="Do without a sequence, though images were not understood."),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Go on where images don't look right.")] = False,
    keep_names: Annotated[
        bool, typer.Option("--keep-names", help="Name every input file in run.json; else only by hash.")
    ] = False,
    maps: Annotated[
        bool, typer.Option("--maps", help="Write the probability and entropy of each region, too.")
    ] = False,
    json: Json = False,
) -> None:
    """Label every voxel of a case, or of each case in a folder; draw pictures, and one table, summary.csv."""
    from gliomaseg.cli.inputs import choose_cases
    from gliomaseg.cohort import segment_cases
    from gliomaseg.labels import find_scheme
    from gliomaseg.segmenter import Segmenter

    scheme = find_scheme(labels)
    images = {"t1n": t1n, "t1c": t1c, "t2w": t2w, "t2f": t2f}
    cases = choose_cases(path, images, case_id, allow_missing=allow_missing)
    segmenter = Segmenter.load(
        model,
        force=force,
        keep_names=keep_names,
        maps=maps,
        quality=quality,
        threads=threads,
        precision=precision,
        device=device,
        max_memory_gb=max_memory,
    )
    if held_out:
        cases = segmenter.bundle.held_out(cases)
    with console.progress() as progress, console.resumable():
        wanted: dict[str, Any] = {"scheme": scheme, "overwrite": overwrite, "only": only and only.value}
        outcomes = list(segment_cases(cases, segmenter, output, **wanted, progress=progress))
    show.report(outcomes, output, as_json=json)


@app.command()
def demo(*, output: Output = Path("demo-out"), threads: Threads = 0, json: Json = False) -> None:
    """Segment the embedded synthetic exam (a phantom, not a patient)."""
    from gliomaseg.cases.find import find_case
    from gliomaseg.cohort import segment_cases
    from gliomaseg.imaging.phantom import make_phantom, write_phantom
    from gliomaseg.segmenter import Segmenter

    with console.progress() as progress:
        progress(0, "making the synthetic exam")
        case = find_case(write_phantom(make_phantom("full"), output / "exam"))
        segmenter = Segmenter.load(threads=threads)
        outcomes = list(segment_cases([case], segmenter, output, overwrite=True, progress=progress))
    show.report(outcomes, output, as_json=json)


app.command()(cli_train.train)


@app.command()
def export(
    runs: Annotated[list[Path], typer.Argument(help="Run folder of gliomaseg train; several: an ensemble.")],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="New folder for the bundle.")],
    name: Annotated[str | None, typer.Option(help="Name of the model; default: the first run's.")] = None,
    card: Annotated[Path | None, typer.Option(help="A model card to put in, instead of a short one.")] = None,
    best: Annotated[bool, typer.Option("--best", help="Weights of the best validation.")] = False,
    average_with: Annotated[
        list[str] | None,
        typer.Option(
            help="Average the weights with those of another run, a bundle or shipped, such as what it began "
            "with; may be repeated."
        ),
    ] = None,
    onnx: Annotated[bool, typer.Option("--onnx", help="Add the network as ONNX.")] = False,
    int8: Annotated[
        bool, typer.Option("--int8", help="Add the network in 8-bit numbers; needs the run's prepared cases.")
    ] = False,
    cache: Annotated[
        Path | None, typer.Option(help="Folder of the run's prepared cases; default: RUN/cache.")
    ] = None,
    measured: Annotated[
        Path | None, typer.Option(help="What cross-validation found, as JSON, to put in (docs/train.md).")
    ] = None,
) -> None:
    """Turn a trained run, or the mean of several, into a model bundle for segment."""
    from gliomaseg.cli.inputs import read_object

    with cli_train.training_extra():
        from gliomaseg.training.export import export as export_bundle
        from gliomaseg.training.run import load_run

    options: dict[str, Any] = {"best": best, "average_with": average_with or [], "onnx": onnx, "int8": int8}
    if name:
        options["name"] = name
    if card:
        options["card"] = card.read_text(encoding="utf-8")
    if measured:
        options["measured"] = read_object(measured, "--measured")
    if cache or int8 or (runs[0] / "cache").is_dir():
        options["cache"] = cache or runs[0] / "cache"
    with console.progress() as progress:
        loaded = [load_run(run) for run in runs]
        bundle = export_bundle(loaded, output, progress=progress, **options)
    console.say(f"{output}: {bundle.name}, sha256 {bundle.sha256}")
    if bundle.has_int8:
        console.say(show.int8_summary(bundle))
    console.say(f"next: gliomaseg segment CASE --model {output}")


app.command()(cli_evaluate.evaluate)


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
