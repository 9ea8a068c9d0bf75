"""Charts of the scores page: strips of cases with their quartiles, reliability diagrams.

Places are pixels of the SVG in templates/charts.html, to a tenth.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from gliomaseg.evaluation.scores import Evaluation
from gliomaseg.evaluation.statistics import Summary

#: The horizontal axis of a strip chart.
LEFT, RIGHT = 46, 328
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


@dataclass(frozen=True)
class StripChart:
    """A chart with one row per strip; cases in ``named`` have a tooltip, the first three stand out.

    Overlaps are on an axis from 0 to 1, errors (distances) on a logarithmic one from 0.
    """

    title: str
    is_error: bool
    strips: Sequence[Strip]
    named: Sequence[str]

    @cached_property
    def _most(self) -> float:
        """Return the logarithm at the end of the axis; 0 for an axis from 0 to 1."""
        values = [value for strip in self.strips for _, value in strip.values if not math.isnan(value)]
        is_share = not self.is_error and all(0 <= value <= 1 for value in values)
        return 0.0 if is_share else math.log1p(max([*values, 1.0]))

    def place(self, value: float) -> float:
        """Return the place of a value on the axis."""
        share = math.log1p(max(value, 0.0)) / self._most if self._most else value
        return round(LEFT + (RIGHT - LEFT) * share, 1)

    @property
    def ticks(self) -> list[float]:
        """Return the values with a tick."""
        if not self._most:
            return [0, 0.25, 0.5, 0.75, 1]
        ticks = [tick for tick in _TICKS if math.log1p(tick) <= self._most * 1.001]
        return ticks if len(ticks) < 8 else [tick for tick in ticks if tick in (0, 1, 5, 20, 100, 500)]

    def dots(self, strip: Strip, y: float) -> list[Dot]:
        """Return a dot for each case of a strip around the height ``y``; without a text if not ``named``."""
        kinds = {name: "worst" if number < 3 else "named" for number, name in enumerate(self.named)}
        heights = (round(y + _JITTER * (2 * (n * _GOLDEN % 1) - 1), 1) for n in range(len(strip.values)))
        return [
            Dot(
                self.place(value),
                height,
                f"{name}: {strip.text(value)}" if name in kinds else "",
                kinds.get(name, ""),
            )
            for (name, value), height in zip(strip.values, heights, strict=True)
            if not math.isnan(value)
        ]


def strip_charts(evaluation: Evaluation, *, named: Sequence[str]) -> list[StripChart]:
    """Return a chart of each shown metric, with one row per region."""
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
            charts.append(StripChart(columns[0].title, columns[0].lower_is_better, strips, named))
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
