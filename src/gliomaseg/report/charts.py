"""Charts of the scores page: strips of cases with their quartiles, reliability diagrams.

Places are pixels of the SVG in templates/charts.html, to a tenth.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import NamedTuple

from gliomaseg.evaluation.scores import ERRORS, Column
from gliomaseg.evaluation.statistics import Summary
from gliomaseg.evaluation.tables import column_title, value_text

#: The horizontal axis of a strip chart.
LEFT, RIGHT = 46, 328
#: The height of a row.
HEIGHT = 46
_TICKS: Sequence[float] = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_JITTER = 13.0
_GOLDEN = 0.6180339887498949


class Dot(NamedTuple):
    """A mark with its tooltip; ``kind`` is its class in the style sheet."""

    x: float
    y: float
    text: str
    kind: str = "worst"
    radius: float = 3


@dataclass(frozen=True)
class Strip:
    """One row of a chart: its label, scores by case id, their summary, and the text of a value."""

    label: str
    values: Sequence[tuple[str, float]]
    summary: Summary
    text: Callable[[float], str]


class Row(NamedTuple):
    """A strip as drawn: a dot for each case, the place of each number of its summary, and a tooltip."""

    label: str
    dots: Sequence[Dot]
    places: Mapping[str, float]
    summary: Summary
    text: str


class StripChart(NamedTuple):
    """A chart with one row per strip; ``ticks`` are values and their places on the axis."""

    title: str
    is_error: bool
    ticks: Sequence[tuple[float, float]]
    rows: Sequence[Row]


def draw_strips(title: str, strips: Sequence[Strip], *, is_error: bool, named: Sequence[str]) -> StripChart:
    """Return a chart; cases in ``named`` have a tooltip, the first three stand out.

    Overlaps are on an axis from 0 to 1, errors (distances) on a logarithmic one from 0.
    """
    values = [value for strip in strips for _, value in strip.values if not math.isnan(value)]
    is_share = not is_error and all(0 <= value <= 1 for value in values)
    most = math.log1p(max([*values, 1.0]))

    def place(value: float) -> float:
        share = value if is_share else math.log1p(max(value, 0.0)) / most
        return round(LEFT + (RIGHT - LEFT) * share, 1)

    ticks = [0, 0.25, 0.5, 0.75, 1] if is_share else [t for t in _TICKS if math.log1p(t) <= most * 1.001]
    if len(ticks) >= 8:
        ticks = [tick for tick in ticks if tick in (0, 1, 5, 20, 100, 500)]
    kinds = {name: "worst" if number < 3 else "named" for number, name in enumerate(named)}
    rows = []
    for number, strip in enumerate(strips):
        summary, middle = strip.summary, HEIGHT * number + HEIGHT // 2
        dots = [
            Dot(
                place(value),
                round(middle + _JITTER * (2 * (n * _GOLDEN % 1) - 1), 1),
                f"{name}: {strip.text(value)}" if name in kinds else "",
                kinds.get(name, ""),
            )
            for n, (name, value) in enumerate(strip.values)
            if not math.isnan(value)
        ]
        numbers = {key: value for key, value in asdict(summary).items() if not math.isnan(value)}
        text = f"mean {strip.text(summary.mean)}, median {strip.text(summary.median)}"
        rows.append(Row(strip.label, dots, {key: place(v) for key, v in numbers.items()}, summary, text))
    return StripChart(title, is_error, [(tick, place(tick)) for tick in ticks], rows)


def strip_charts(
    cases: Mapping[str, Mapping[str, float]],
    metrics: Iterable[Sequence[Column]],
    summaries: Mapping[str, Summary],
    *,
    named: Sequence[str],
) -> list[StripChart]:
    """Return a chart for the columns of each metric, with one row per region; see ``draw_strips``.

    ``cases`` and ``summaries`` hold the scores and their summary by the names of columns.
    """
    charts = []
    for columns in metrics:
        strips = [
            Strip(
                column.region.upper(),
                [(case, scores.get(column.name, math.nan)) for case, scores in cases.items()],
                summaries[column.name],
                partial(value_text, column),
            )
            for column in columns
            if column.name in summaries
        ]
        if strips:
            title, is_error = column_title(columns[0]), columns[0].metric in ERRORS
            charts.append(draw_strips(title, strips, is_error=is_error, named=named))
    return charts


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
