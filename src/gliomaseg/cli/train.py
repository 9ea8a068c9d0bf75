"""``gliomaseg train``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from gliomaseg import RESEARCH_USE
from gliomaseg.cli import console
from gliomaseg.cli.choices import PRESETS, SCHEMES, choice
from gliomaseg.cli.options import Json


def train(
    data: Annotated[Path, typer.Argument(help="Folder of cases with references, or a CSV list.")],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="Run folder; the same command resumes.")],
    preset: Annotated[str, choice("--preset", PRESETS, "Network and recipe.")] = "unet3d",
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="section.name=value; may be repeated.")
    ] = None,
    modalities: Annotated[
        str | None, typer.Option(help="Sequences to train on, such as t1c,t2f; default: all four.")
    ] = None,
    fold: Annotated[int | None, typer.Option(help="The fold held out; default: the preset's.")] = None,
    hours: Annotated[float | None, typer.Option(help="Train for this long instead of by steps.")] = None,
    init_from: Annotated[
        str | None, typer.Option(help="Initial weights: shipped, a bundle folder, a run folder.")
    ] = None,
    track: Annotated[
        str | None, typer.Option(help="Also log to tensorboard, mlflow, or both with a comma.")
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(help="Folder of prepared cases, shared between runs; default: OUTPUT/cache."),
    ] = None,
    scheme: Annotated[
        str | None,
        choice("--scheme", SCHEMES, "Label scheme of the references; default: by file names."),
    ] = None,
    plan_only: Annotated[
        bool, typer.Option("--plan-only", help="Prepare, measure, print the plan; don't train.")
    ] = False,
    show_augmentation: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw augmented patches; don't train.")
    ] = None,
    json: Json = False,
) -> None:
    """Train a network; the same command resumes it.

    Several GPUs or machines: accelerate launch -m gliomaseg train ...
    """
    from gliomaseg.cases.find import find_cases
    from gliomaseg.cli.inputs import training_extra
    from gliomaseg.exams.check_cases import require_sound
    from gliomaseg.labels import find_scheme
    from gliomaseg.settings.loading import load_settings

    named = {
        "network.modalities": _list(modalities),
        "training.fold": fold,
        "training.hours": hours,
        "training.init_from": init_from,
        "training.track": _list(track),
    }
    given = [f"{name}={value}" for name, value in named.items() if value is not None]
    settings = load_settings(preset, [*(changes or []), *given])
    cases = find_cases(data, scheme=find_scheme(scheme) if scheme else None)
    require_sound(cases, settings.network.modalities)
    with training_extra():
        from gliomaseg.training import train as training
    with console.progress() as progress, console.resumable():
        how: dict[str, Any] = {"cache": cache, "progress": progress}
        if show_augmentation:
            training.show_augmentation(cases, output, settings, show_augmentation, **how)
        elif plan_only:
            plan = training.plan(cases, output, settings, **how)
        else:
            run = training.train(cases, output, settings, **how)
    if os.environ.get("RANK", "0") != "0":  # one of several processes reports
        return
    if show_augmentation:
        console.echo(f"picture: {show_augmentation}")
    elif plan_only:
        _show_plan(plan, output, as_json=json)
    else:
        _show_run(run, output, as_json=json)


def _show_plan(plan: Any, output: Path, *, as_json: bool) -> None:
    if as_json:
        console.show_json(plan.as_dict())
        return
    console.show_table(plan.rows(), title="Plan")
    for line in plan.advice:
        console.echo(line)
    console.echo(f"written: {output / 'plan.json'}; without --plan-only the training begins")


def _show_run(run: Any, output: Path, *, as_json: bool) -> None:
    header, *body = run.summary()
    if as_json:
        console.show_json(
            {
                "run": str(output),
                "last": dict(zip(header, body[0], strict=True)) if body else None,
                "notes": run.settings.notes,
            }
        )
        return
    console.show_table([header, *body], title=f"Run {output}")
    for note in (*run.settings.notes, RESEARCH_USE):
        console.echo(note)
    console.echo(f"next: gliomaseg export {output} -o MODEL")


def _list(text: str | None) -> str | None:
    """Return names between commas as a list that ``--set`` understands."""
    return None if text is None else f"[{', '.join(name.strip() for name in text.split(','))}]"
