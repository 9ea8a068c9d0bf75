"""The page of a cohort: a table to sort and filter, pictures, distributions, the strangest cases first.

Complete without its script, which only sorts and filters; every text from outside is escaped.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from html import escape

from gliomaseg import RESEARCH_USE, __version__
from gliomaseg.labels import REGION_TITLES
from gliomaseg.report.case_page import EDITED
from gliomaseg.report.cohort import NOT_OPENED, Entry, ordered
from gliomaseg.report.html import page
from gliomaseg.report.pages import base64_text

SCRIPTS = ("cohort.js",)
STATES = ("pass", "review", "unreliable", "failed", NOT_OPENED)
_NUMBERS = (
    ("WT, ml", "wt_volume_ml", 1),
    ("TC, ml", "tc_volume_ml", 1),
    ("ET, ml", "et_volume_ml", 1),
    ("lesions", "rano_lesions", 0),
    ("RANO, mm²", "rano_sum_of_products_mm2", 0),
)
_BINS = 24


def cohort_page(entries: Sequence[Entry], *, title: str = "Cohort", served: bool = False) -> str:
    """Return the page as HTML; links are those of the entries."""
    entries = ordered(entries)
    counts = {name: sum(entry.quality == name for entry in entries) for name in STATES}
    words = ", ".join(f"{counts[name]} {name}" for name in STATES if counts[name])
    header = (
        f"<header><h1>{escape(title)}</h1><p>{len(entries)} cases: {escape(words)}</p>"
        f'<p class="notice">{escape(RESEARCH_USE)}</p></header>'
    )
    body = (
        f"{header}<main>{_distributions(entries)}{_controls()}{_table(entries)}</main>"
        f'<footer><p class="notice">{escape(RESEARCH_USE)}</p><p>gliomaseg {escape(__version__)}. Sizes '
        f"are of the label maps; "
        "the quality is explained in each report.</p></footer>"
    )
    return page(f"{title} · gliomaseg", body, scripts=SCRIPTS, served=served)


def _controls() -> str:
    options = "".join(f'<option value="{name}">{name}</option>' for name in STATES)
    return (
        '<section aria-label="Cases"><h2>Cases</h2><div class="controls screen" id="controls" hidden>'
        '<div class="group"><label>Find <input type="search" id="find" placeholder="id, reason, side, '
        'sequence"></label>'
        f'<label>Quality <select id="quality"><option value="">all</option>{options}</select></label></div>'
        '<p id="count" class="faint" aria-live="polite"></p></div></section>'
    )


def _table(entries: Sequence[Entry]) -> str:
    names = ["picture", "case", "quality", *(name for name, _, _ in _NUMBERS), "side", "missing", "seconds"]
    words = ("case", "quality", "side", "missing")
    heads = "".join(
        f'<th scope="col"{" class=words" if name in words else ""}>{escape(name)}</th>' for name in names
    )
    rows = "".join(_row(entry) for entry in entries)
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="Table of cases"><table id="cases" '
        f'class="cohort"><thead><tr>{heads}'
        f"</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _row(entry: Entry) -> str:
    name = escape(entry.case_id)
    link = f'<a href="{escape(entry.page)}">{name}</a>' if entry.page else name
    picture = ""
    if entry.thumbnail:
        data = base64_text(entry.thumbnail)
        picture = f'<img loading="lazy" decoding="async" src="data:image/jpeg;base64,{data}" alt="">'
    if entry.mosaic:
        picture += f'<a href="{escape(entry.mosaic)}">all slices</a>'
    reasons = "".join(f"<small>{escape(reason)}</small>" for reason in entry.reasons)
    quality = escape(entry.quality)
    cells = "".join(_number(entry.number(column), digits) for _, column, digits in _NUMBERS)
    side = entry.row.get("side", "")
    missing = ", ".join(entry.missing) or "none"
    return (
        f'<tr data-quality="{quality}"><td>{picture}</td><th scope="row">{link}</th>'
        f'<td class="words"><span class="badge '
        f'{quality}">{quality}</span>{EDITED * entry.edited}{reasons}</td>'
        f'{cells}<td class="words">{escape(side)}</td><td class="words">{escape(missing)}'
        f"</td>{_number(entry.seconds, 1)}</tr>"
    )


def _number(value: float | None, digits: int) -> str:
    return "<td></td>" if value is None else f'<td data-value="{value:g}">{value:.{digits}f}</td>'


def _distributions(entries: Sequence[Entry]) -> str:
    figures = []
    for region, words in REGION_TITLES.items():
        values = [v for e in entries if (v := e.number(f"{region}_volume_ml")) is not None]
        if len(values) > 1:
            median = statistics.median(values)
            spread = f"median {median:.1f} ml, {min(values):.1f} to {max(values):.1f} ml"
            name = f"{words} ({region.upper()}): {spread}"
            figures.append(
                f"<figure>{_histogram(values, median, name)}<figcaption>{escape(name)}</figcaption></figure>"
            )
    if not figures:
        return ""
    return f'<section><h2>Volumes</h2><div class="charts">{"".join(figures)}</div></section>'


def _histogram(values: Sequence[float], median: float, name: str) -> str:
    """Draw how many cases have which volume; the line is the median."""
    top = max(values) or 1.0
    counts = [0] * _BINS
    for value in values:
        counts[min(int(value / top * _BINS), _BINS - 1)] += 1
    high, width = max(counts), 320 / _BINS
    bars = "".join(
        f'<rect x="{number * width + 1:.1f}" y="{80 - 76 * count / high:.1f}" width="{width - 2:.1f}" '
        f'height="{76 * count / high:.1f}"/>'
        for number, count in enumerate(counts)
        if count
    )
    x = median / top * 320
    axis = '<line class="axis" x1="0" y1="80" x2="320" y2="80"/>'
    ticks = f'<text x="0" y="95">0</text><text x="320" y="95" text-anchor="end">{top:.0f} ml</text>'
    return (
        f'<svg viewBox="0 0 320 100" role="img" aria-label="{escape(name)}">{bars}{axis}'
        f'<line class="median" x1="{x:.1f}" y1="0" x2="{x:.1f}" y2="80"/>{ticks}</svg>'
    )
