"""The files of an evaluation: scores.csv, summary.json, and scores.html, one self-contained page."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from gliomaseg.errors import GliomasegError
from gliomaseg.evaluation import tables
from gliomaseg.evaluation.comparison import Comparison, compare
from gliomaseg.evaluation.scores import Evaluation
from gliomaseg.labels import REGION_TITLES, TISSUE_TITLES
from gliomaseg.report.charts import reliability_dots, strip_charts
from gliomaseg.report.disagreement import draw_disagreement, worst_region
from gliomaseg.report.pages import render
from gliomaseg.storage import files

#: The worst cases get a picture, up to this many; more would make the page heavy.
PICTURES = 20

_TITLES: Mapping[str, str] = dict([*TISSUE_TITLES.items(), *REGION_TITLES.items()])


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
    summary, table = tables.summary_dict(evaluations[0], comparison), tables.scores_csv(evaluations)
    page = scores_page(evaluations[0], Path(folder), comparison=comparison)
    target = files.make_folder(Path(folder))
    files.write_text(target / "scores.csv", table)
    files.write_json(target / "summary.json", summary)
    files.write_text(target / "scores.html", page)
    return target / "scores.html"


def scores_page(evaluation: Evaluation, folder: Path, *, comparison: Comparison | None = None) -> str:
    """Return the page as HTML; links are relative to ``folder``."""
    worst = evaluation.worst(len(evaluation.cases))
    pictured = worst[:PICTURES]
    return render(
        "scores.html",
        style="scores.css",
        name=evaluation.name,
        rules=evaluation.rules,
        case_count=len(worst),
        titles=_TITLES,
        notes=tables.notes(evaluation),
        summary=tables.summary_table(evaluation),
        cases=tables.case_table(evaluation, worst),
        headlines=tables.headline_titles(evaluation),
        scores={
            tables.case_title(evaluation, case): tables.case_values(evaluation, case) for case in pictured
        },
        comparison=comparison and _comparison(comparison, evaluation),
        charts=strip_charts(evaluation, named=pictured),
        calibration={
            f"{region.upper()}: expected calibration error {found.ece:.4f}": reliability_dots(found.curve())
            for region, found in evaluation.reliability.items()
        },
        pictures=[_pictures(evaluation, case, folder) for case in pictured],
    )


def _comparison(comparison: Comparison, evaluation: Evaluation) -> dict[str, object]:
    return {
        "ranking": tables.ranking_table(comparison),
        "differences": tables.difference_tables(comparison, evaluation.shown),
        "notes": tables.comparison_notes(comparison),
    }


def _pictures(evaluation: Evaluation, case: str, folder: Path) -> dict[str, object]:
    """Return the pictures of one of the worst cases, or why there are none, and links to its files."""
    pair = evaluation.pairs.get(case)
    files = {"prediction": pair.prediction, "reference": pair.reference} if pair else {}
    links = {name: _relative(path, folder) for name, path in files.items() if path}
    region = worst_region(evaluation, case)
    found: dict[str, object] = {"region": region, "files": links, "panels": [], "error": ""}
    try:
        return found | {"panels": draw_disagreement(pair, region) if pair else []}
    except GliomasegError as error:
        return found | {"error": error.what}


def _relative(path: Path, folder: Path) -> str:
    try:
        return quote(Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix())
    except ValueError:  # another drive
        return path.resolve().as_uri()
