"""The report of a case as one page: opens from a file or an e-mail, without network; prints.

Everything is there without a script, too, but the slices; every text from outside is escaped.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from gliomaseg.report.content import Report
from gliomaseg.report.html import data_block, image, items, json_block, page, table
from gliomaseg.report.numbers import agreement, measurements
from gliomaseg.report.pages import library, millilitres
from gliomaseg.report.slices import viewer

SCRIPTS = ("viewer.js", "three.js")
EDITED = ' <span class="badge edited">edited</span>'
NOTHING_ODD = (
    "Nothing unusual in size, place and number of parts. That does not prove it right: look at the slices."
)


def case_page(report: Report, *, served: bool = False, home: str = "") -> str:
    """Return the page as HTML.

    ``served`` leaves the volumes and NiiVue to be asked for; ``home`` is a link back to the cohort.
    """
    about = report.about
    parts = [
        _header(about, home),
        "<main>",
        _key_numbers(about),
        viewer(about),
        agreement(about),
        measurements(report),
        _pictures(report),
        _made(about),
        "</main>",
        f'<footer><p class="notice">{escape(about["notice"])}</p><p>gliomaseg '
        f"{escape(about['gliomaseg'])}</p></footer>",
    ]
    data = "" if served else _blocks(report)
    block = json_block("report", about)
    return page(
        f"{report.case_id} · gliomaseg",
        "\n".join(parts),
        scripts=SCRIPTS,
        blocks=block + data,
        served=served,
    )


def _blocks(report: Report) -> str:
    volumes = [data_block(f"volume-{name}", data) for name, data in report.volumes.items()]
    return "\n".join([*volumes, data_block("niivue", library())])


def _header(about: Mapping[str, Any], home: str) -> str:
    name = escape(about["quality"])
    back = f'<nav><a href="{escape(home)}">All cases</a></nav>' if home else ""
    note = f'<p class="caution">{escape(about["note"])}</p>' if about["note"] else ""
    words = items(about["reasons"]) if about["reasons"] else f"<p>{NOTHING_ODD}</p>"
    more = [text for text in (_edited(about), _missing(about), about["oblique"], _seen(about)) if text]
    badge = f'<span class="badge {name}">{name}</span>' + EDITED * bool(about.get("edited"))
    return (
        f"<header>{back}<h1>{escape(about['case'])} {badge}</h1>{note}"
        f'<p class="notice">{escape(about["notice"])}</p><div class="reasons">{words}{items(more)}</div>'
        f"</header>"
    )


def _edited(about: Mapping[str, Any]) -> str:
    if not about.get("edited"):
        return ""
    return (
        "The label map was edited after gliomaseg wrote it, and measured anew. Intervals and predicted Dice "
        "were those of the map before: they are left out."
    )


def _missing(about: Mapping[str, Any]) -> str:
    if not about["channels"]:
        return "No images were given: only the outlines can be shown."
    return f"Missing sequences: {', '.join(about['missing'])}." if about["missing"] else ""


def _seen(about: Mapping[str, Any]) -> str:
    seen = about["run"].get("seen_in_training")
    return "The model was trained on this case: it says nothing about how good the model is." if seen else ""


def _key_numbers(about: Mapping[str, Any]) -> str:
    sizes, cells = about["measurements"], []
    kind = "mean Dice of unseen cases" if about["run"].get("missing") else "predicted Dice"
    for region in sizes["regions"]:
        low, high = region["volume_low_ml"], region["volume_high_ml"]
        span = (
            f"90 % interval {millilitres(low)} to {millilitres(high)}"
            if low is not None
            else f"{_count(region['lesions'], 'lesion')}"
        )
        dice = region["predicted_dice"]
        sure = f"; {kind} {dice:.2f}" if dice is not None else ""
        cells.append((region["title"], f"{millilitres(region['volume_ml'])} ml", span + sure))
    targets = [sizes["rano"]["lesions"][n - 1] for n in sizes["rano"]["targets"]]
    if targets:
        first = targets[0]
        lines = f"{first['longest_mm']:.1f} × {first['perpendicular_mm']:.1f} mm"
        cells.append(("RANO, sum of products", f"{sizes['rano']['sum_of_products_mm2']:.0f} mm²", lines))
    else:
        cells.append(("RANO", "not measurable", "no lesion of 10 × 10 mm"))
    side = sizes["side"]
    if side:
        where = {"both": "both sides"}.get(side["side"], f"patient's {side['side']}")
        cells.append(("Side", where, _shares(side)))
    tiles = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(more)}</small></dd></div>"
        for name, value, more in cells
    )
    return f'<dl class="key" aria-label="Key numbers">{tiles}</dl>'


def _shares(side: Mapping[str, Any]) -> str:
    """Return how much lies where, by the brain mask alone: no midline was measured."""
    right, left = side["right_percent"], side["left_percent"]
    if side["side"] == "both":
        return f"{right:.0f} % right and {left:.0f} % left of the mask's symmetry plane"
    return f"{min(right, left):.0f} % beyond the mask's symmetry plane"


def _pictures(report: Report) -> str:
    if "overview" not in report.pictures:
        return ""
    alt = (
        f"Axial, coronal and sagittal planes of {report.case_id} through the largest cross-section of "
        f"the tumour, in every "
        "sequence, with the outlines of whole tumour, tumour core and enhancing tumour"
    )
    picture = image(report.pictures["overview"], alt, name="overview")
    return f'<section id="still"><h2>Picture</h2>{picture}</section>'


def _made(about: Mapping[str, Any]) -> str:
    run = about["run"]
    if about.get("edited") or not run:
        words = "Edited by hand." if run else "Not known: the label map came without a run.json."
        return f"<section><h2>How it was made</h2><p>{words}</p></section>"
    rows = [["what", "value"]]
    model = run.get("model", {})
    rows += [["gliomaseg", str(run.get("gliomaseg", ""))], ["Python", str(run.get("python", ""))]]
    rows += [[name, str(version)] for name, version in run.get("libraries", {}).items()]
    rows += [["model", f"{model.get('name', '')}, SHA-256 {model.get('sha256', '')}"]]
    rows += [
        ["precision", str(run.get("precision", ""))],
        ["label scheme", f"{run.get('scheme', '')}: {run.get('labels', '')}"],
    ]
    rows += [
        [f"input {name}", f"{i.get('file', '')} SHA-256 {i['sha256']}".strip()]
        for name, i in run.get("inputs", {}).items()
    ]
    seconds = run.get("seconds", {})
    if seconds:
        rows.append(["seconds", ", ".join(f"{name} {value:.2f}" for name, value in seconds.items())])
    settings = escape(json.dumps(run.get("settings", {}), indent=1))
    details = f"<details><summary>Settings</summary><pre>{settings}</pre></details>"
    return f'<section class="made"><h2>How it was made</h2>{table(_filled(rows))}{details}</section>'


def _filled(rows: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    return [row for row in rows if row[1].strip(" :,")]


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
