"""Pages as one file each: Jinja2 templates with autoescape, and the style and script of a page inside it.

A page opens from a file or an e-mail, without network. Its Content-Security-Policy allows only its own style
and script, by their hash.
"""

from __future__ import annotations

import base64
import hashlib
import json
import statistics
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from gliomaseg import RESEARCH_USE, __version__
from gliomaseg.labels import MODALITY_TITLES, REGION_TITLES, TISSUE_TITLES, Region

if TYPE_CHECKING:
    from jinja2 import Environment

    from gliomaseg.report.cohort import Entry

#: Sequences, tissues and regions in words.
TITLES: Mapping[str, str] = dict([*MODALITY_TITLES.items(), *TISSUE_TITLES.items(), *REGION_TITLES.items()])

CASE_SCRIPTS, COHORT_SCRIPTS = ("viewer.js", "three.js"), ("cohort.js",)
#: The state of a case in the viewer whose label map has no record, until its page is opened.
NOT_OPENED = "not opened"
STATES = ("pass", "review", "unreliable", "failed", NOT_OPENED)
#: Columns of a cohort with numbers: title, name in measurements.csv, decimals.
NUMBERS = (
    ("WT, ml", "wt_volume_ml", 1),
    ("TC, ml", "tc_volume_ml", 1),
    ("ET, ml", "et_volume_ml", 1),
    ("lesions", "rano_lesions", 0),
    ("RANO, mm²", "rano_sum_of_products_mm2", 0),
)
_BINS, _WIDTH, _HEIGHT = 24, 320, 76  # of a histogram, in pixels

ASSETS = resources.files("gliomaseg") / "assets" / "report"


def render(
    template: str,
    *,
    style: str = "page.css",
    scripts: Sequence[str] = (),
    served: bool = False,
    **values: object,
) -> str:
    """Return a page made from a file of report/templates; ``values`` are escaped where they are shown.

    ``style`` and ``scripts`` name files of assets/report. ``served`` is for pages of the local viewer, which
    may request more from their own server. ``notice`` and ``version`` are known to every template.
    """
    return (
        _environment()
        .get_template(template)
        .render(
            policy=content_policy(scripts, style=style, served=served),
            style=asset(style),
            script=_joined(scripts),
            served=served,
            **values,
        )
    )


def cohort_page(entries: Sequence[Entry], *, title: str = "Cohort", served: bool = False) -> str:
    """Return the page of ``ordered`` entries as HTML; its script only sorts and filters."""
    return render(
        "cohort.html",
        scripts=COHORT_SCRIPTS,
        served=served,
        title=title,
        entries=entries,
        counts={name: sum(entry.quality == name for entry in entries) for name in STATES},
        numbers=NUMBERS,
        histograms=[chart for region in Region if (chart := _histogram(entries, region))],
    )


def _histogram(entries: Sequence[Entry], region: Region) -> dict[str, Any] | None:
    """Return how many cases have which volume: bars as (x, width, height) in pixels; None for one case."""
    values = [v for e in entries if (v := e.number(f"{region}_volume_ml")) is not None]
    if len(values) < 2:
        return None
    top, median, width = max(values) or 1.0, statistics.median(values), _WIDTH / _BINS
    counts = [0] * _BINS
    for value in values:
        counts[min(int(value / top * _BINS), _BINS - 1)] += 1
    spread = f"median {median:.1f} ml, {min(values):.1f} to {max(values):.1f} ml"
    return {
        "title": f"{REGION_TITLES[region]} ({region.upper()}): {spread}",
        "largest_ml": top,
        "median": median / top * _WIDTH,
        "bars": [
            (number * width + 1, width - 2, _HEIGHT * count / max(counts))
            for number, count in enumerate(counts)
            if count
        ],
    }


def load_templates() -> None:
    """Compile the templates of a case's page, about 50 ms, so that ``render`` finds them ready."""
    for name in ("base", "macros", "case", "key_numbers", "slices", "raw_exam", "measurements", "provenance"):
        _environment().get_template(f"{name}.html")


def content_policy(scripts: Sequence[str], *, style: str = "page.css", served: bool = False) -> str:
    """Return the Content-Security-Policy of a page.

    A page in one file may also run the library that it unpacks (NiiVue), and connects to nothing; a page that
    is ``served`` may connect to its own server.
    """
    source = "'self'" if served else "blob:"
    script = f"'sha256-{_digest(_joined(scripts))}' {source}" if scripts else "'none'"
    return "; ".join(
        (
            "default-src 'none'",
            "img-src data: blob:",
            f"style-src 'sha256-{_digest(asset(style))}'",
            f"script-src {script}",
            "connect-src " + (source if served else "'none'"),
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


@cache
def asset(name: str) -> str:
    """Return the text of a file of assets/report."""
    return (ASSETS / name).read_text(encoding="utf-8")


@cache
def library() -> bytes:
    """Return NiiVue as gzip bytes."""
    return (ASSETS / "niivue.js.gz").read_bytes()


def millilitres(volume: float) -> str:
    """Return a volume in ml as every page and picture shows it: one decimal, two digits below 1 ml."""
    return f"{volume:.2g}" if 0 < volume < 1 else f"{volume:.1f}"


def data_url(data: bytes) -> str:
    """Return a PNG, JPEG or gzip file as a URL that holds it: an image, or a volume, within the page."""
    kinds = {b"\x89P": "image/png", b"\xff\xd8": "image/jpeg", b"\x1f\x8b": "application/gzip"}
    return f"data:{kinds[data[:2]]};base64,{_base64(data)}"


def fixed(value: float | None, digits: int) -> str:
    """Return a number with so many decimals; nothing for None."""
    return "" if value is None else f"{value:.{digits}f}"


def pretty(content: object) -> str:
    """Return plain values as JSON for a reader."""
    return json.dumps(content, indent=1, ensure_ascii=False)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("gliomaseg", "report/templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    environment.filters |= {"ml": millilitres, "fixed": fixed, "data_url": data_url, "pretty": pretty}
    environment.globals |= {
        "notice": RESEARCH_USE,
        "version": __version__,
        "titles": TITLES,
        "niivue": library,
    }
    return environment


def _joined(scripts: Sequence[str]) -> str:
    return "\n".join(asset(name) for name in scripts)


def _digest(text: str) -> str:
    return _base64(hashlib.sha256(text.encode("utf-8", errors="backslashreplace")).digest())


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
