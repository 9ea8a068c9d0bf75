"""Drawings for the scores page, as SVG text: strips of cases with their quartiles, reliability diagrams.

Made for a width of 340 pixels, so that their letters stay readable on a telephone. Colours come from the
page's style sheet. Ignorant of evaluations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from gliomaseg.evaluation.statistics import Summary

WIDTH, LEFT, RIGHT, ROW, AXIS = 340.0, 46.0, 12.0, 46.0, 26.0
_JITTER = 13.0
_GOLDEN = 0.6180339887498949
_MANY = 200  # dots of a strip from which they are drawn finer, so that the box shows through

#: Classes of the dots that tell their name.
_STANDING_OUT, _NAMED = "worst", "named"

Place = Callable[[float], float]


@dataclass(frozen=True)
class Strip:
    """One row of a chart: its label, what single cases scored, their summary and how to write a value."""

    label: str
    values: Sequence[tuple[str, float]]
    summary: Summary
    text: Callable[[float], str]


def strip_chart(strips: Sequence[Strip], *, title: str, is_error: bool, named: Sequence[str]) -> str:
    """Return an SVG with one row per strip; cases in ``named`` tell their name, the first three stand out.

    Overlaps lie on an axis from 0 to 1, errors (distances) on a logarithmic one from 0.
    """
    values = [value for strip in strips for _, value in strip.values if not math.isnan(value)]
    place, ticks = _scale(values, is_error=is_error)
    height = ROW * len(strips) + AXIS
    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH:g} {height:g}" role="img" aria-label="{escape(title)}">',
        *(_tick(place(value), text, height - AXIS) for value, text in ticks),
    ]
    chosen = {name: _STANDING_OUT if number < 3 else _NAMED for number, name in enumerate(named)}
    for number, strip in enumerate(strips):
        parts += _draw_strip(strip, ROW * (number + 0.5), place=place, named=chosen)
    return "".join([*parts, "</svg>"])


def _scale(values: Sequence[float], *, is_error: bool) -> tuple[Place, list[tuple[float, str]]]:
    span = WIDTH - LEFT - RIGHT
    if not is_error and all(0 <= value <= 1 for value in values):
        return lambda value: LEFT + span * value, [(t / 4, f"{t / 4:g}") for t in range(5)]
    most = math.log1p(max([*values, 1.0]))
    ticks = [t for t in (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if math.log1p(t) <= most * 1.001]
    return lambda value: LEFT + span * math.log1p(max(value, 0.0)) / most, [(t, str(t)) for t in _thin(ticks)]


def _thin(ticks: list[int]) -> list[int]:
    return ticks if len(ticks) < 8 else [t for t in ticks if t in (0, 1, 5, 20, 100, 500)]


def _tick(x: float, text: str, bottom: float) -> str:
    line = f'<path class="grid" d="M{x:.1f} 0V{bottom:g}"/>'
    return f'{line}<text class="tick" x="{x:.1f}" y="{bottom + 16:g}" text-anchor="middle">{text}</text>'


def _draw_strip(strip: Strip, y: float, *, place: Place, named: Mapping[str, str]) -> list[str]:
    parts = [f'<text class="label" x="4" y="{y + 4:g}">{escape(strip.label)}</text>']
    summary = strip.summary
    if not summary.n:
        return [*parts, f'<text class="tick" x="{LEFT:g}" y="{y + 4:g}">undefined in every case</text>']
    low, middle, high = (place(v) for v in (summary.lower_quartile, summary.median, summary.upper_quartile))
    box = f'x="{low:.1f}" y="{y - 9:g}" width="{max(high - low, 1):.1f}" height="18"'
    parts += [f'<rect class="box" {box}/>', _dots(strip, y, place=place, named=named)]
    parts.append(f'<path class="median" d="M{middle:.1f} {y - 11:g}v22"/>')
    if not math.isnan(summary.low):
        parts.append(f'<path class="mean" d="M{place(summary.low):.1f} {y:g}H{place(summary.high):.1f}"/>')
    x = place(summary.mean)
    tip = f"{strip.label}: mean {strip.text(summary.mean)}, median {strip.text(summary.median)}"
    diamond = f"M{x:.1f} {y - 5:g}l5 5l-5 5l-5 -5z"
    return [*parts, f'<path class="diamond" d="{diamond}"><title>{escape(tip)}</title></path>']


def _dots(strip: Strip, y: float, *, place: Place, named: Mapping[str, str]) -> str:
    """Draw all cases in one path, for speed, and those that tell their name as circles of their own."""
    spots, circles = [], []
    for number, (name, value) in enumerate(strip.values):
        if math.isnan(value):
            continue
        x, dot = place(value), y + _JITTER * (2 * (number * _GOLDEN % 1) - 1)
        if name in named:
            tip = f"{name}: {strip.text(value)}"
            circle = f'<circle class="{named[name]}" cx="{x:.1f}" cy="{dot:.1f}" r="3">'
            circles.append(f"{circle}<title>{escape(tip)}</title></circle>")
        else:
            spots.append(f"M{x:.1f} {dot:.1f}h0")
    kind = "dots many" if len(spots) > _MANY else "dots"
    return (f'<path class="{kind}" d="{"".join(spots)}"/>' if spots else "") + "".join(circles)


def reliability_chart(curve: Sequence[tuple[float, float, int]], *, title: str) -> str:
    """Return an SVG of the share of tumour over the probability; a dot's area follows its voxels."""
    side, left, top = 150.0, 34.0, 8.0
    most = max((math.log1p(count) for _, _, count in curve), default=1.0)

    def spot(x: float, y: float) -> str:
        return f"{left + side * x:.1f} {top + side * (1 - y):.1f}"

    parts = [f'<svg class="square" viewBox="0 0 200 200" role="img" aria-label="{escape(title)}">']
    parts.append(f'<path class="grid" d="M{spot(0, 1)}L{spot(0, 0)}L{spot(1, 0)}"/>')
    parts.append(f'<path class="ideal" d="M{spot(0, 0)}L{spot(1, 1)}"/>')
    if curve:
        line = "L".join(spot(probability, share) for probability, share, _ in curve)
        parts.append(f'<path class="mean" d="M{line}"/>')
    for probability, share, count in curve:
        x, y = spot(probability, share).split()
        radius = 1.5 + 3 * math.log1p(count) / most
        tip = f"given {probability:.2f}, true {share:.2f}, {count} voxels"
        circle = f'<circle class="worst" cx="{x}" cy="{y}" r="{radius:.1f}">'
        parts.append(f"{circle}<title>{tip}</title></circle>")
    bottom = top + side + 14
    parts += [
        f'<text class="tick" x="{left:g}" y="{bottom:g}">0</text>',
        f'<text class="tick" x="{left + side:g}" y="{bottom:g}" text-anchor="end">1</text>',
        f'<text class="tick" x="{left + side / 2:g}" y="{bottom + 12:g}" text-anchor="middle">'
        "probability</text>",
        f'<text class="tick" x="{left - 6:g}" y="{top + 8:g}" text-anchor="end">1</text>',
        f'<text class="tick" x="{left - 10:g}" y="{top + side / 2:g}" text-anchor="middle"'
        f' transform="rotate(-90 {left - 10:g} {top + side / 2:g})">share of tumour</text>',
    ]
    return "".join([*parts, "</svg>"])
