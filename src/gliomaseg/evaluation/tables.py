"""Scores as text: a tidy CSV, plain values for JSON, tables and notes for people."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from gliomaseg import __version__
from gliomaseg.evaluation.comparison import Comparison, name_methods
from gliomaseg.evaluation.scores import ALL, MEAN_IOU, Evaluation
from gliomaseg.evaluation.statistics import plain
from gliomaseg.storage.tables import cell

SCHEMA_VERSION = 2

Table = list[list[str]]

#: With fewer cases the bootstrap interval of a mean is too narrow.
_FEW = 20

#: Names or cases listed in a note; the others are in summary.json.
_LISTED = 5


def scores_csv(evaluations: Sequence[Evaluation]) -> str:
    """Return one row per case, region and metric, at full precision; an empty value is undefined.

    Methods have the names of ``name_methods``, metrics their unit: ``hd95_mm``.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["predictions", "case", "rules", "region", "metric", "value"])
    for evaluation, name in zip(evaluations, name_methods(evaluations), strict=True):
        for case, scores in evaluation.cases.items():
            for key, column in evaluation.columns.items():
                value = scores.get(key, math.nan)
                row = [cell(name), cell(case), evaluation.rules, column.region, column.metric_name]
                writer.writerow([*row, "" if math.isnan(value) else repr(value)])
    return text.getvalue()


def summary_dict(evaluation: Evaluation, comparison: Comparison | None = None) -> dict[str, object]:
    """Return everything as plain values, for JSON; NaN becomes None."""
    summaries, has_interval = evaluation.summaries, len(evaluation.cases) > 1
    return {
        "schema_version": SCHEMA_VERSION,
        "gliomaseg": __version__,
        "rules": evaluation.rules,
        "predictions": evaluation.name,
        "n": len(evaluation.cases),
        "mean": {name: plain(s.mean) for name, s in summaries.items()},
        "median": {name: plain(s.median) for name, s in summaries.items()},
        "interval_95": {n: [plain(s.low), plain(s.high)] for n, s in summaries.items() if has_interval},
        "statistics": [
            {"region": column.region, "metric": column.metric_name}
            | {key: plain(value) for key, value in asdict(summaries[name]).items()}
            for name, column in evaluation.columns.items()
            if name in summaries
        ],
        "missing": list(evaluation.missing),
        "extra": list(evaluation.extra),
        "failed": {name: dict(error) for name, error in evaluation.failed.items()},
        "skipped": list(evaluation.skipped),
        "seen_in_training": list(evaluation.seen_in_training),
        "edited": list(evaluation.edited),
        "remarks": {name: list(notes) for name, notes in evaluation.notes.items()},
        "calibration": {
            region: {"ece": plain(found.ece), "bins": [list(row) for row in found.curve()]}
            for region, found in evaluation.reliability.items()
        },
        "comparison": comparison.as_dict() if comparison else None,
        "cases": {
            case: {name: plain(value) for name, value in scores.items()}
            for case, scores in evaluation.cases.items()
        },
    }


def summary_table(evaluation: Evaluation) -> Table:
    """Return regions as rows and the shown metrics as columns, mean [95 % interval] in each cell."""
    shown = [(metric, evaluation.columns_of(metric, evaluation.regions)) for metric in evaluation.shown]
    header = ["region", *(columns[0].title if columns else metric for metric, columns in shown)]
    rows = []
    for region in evaluation.regions:
        row = [region.upper()]
        for metric in evaluation.shown:
            column = evaluation.column(region, metric)
            summary = evaluation.summaries.get(column.name) if column else None
            row.append(column.mean_text(summary) if column and summary else "")
        rows.append(row)
    return [header, *rows]


def case_table(evaluation: Evaluation, cases: Sequence[str]) -> Table:
    """Return a header and the headline metrics of the ranked regions for each of ``cases``.

    With more than three regions only the overlaps, so that a row stays readable.
    """
    regions = evaluation.ranked_regions
    metrics = evaluation.headlines[: 2 if len(regions) <= 3 else 1]
    columns = [column for metric in metrics for column in evaluation.columns_of(metric, regions)]
    header = ["case", *(f"{column.region.upper()} {column.title}" for column in columns)]
    scores = [(case, evaluation.cases[case]) for case in cases]
    rows = [
        [case_title(evaluation, case), *(c.text(found.get(c.name, math.nan)) for c in columns)]
        for case, found in scores
    ]
    return [header, *rows]


def case_title(evaluation: Evaluation, case: str) -> str:
    """Return the id of a case, marked where it has no prediction."""
    return f"{case} (no prediction)" if case in evaluation.missing else case


def headline_titles(evaluation: Evaluation) -> list[str]:
    """Return the titles of the headline metrics, with their units."""
    regions = evaluation.ranked_regions[:1]
    return [column.title for m in evaluation.headlines for column in evaluation.columns_of(m, regions)]


def case_values(evaluation: Evaluation, case: str) -> dict[str, list[str]]:
    """Return the headline metrics of one case as text, for each ranked region."""
    scores = evaluation.cases[case]
    return {
        region.upper(): [
            column.text(scores.get(column.name, math.nan))
            for metric in evaluation.headlines
            for column in evaluation.columns_of(metric, [region])
        ]
        for region in evaluation.ranked_regions
    }


