"""Scores as text: a tidy CSV, plain values for JSON, tables and notes for people."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from gliomaseg import __version__
from gliomaseg.evaluation.scores import MEAN_IOU, PLAIN_UNITS, Column, Evaluation
from gliomaseg.evaluation.statistics import Summary
from gliomaseg.storage.tables import cell

if TYPE_CHECKING:
    from gliomaseg.evaluation.comparison import Comparison

SCHEMA_VERSION = 2

Table = list[list[str]]

METRIC_TITLES: Mapping[str, str] = {
    "dice": "Dice",
    "iou": "IoU",
    "hd95": "HD95",
    "asd": "mean surface distance",
    "nsd_0.5voxels": "NSD at 0.5 voxels",
    "nsd_0.5mm": "NSD at 0.5 mm",
    "nsd_1mm": "NSD at 1 mm",
    "lesion_dice": "lesion Dice",
    "lesion_hd95": "lesion HD95",
    "lesion_tp": "lesions found",
    "lesion_fp": "false lesions",
    "lesion_fn": "lesions missed",
    "class_dice": "class Dice",
    "qu_brats": "QU-BraTS score",
    "qu_dice": "QU-BraTS Dice area",
    "qu_filtered_tp": "QU-BraTS filtered TP",
    "qu_filtered_tn": "QU-BraTS filtered TN",
    MEAN_IOU: "mean IoU with background",
}
_COUNTS = ("lesion_tp", "lesion_fp", "lesion_fn")
#: With fewer cases the bootstrap interval of a mean is too narrow.
_FEW = 20

#: Names or cases listed in a note; the others are in summary.json.
_LISTED = 5


def metric_name(column: Column) -> str:
    """Return the metric with its unit, such as ``hd95_mm``."""
    is_plain = column.unit in PLAIN_UNITS or column.metric.endswith(f"_{column.unit}")
    return column.metric if is_plain else f"{column.metric}_{column.unit}"


def column_title(column: Column) -> str:
    """Return the metric's title with its unit, such as ``HD95 (mm)``."""
    title = METRIC_TITLES.get(column.metric, column.metric.replace("_", " "))
    return title if column.unit in PLAIN_UNITS else f"{title} ({column.unit})"


def value_text(column: Column, value: float) -> str:
    """Return a value with its significant digits; a dash for NaN."""
    if math.isnan(value):
        return "–"
    is_ratio = column.unit in PLAIN_UNITS and column.metric not in _COUNTS
    return f"{value:.3f}" if is_ratio else f"{value:.1f}"


def mean_text(column: Column, summary: Summary, *, signed: bool = False) -> str:
    """Return a mean with its 95 % interval in brackets; without the interval below two cases."""
    values = (summary.mean, summary.low, summary.high)
    mean, low, high = (("+" if signed and value > 0 else "") + value_text(column, value) for value in values)
    return mean if math.isnan(summary.low) else f"{mean} [{low}, {high}]"


def plain(value: float) -> float | None:
    """Return a number for JSON, which has no NaN: None instead."""
    return None if math.isnan(value) else value


def name_methods(evaluations: Sequence[Evaluation]) -> tuple[str, ...]:
    """Return the names of the folders, numbered where two have the same."""
    names = [evaluation.name for evaluation in evaluations]
    return tuple(
        f"{name} ({number})" if names.count(name) > 1 else name for number, name in enumerate(names, start=1)
    )


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
                row = [cell(name), cell(case), evaluation.rules, column.region, metric_name(column)]
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
            {"region": column.region, "metric": metric_name(column)}
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
    summaries, rows = evaluation.summaries, {region: [region.upper()] for region in evaluation.regions}
    header = ["region"]
    for metric in evaluation.shown:
        columns = {column.region: column for column in evaluation.columns_of(metric, evaluation.regions)}
        header.append(next(map(column_title, columns.values()), metric))
        for region, row in rows.items():
            column = columns.get(region)
            row.append(mean_text(column, summaries[column.name]) if column and summaries else "")
    return [header, *rows.values()]


def case_table(evaluation: Evaluation, cases: Sequence[str]) -> Table:
    """Return a header and the headline metrics of the ranked regions for each of ``cases``.

    With more than three regions only the overlaps, so that a row stays readable.
    """
    regions = evaluation.ranked_regions
    metrics = evaluation.headlines[: 2 if len(regions) <= 3 else 1]
    columns = [column for metric in metrics for column in evaluation.columns_of(metric, regions)]
    header = ["case", *(f"{column.region.upper()} {column_title(column)}" for column in columns)]
    scores = [(case, evaluation.cases[case]) for case in cases]
    rows = [
        [case_title(evaluation, case), *(value_text(c, found.get(c.name, math.nan)) for c in columns)]
        for case, found in scores
    ]
    return [header, *rows]


def case_title(evaluation: Evaluation, case: str) -> str:
    """Return the id of a case, marked where it has no prediction."""
    return f"{case} (no prediction)" if case in evaluation.missing else case


def headline_titles(evaluation: Evaluation) -> list[str]:
    """Return the titles of the headline metrics, with their units."""
    regions = evaluation.ranked_regions[:1]
    return [
        column_title(column) for m in evaluation.headlines for column in evaluation.columns_of(m, regions)
    ]


def case_values(evaluation: Evaluation, case: str) -> dict[str, list[str]]:
    """Return the headline metrics of one case as text, for each ranked region."""
    scores = evaluation.cases[case]
    return {
        region.upper(): [
            value_text(column, scores.get(column.name, math.nan))
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
