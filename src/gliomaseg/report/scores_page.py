"""The files of an evaluation: scores.csv, summary.json, and scores.html, one self-contained page."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from gliomaseg.errors import GliomasegError
from gliomaseg.evaluation import tables
from gliomaseg.evaluation.comparison import Comparison, compare, name_methods
from gliomaseg.evaluation.pairing import Pair
from gliomaseg.evaluation.scores import Evaluation
from gliomaseg.labels import REGION_TITLES, TISSUE_TITLES
from gliomaseg.report.charts import Strip, StripChart, reliability_dots, strip_chart
from gliomaseg.report.disagreement import draw_disagreement, worst_region
from gliomaseg.report.pages import render
from gliomaseg.storage import files
from gliomaseg.storage.guard import refuse_foreign

#: The worst cases get a picture, up to this many; more would make the page heavy.
PICTURES = 20

_TITLES: Mapping[str, str] = dict([*TISSUE_TITLES.items(), *REGION_TITLES.items()])


#: The files, and a text near the beginning of each that gliomaseg wrote.
_MARKS = {
    "scores.csv": b"predictions,case,rules,",
    "summary.json": b'"schema_version"',
    "scores.html": b"<title>Scores of ",
}


def refuse_foreign_scores(folder: Path, *, overwrite: bool) -> None:
    """Raise OutputError (E-EXISTS) where scores would replace files of other programs."""
    for name, mark in _MARKS.items():
        refuse_foreign(folder / name, [mark], overwrite=overwrite)


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
    target = files.make_folder(Path(folder))
    page = target / "scores.html"
    files.write_text(target / "scores.csv", tables.scores_csv(evaluations, name_methods(evaluations)))
    files.write_json(target / "summary.json", tables.summary_dict(evaluations[0], comparison))
    files.write_text(page, scores_page(evaluations[0], target, comparison=comparison))
    return page


def scores_page(evaluation: Evaluation, folder: Path, *, comparison: Comparison | None = None) -> str:
    """Return the page as HTML; links are relative to ``folder``."""
    worst = evaluation.worst(len(evaluation.cases))
    return render(
        "scores.html",
        style="scores.css",
        name=evaluation.name,
        rules=evaluation.rules,
        notes=tables.notes(evaluation),
        case_count=len(worst),
        summary=_summary(evaluation),
        charts=_charts(evaluation, worst[:PICTURES]),
        headlines=tables.headline_titles(evaluation),
        cards=[_card(evaluation, case, folder) for case in worst[:PICTURES]],
        comparison=_comparison(comparison, evaluation) if comparison else None,
        calibration={
            f"{region.upper()}: expected calibration error {found.ece:.4f}": reliability_dots(found.curve())
            for region, found in evaluation.reliability.items()
        },
        cases=tables.case_table(evaluation, worst),
    )


def _comparison(comparison: Comparison, evaluation: Evaluation) -> dict[str, object]:
    return {
        "ranking": tables.ranking_table(comparison),
        "differences": tables.difference_tables(comparison, evaluation.shown),
        "notes": tables.comparison_notes(comparison),
    }


def _summary(evaluation: Evaluation) -> tables.Table:
    """Return the table of means, the regions with their titles below; empty without a scored case."""
    if not evaluation.cases:
        return []
    header, *rows = tables.summary_table(evaluation)
    return [header, *([_titled(row[0], "\n"), *row[1:]] for row in rows)]


def _titled(region: str, separator: str = " ") -> str:
    title = _TITLES.get(region.lower())
    return f"{region}{separator}{title}" if title else region


def _charts(evaluation: Evaluation, worst: list[str]) -> list[StripChart]:
    charts = []
    for metric in evaluation.shown:
        columns = evaluation.columns_of(metric, evaluation.regions)
        strips = [
            Strip(
                column.region.upper(),
                [(case, scores.get(column.name, math.nan)) for case, scores in evaluation.cases.items()],
                evaluation.summaries[column.name],
                column.text,
            )
            for column in columns
            if column.name in evaluation.summaries
        ]
        if strips:
            is_error = columns[0].lower_is_better
            charts.append(strip_chart(strips, title=columns[0].title, is_error=is_error, named=worst))
    return charts


def _card(evaluation: Evaluation, case: str, folder: Path) -> dict[str, object]:
    """Return what is shown of one of the worst cases: scores, pictures, links to its files."""
    pair, region = evaluation.pairs.get(case), worst_region(evaluation, case)
    panels, error = [], ""
    try:
        panels = draw_disagreement(pair, region) if pair else []
    except GliomasegError as found:
        error = found.what
    return {
        "title": tables.case_title(evaluation, case),
        "scores": tables.case_values(evaluation, case),
        "region": _titled(region.upper()),
        "panels": panels,
        "error": error,
        "files": _links(pair, folder) if pair else {},
    }


def _links(pair: Pair, folder: Path) -> dict[str, str]:
    files = {"prediction": pair.prediction, "reference": pair.reference}
    return {name: _relative(path, folder) for name, path in files.items() if path}


def _relative(path: Path, folder: Path) -> str:
    try:
        return quote(Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix())
    except ValueError:  # another drive
        return path.resolve().as_uri()
