"""What an evaluation leaves on disk: scores.csv, summary.json and scores.html."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gliomaseg.evaluation import tables
from gliomaseg.evaluation.comparison import Comparison, name_methods
from gliomaseg.evaluation.scores import Evaluation
from gliomaseg.report.scores_page import scores_page
from gliomaseg.storage import files
from gliomaseg.storage.guard import refuse_foreign

#: The files, and what tells ours from those of others.
_MARKS = {
    "scores.csv": b"predictions,case,rules,",
    "summary.json": b'"schema_version"',
    "scores.html": b"<title>Scores of ",
}


def refuse_foreign_scores(folder: Path, *, overwrite: bool) -> None:
    """Raise OutputError (E-EXISTS) where scores would replace someone else's files."""
    for name, mark in _MARKS.items():
        refuse_foreign(folder / name, [mark], overwrite=overwrite)


def write_scores(
    evaluations: Sequence[Evaluation],
    folder: str | Path,
    *,
    comparison: Comparison | None = None,
) -> Path:
    """Write the three files into ``folder``, made if need be, and return the page; raises OutputError.

    The table holds all evaluations, the summary and the page the first one and the comparison.
    """
    target = files.make_folder(Path(folder))
    files.write_text(target / "scores.csv", tables.scores_csv(evaluations, name_methods(evaluations)))
    files.write_json(target / "summary.json", tables.summary_dict(evaluations[0], comparison))
    page = target / "scores.html"
    files.write_text(page, scores_page(evaluations[0], target, comparison=comparison))
    return page
