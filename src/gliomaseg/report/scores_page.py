"""The files of an evaluation: scores.csv, summary.json, and scores.html, one self-contained page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gliomaseg.evaluation import tables
from gliomaseg.evaluation.comparison import (
    Comparison,
    compare,
    comparison_notes,
    difference_tables,
    ranking_table,
)
from gliomaseg.evaluation.scores import Evaluation
from gliomaseg.report.charts import reliability_dots, strip_charts
from gliomaseg.report.disagreement import case_pictures
from gliomaseg.report.pages import render
from gliomaseg.storage import files

#: The worst cases get a picture, up to this many; more would make the page heavy.
PICTURES = 20

#: The files, and a text near the beginning of each that gliomaseg wrote.
MARKS = {
    "scores.csv": b"predictions,case,rules,",
    "summary.json": b'"schema_version"',
    "scores.html": b"<title>Scores of ",
}


def write_scores(
    evaluations: Sequence[Evaluation], folder: str | Path, *, comparison: Comparison | None = None
) -> Path:
    """Write scores.csv, summary.json and scores.html into ``folder``, and return the page.

    The folder is created if it doesn't exist; earlier files of these names are replaced. The table holds all
    evaluations; the summary and the page the first one, and its ``comparison`` with the others, by default
    that of ``compare``. Raises OutputError (E-PERM, E-DISK), and CaseError (E-NOCASE) when several have no
    case in common.
    """
    if comparison is None and len(evaluations) > 1:
        comparison = compare(evaluations)
    page = scores_page(evaluations[0], Path(folder), comparison=comparison)
    summary, table = tables.summary_dict(evaluations[0], comparison), tables.scores_csv(evaluations)
    target = files.make_folder(Path(folder))
    files.write_text(target / "scores.csv", table)
    files.write_json(target / "summary.json", summary)
    files.write_text(target / "scores.html", page)
    return target / "scores.html"


def scores_page(evaluation: Evaluation, folder: Path, *, comparison: Comparison | None = None) -> str:
    """Return the page as HTML; links are relative to ``folder``."""
    worst = evaluation.worst(len(evaluation.cases))
    pictured = worst[:PICTURES]
    shown = [evaluation.columns_of(metric, evaluation.regions) for metric in evaluation.shown]
    summaries = evaluation.summaries
    return render(
        "scores.html",
        style="scores.css",
        name=evaluation.name,
        rules=evaluation.rules,
        case_count=len(worst),
        notes=tables.notes(evaluation),
        summary=tables.summary_table(evaluation),
        cases=tables.case_table(evaluation, worst),
        headlines=tables.headline_titles(evaluation),
        scores={
            tables.case_title(evaluation, case): tables.case_values(evaluation, case) for case in pictured
        },
        charts=strip_charts(evaluation.cases, shown, summaries, named=pictured),
        comparison=comparison
        and {
            "ranking": ranking_table(comparison),
            "differences": difference_tables(comparison, evaluation.shown),
            "notes": comparison_notes(comparison),
        },
        calibration={
            f"{region.upper()}: expected calibration error {found.ece:.4f}": reliability_dots(found.curve())
            for region, found in evaluation.reliability.items()
        },
        pictures=[case_pictures(evaluation, case, folder) for case in pictured],
    )
