"""Geometry of the charts on the scores page: strips of cases with their quartiles, reliability diagrams.

Coordinates are those of the SVG in templates/charts.html, to a tenth of a pixel.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gliomaseg.evaluation.scores import Evaluation
from gliomaseg.evaluation.statistics import Summary

WIDTH, LEFT, RIGHT, ROW, AXIS = 340, 46, 12, 46, 26
#: Dots of a strip above which they are drawn finer, so that the box stays visible.
_CROWD = 200
_JITTER = 13.0
_GOLDEN = 0.6180339887498949

Place = Callable[[float], float]


@dataclass(frozen=True)
class Strip:
    """One row of a chart: its label, scores by case id, their summary, and the text of a value."""

    label: str
    values: Sequence[tuple[str, float]]
    summary: Summary
    text: Callable[[float], str]


class Dot(NamedTuple):
    """A mark with its tooltip; ``kind`` is its class, ``radius`` in pixels."""

    x: float
    y: float
    text: str
    kind: str = ""
    radius: float = 0.0


class Row(NamedTuple):
    """A strip as drawn around the height ``y``; only the label without a defined value."""

    label: str
    y: float
    quartiles: tuple[float, ...] = ()
    mean: float = 0.0
    interval: tuple[float, ...] = ()
    text: str = ""
    dots: Sequence[Dot] = ()
    spots: str = ""
    is_crowded: bool = False


@dataclass(frozen=True)
class StripChart:
    """A chart with one row per strip, above an axis with ticks."""

    title: str
    is_error: bool
    ticks: Sequence[Dot]
    rows: Sequence[Row]
    bottom: int
    width, left, axis = WIDTH, LEFT, AXIS


def evaluation_charts(evaluation: Evaluation, *, named: Sequence[str]) -> list[StripChart]:
    """Return a chart of each shown metric, with one row per region; cases in ``named`` as in strip_chart."""
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
            charts.append(strip_chart(strips, title=columns[0].title, is_error=is_error, named=named))
    return charts


def strip_chart(strips: Sequence[Strip], *, title: str, is_error: bool, named: Sequence[str]) -> StripChart:
    """Return a chart with one row per strip; cases in ``named`` have a tooltip, the first three stand out.

    Overlaps are on an axis from 0 to 1, errors (distances) on a logarithmic one from 0.
    """
    values = [value for strip in strips for _, value in strip.values if not math.isnan(value)]
    place, ticks = _scale(values, is_error=is_error)
    kinds = {name: "worst" if number < 3 else "named" for number, name in enumerate(named)}
    rows = [_row(strip, ROW * (number + 0.5), place, kinds) for number, strip in enumerate(strips)]
    marks = [Dot(place(tick), 0, f"{tick:g}") for tick in ticks]
    return StripChart(title, is_error, marks, rows, bottom=ROW * len(rows))


def _scale(values: Sequence[float], *, is_error: bool) -> tuple[Place, Sequence[float]]:
    span = WIDTH - LEFT - RIGHT
    if not is_error and all(0 <= value <= 1 for value in values):
        return lambda value: round(LEFT + span * value, 1), [0, 0.25, 0.5, 0.75, 1]
    most = math.log1p(max([*values, 1.0]))
    ticks = [t for t in (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if math.log1p(t) <= most * 1.001]
    if len(ticks) >= 8:
        ticks = [t for t in ticks if t in (0, 1, 5, 20, 100, 500)]
    return lambda value: round(LEFT + span * math.log1p(max(value, 0.0)) / most, 1), ticks


def _row(strip: Strip, y: float, place: Place, kinds: Mapping[str, str]) -> Row:
    """Return a strip as drawn: one path for all cases, for speed, and circles for those with a tooltip."""
    summary = strip.summary
    if not summary.n:
        return Row(strip.label, y)
    dots, spots = [], []
    for number, (name, value) in enumerate(strip.values):
        if math.isnan(value):
            continue
        x, height = place(value), round(y + _JITTER * (2 * (number * _GOLDEN % 1) - 1), 1)
        if name in kinds:
            dots.append(Dot(x, height, f"{name}: {strip.text(value)}", kinds[name]))
        else:
            spots.append(f"M{x} {height}h0")
    interval = () if math.isnan(summary.low) else (place(summary.low), place(summary.high))
    return Row(
        strip.label,
        y,
        quartiles=tuple(map(place, (summary.lower_quartile, summary.median, summary.upper_quartile))),
        mean=place(summary.mean),
        interval=interval,
        text=f"{strip.label}: mean {strip.text(summary.mean)}, median {strip.text(summary.median)}",
        dots=dots,
        spots="".join(spots),
        is_crowded=len(spots) > _CROWD,
    )


def reliability_dots(curve: Sequence[tuple[float, float, int]]) -> list[Dot]:
    """Return a dot for each bin: the share of tumour over the probability; more voxels, larger dot."""
    most = max((math.log1p(count) for _, _, count in curve), default=1.0)
    return [
        Dot(
            round(34 + 150 * probability, 1),
            round(158 - 150 * share, 1),
            f"probability {probability:.2f}, tumour {share:.2f}, {count} voxels",
            radius=round(1.5 + 3 * math.log1p(count) / most, 1),
        )
        for probability, share, count in curve
    ]
