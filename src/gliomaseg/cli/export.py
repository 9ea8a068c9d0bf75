"""``gliomaseg export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gliomaseg.cli import console

if TYPE_CHECKING:
    from gliomaseg.inference.bundle import Bundle


def export(
    runs: Annotated[list[Path], typer.Argument(help="Run folder of gliomaseg train; several: an ensemble.")],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="New folder for the bundle.")],
    name: Annotated[str | None, typer.Option(help="Name of the model; default: the first run's.")] = None,
    card: Annotated[Path | None, typer.Option(help="Model card, instead of a short one.")] = None,
    best: Annotated[bool, typer.Option("--best", help="Weights of the best validation.")] = False,
    average_with: Annotated[
        list[str] | None,
        typer.Option(
            help="Average the weights with those of another run, a bundle, or shipped; may be repeated."
        ),
    ] = None,
    onnx: Annotated[bool, typer.Option("--onnx", help="Add the network as ONNX.")] = False,
    int8: Annotated[
        bool, typer.Option("--int8", help="Add the network in int8; needs the run's prepared cases.")
    ] = False,
    cache: Annotated[
        Path | None, typer.Option(help="Folder of the run's prepared cases; default: RUN/cache.")
    ] = None,
    measured: Annotated[
        Path | None, typer.Option(help="JSON of cross-validation results to include (docs/train.md).")
    ] = None,
) -> None:
    """Turn a trained run, or the mean of several, into a model bundle for segment."""
    from gliomaseg.cli.inputs import read_object, training_extra

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
    console.echo(f"{output}: {bundle.name}, sha256 {bundle.sha256}")
    if bundle.has_int8:
        console.echo(_int8_summary(bundle))
    console.echo(f"next: gliomaseg segment CASE --model {output}")


def _int8_summary(bundle: Bundle) -> str:
    """Return the measured cost of int8, and whether it is used automatically."""
    change = bundle.about["int8"]["dice_change"]
    if not change:
        return "int8: not measured without held-out cases; used only with --precision int8"
    points = ", ".join(f"{region.upper()} {100 * value:+.2f}" for region, value in change.items())
    used = (
        "used automatically where the CPU supports it"
        if bundle.int8_is_as_good
        else "used only with --precision int8"
    )
    return f"int8: Dice changes by {points} points on {bundle.about['int8']['cases']} held-out cases; {used}"
