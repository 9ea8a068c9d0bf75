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
    from gliomaseg.labels import LabelScheme


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
    from gliomaseg.evaluation.evaluation import evaluate_methods
    from gliomaseg.evaluation.pairing import Options
    from gliomaseg.report.scores_page import refuse_foreign_scores

    options = Options(
        scheme=_scheme(prediction_scheme),
        reference_scheme=_scheme(scheme),
        ignore_affine=ignore_affine,
        predicted_only=predicted_only,
        uncertainty=uncertainty,
        probabilities=probabilities,
        workers=jobs,
    )
    if output:
        refuse_foreign_scores(output, overwrite=overwrite)
    with console.progress() as progress:
        methods = [predictions, *(compare or [])]
        evaluations = evaluate_methods(methods, references, rules=rules, progress=progress, **options)
    _report_scores(evaluations, output, as_json=json)


def _scheme(name: str | None) -> LabelScheme | None:
    from gliomaseg.labels import find_scheme

    return find_scheme(name) if name else None


def _report_scores(evaluations: Sequence[Evaluation], output: Path | None, *, as_json: bool) -> None:
    """Write scores and show them, compared if there are several; raises SystemExit when cases failed."""
    from gliomaseg.evaluation import tables
    from gliomaseg.evaluation.comparison import compare
    from gliomaseg.report.scores_page import write_scores

    compared = compare(evaluations) if len(evaluations) > 1 else None
    page = write_scores(evaluations, output, comparison=compared) if output else None
    if as_json:
        console.show_json(tables.summary_dict(evaluations[0], compared))
    else:
        for evaluation in evaluations:
            _show_scores(evaluation)
        if compared:
            _show_comparison(compared, evaluations[0].shown)
        if page:
            console.echo(f"page: {page}; tables: scores.csv, summary.json beside it")
        console.echo(RESEARCH_USE)
    failed = sum(len(evaluation.failed) for evaluation in evaluations)
    console.end(failed, failed + sum(len(evaluation.cases) for evaluation in evaluations))


def _show_scores(evaluation: Evaluation) -> None:
    from gliomaseg.evaluation import tables

    rules = f"rules {evaluation.rules}"
    title = f"{evaluation.name}: mean [95 % interval] over {len(evaluation.cases)} cases, {rules}"
    if evaluation.cases:
        console.show_table(tables.summary_table(evaluation), title=title)
    if len(evaluation.cases) > 1:
        console.show_table(tables.worst_table(evaluation, 3), title=f"Worst cases, {rules}")
    for line in tables.notes(evaluation):
        console.echo(line)


def _show_comparison(compared: Comparison, metrics: Sequence[str]) -> None:
    from gliomaseg.evaluation import tables

    rules = f"rules {compared.rules}"
    console.show_table(tables.ranking_table(compared), title=f"Ranking, 1 is best, {rules}")
    for title, table in tables.difference_tables(compared, metrics).items():
        console.show_table(table, title=f"{title}, paired, {rules}")
    for line in tables.comparison_notes(compared):
        console.echo(line)
