"""``gliomaseg evaluate``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gliomaseg import RESEARCH_USE
from gliomaseg.cli import console
from gliomaseg.cli.choices import RULES, SCHEMES, choice
from gliomaseg.cli.options import Json, Overwrite, Scheme

if TYPE_CHECKING:
    from gliomaseg.evaluation.comparison import Comparison
    from gliomaseg.evaluation.scores import Evaluation


def evaluate(
    predictions: Annotated[Path, typer.Argument(help="Results of segment, or a folder of label maps.")],
    references: Annotated[Path, typer.Argument(help="A data set, a CSV list, or a folder of label maps.")],
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for scores.csv, summary.json and scores.html."),
    ] = None,
    rules: Annotated[str, choice("--rules", RULES, "Rules of this year and task.")] = "brats2020",
    compare: Annotated[
        list[Path] | None, typer.Option(help="Other predictions to compare with; may be repeated.")
    ] = None,
    scheme: Scheme = None,
    prediction_scheme: Annotated[
        str | None, choice("--prediction-scheme", SCHEMES, "Label scheme of the predictions.")
    ] = None,
    ignore_affine: Annotated[
        bool, typer.Option("--ignore-affine", help="Take voxels in the reference's order.")
    ] = False,
    predicted_only: Annotated[
        bool, typer.Option("--predicted-only", help="Leave out references without a prediction.")
    ] = False,
    uncertainty: Annotated[
        Path | None, typer.Option(help="Folder of QU-BraTS maps: CASE_unc_whole, _core, _enhance.nii.gz.")
    ] = None,
    probabilities: Annotated[
        Path | None, typer.Option(help="Folder of CASE/probabilities_wt, _tc, _et.nii.gz, for calibration.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=0, help="Processes; 0: all cores.")] = 0,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Score label maps against references by the rules of a BraTS year; compare several."""
    from gliomaseg.evaluation.comparison import compare as compare_methods
    from gliomaseg.evaluation.evaluation import evaluate_methods
    from gliomaseg.evaluation.pairing import Options
    from gliomaseg.evaluation.tables import summary_dict
    from gliomaseg.labels import find_scheme
    from gliomaseg.report.scores_page import MARKS, write_scores
    from gliomaseg.storage.guard import refuse_foreign

    options = Options(
        scheme=find_scheme(prediction_scheme) if prediction_scheme else None,
        reference_scheme=find_scheme(scheme) if scheme else None,
        ignore_affine=ignore_affine,
        predicted_only=predicted_only,
        uncertainty=uncertainty,
        probabilities=probabilities,
        workers=jobs,
    )
    if output:
        for name, mark in MARKS.items():
            refuse_foreign(output / name, [mark], overwrite=overwrite)
    with console.progress() as progress:
        methods = [predictions, *(compare or [])]
        evaluations = evaluate_methods(methods, references, rules=rules, progress=progress, **options)
    compared = compare_methods(evaluations) if len(evaluations) > 1 else None
    page = write_scores(evaluations, output, comparison=compared) if output else None
    if json:
        console.show_json(summary_dict(evaluations[0], compared))
    else:
        _show_scores(evaluations, compared)
        if page:
            console.echo(f"page: {page}; tables: scores.csv, summary.json beside it")
        console.echo(RESEARCH_USE)
    failed = sum(len(evaluation.failed) for evaluation in evaluations)
    console.end(failed, failed + sum(len(evaluation.cases) for evaluation in evaluations))


def _show_scores(evaluations: Sequence[Evaluation], compared: Comparison | None) -> None:
    from gliomaseg.evaluation import comparison, tables

    blocks: list[tuple[dict[str, tables.Table], list[str]]] = []
    for found in evaluations:
        cases, rules = len(found.cases), f"rules {found.rules}"
        title = f"{found.name}: mean [95 % interval] over {cases} cases, {rules}"
        shown = {title: tables.summary_table(found)} if cases else {}
        if cases > 1:
            shown[f"Worst cases, {rules}"] = tables.worst_table(found, 3)
        blocks.append((shown, tables.notes(found)))
    if compared:
        rules = f"rules {compared.rules}"
        shown = {f"Ranking, 1 is best, {rules}": comparison.ranking_table(compared)}
        for title, table in comparison.difference_tables(compared, evaluations[0].shown).items():
            shown[f"{title}, paired, {rules}"] = table
        blocks.append((shown, comparison.comparison_notes(compared)))
    for shown, notes in blocks:
        for title, table in shown.items():
            console.show_table(table, title=title)
        for line in notes:
            console.echo(line)
