"""``gliomaseg export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gliomaseg.cli import console, show
from gliomaseg.cli.train import training_extra


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

    with training_extra():
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