def worst_table(evaluation: Evaluation, count: int) -> Table:
    """Return the worst cases, one row each, the regions side by side in one cell per headline metric."""
    regions = " / ".join(region.upper() for region in evaluation.ranked_regions)
    rows = []
    for case in evaluation.worst(count):
        values = zip(*case_values(evaluation, case).values(), strict=True)
        rows.append([case_title(evaluation, case), *(" / ".join(texts) for texts in values)])
    return [["case", *(f"{title} {regions}" for title in headline_titles(evaluation))], *rows]


def notes(evaluation: Evaluation) -> list[str]:
    """Return the scores that notebooks print, and what was missing, undefined, failed or left out."""
    listed = {
        "without a prediction, scored as empty by the rules": evaluation.missing,
        "without a reference, left out": (*evaluation.extra, *evaluation.skipped),
        "that the model was trained on: this is not its accuracy": evaluation.seen_in_training,
        "edited by hand since they were written: their scores are not the model's": evaluation.edited,
    }
    lines = [_notebook_line(evaluation)] if evaluation.cases else []
    lines += [f"{len(names)} {what}: {_some(names)}" for what, names in listed.items() if names]
    undefined = {
        column.name: evaluation.summaries[column.name].undefined
        for column in evaluation.columns.values()
        if column.metric in evaluation.headlines and evaluation.summaries
    }
    undefined = {name: count for name, count in undefined.items() if count}
    if undefined:
        counts = [f"{name} in {count} of {len(evaluation.cases)}" for name, count in undefined.items()]
        lines.append(f"undefined by the rules and left out of the means: {_some(counts)}")
    if evaluation.reliability:
        errors = [f"{region.upper()} {found.ece:.4f}" for region, found in evaluation.reliability.items()]
        lines.append(f"expected calibration error inside the brain: {', '.join(errors)}")
    if 1 < len(evaluation.cases) < _FEW:
        lines.append(f"{len(evaluation.cases)} cases are few: the intervals are too narrow")
    lines += _first([f"{case}: {text}" for case, texts in evaluation.notes.items() for text in texts])
    return lines + _first([_failure(name, error) for name, error in evaluation.failed.items()])


def _failure(name: str, error: Mapping[str, str]) -> str:
    """Return the error of a case in three lines."""
    more = [f"{key}: {error[key]}" for key in ("expected", "remedy") if error.get(key)]
    return "\n".join([f"failed: {name}", f"{error['code']}: {error['what']}", *more])


def _notebook_line(evaluation: Evaluation) -> str:
    means = {name: f"{summary.mean:.3f}" for name, summary in evaluation.summaries.items()}
    classes = [column for column in evaluation.columns.values() if column.metric == "class_dice"]
    dices = ", ".join(f"{column.region.upper()} {means[column.name]}" for column in classes)
    return (
        f"as in BraTS notebooks: mean IoU over four classes with background {means[MEAN_IOU]}; "
        f"Dice of single classes {dices}"
    )


def _first(lines: list[str]) -> list[str]:
    more = len(lines) - _LISTED
    return lines[:_LISTED] + ([f"... and {more} more like these, see summary.json"] if more > 0 else [])


def _some(names: Sequence[str]) -> str:
    more = f" ... ({len(names)}, see summary.json)" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def ranking_table(comparison: Comparison) -> Table:
    """Return the methods by mean rank, best first, with p of their difference from the best."""
    ranking = comparison.ranking
    order = sorted(range(len(comparison.methods)), key=lambda method: ranking.mean_ranks[method])
    rows = [
        [
            comparison.methods[method],
            "–" if math.isnan(ranking.mean_ranks[method]) else f"{ranking.mean_ranks[method]:.3f}",
            "" if method == order[0] else p_text(float(ranking.p[method, order[0]])),
        ]
        for method in order
    ]
    return [["predictions", "mean rank", "p against the best"], *rows]


def difference_tables(comparison: Comparison, metrics: Sequence[str]) -> dict[str, Table]:
    """Return the paired differences of some metrics, a table for each method against the first."""
    tables: dict[str, Table] = {}
    for found in comparison.differences:
        column = found.column
        if column.metric not in metrics or column.region == ALL:
            continue
        header = ["region", "metric", found.first, found.other, "difference", "p"]
        row = [
            column.region.upper(),
            column.title,
            column.text(found.first_mean),
            column.text(found.other_mean),
            column.mean_text(found.summary, signed=True),
            p_text(found.test.p),
        ]
        tables.setdefault(f"{found.other} against {found.first}", [header]).append(row)
    return tables


def p_text(p: float) -> str:
    """Return a p value to three decimals."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def comparison_notes(comparison: Comparison) -> list[str]:
    """Return notes on how the numbers of a comparison are computed."""
    tests = len({(d.column.name, d.other) for d in comparison.differences})
    lines = [
        f"paired over {len(comparison.cases)} cases; brackets: 95 % bootstrap interval of the mean "
        "difference; p: Wilcoxon signed-rank test, two-sided",
        f"{tests} tests in summary.json, not corrected for their number: judge by the interval",
        "mean rank: methods ranked per case on " + ", ".join(comparison.ranked) + "; p by permutation",
    ]
    if comparison.ranking.undefined:
        lines.append(f"{comparison.ranking.undefined} undefined cells left out of the ranking")
    return lines
