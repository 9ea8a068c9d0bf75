"""The part of a report that shows slices: canvases, their controls, 3D. Drawn by viewer.js and three.js."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

PLANES = ("axial", "coronal", "sagittal")


def viewer(about: Mapping[str, Any]) -> str:
    """Return the section of the slices; it stays hidden where there is no script."""
    planes = "".join(
        f'<figure class="plane"><canvas id="canvas-{name}" tabindex="0" role="img" aria-label="{name} '
        f'slice"></canvas>'
        f'<figcaption><label for="slice-{name}" id="label-{name}">{name}</label>'
        f'<input type="range" id="slice-{name}" min="0" max="{about["grid"]["shape"][2 - number] - 1}" '
        f'value="0"></figcaption></figure>'
        for number, name in enumerate(PLANES)
    )
    step = about["grid"]["step"]
    coarse = f" Of {step} voxels along each axis one is shown; gliomaseg view shows all." if step > 1 else ""
    keys = (
        "Click or drag to move the crosshair; drag with the right button or Shift to change the window; "
        "scroll or "
        "use the arrow keys for slices. Keys on a picture: 1 to 4 sequence, o overlay, l outlines, x "
        "crosshair, "
        "w window back, t back to the tumour, [ ] , . window."
    )
    return (
        f'<section id="viewer" aria-label="Slices" hidden><h2>Slices</h2>{_controls(about)}<div '
        f'class="planes">{planes}</div>'
        f'<p id="readout" class="faint" aria-live="polite"></p>{_kinds(about)}'
        f'<p class="faint">Radiological convention: the patient\'s right (R) is on your left. '
        f"{escape(about['oblique'])} {escape(about.get('where', ''))}{coarse}</p>"
        f'<details class="screen"><summary>Mouse and keyboard</summary><p>{escape(keys)}</p></details>'
        '<div class="three screen"><h3>3D</h3><p id="three-words" class="faint"></p>'
        '<button type="button" id="three-show" hidden>Show in 3D</button><div id="three"></div></div>'
        "</section>"
    )


def _controls(about: Mapping[str, Any]) -> str:
    channels = "".join(_choice("radio", "channel", c["name"], c["title"]) for c in about["channels"])
    parts = "".join(
        _choice("checkbox", "part", p["name"], f"{p['title']} ({p['name'].upper()})", colour=p["name"])
        for p in about["parts"]
    )
    shown = "".join(
        f'<label><input type="checkbox" id="{name}">{words}</label>'
        for name, words in (
            ("outlines", "outlines"),
            ("lines", "RANO lines"),
            ("crosshair", "crosshair"),
            ("smooth", "smooth"),
        )
    )
    drag = _choice("radio", "drag", "crosshair", "crosshair") + _choice("radio", "drag", "window", "window")
    groups = [
        _group("Sequence", channels) if channels else "",
        _compare(about),
        _group("Outlined", parts, name="parts"),
        _group("Show", shown),
        _group("Dragging moves", drag),
        '<div class="group"><label>Fill <input type="range" id="opacity" min="0" max="100" value="15">'
        "</label>"
        '<span id="window" class="faint"></span><button type="button" id="reset">Reset</button></div>',
    ]
    return f'<div class="controls screen">{"".join(groups)}</div>'


def _compare(about: Mapping[str, Any]) -> str:
    if len(about["maps"]) < 2:
        return ""
    names = (("compare", "agreement"), ("seg", "prediction"), ("reference", "reference"))
    choices = "".join(_choice("radio", "map", name, words) for name, words in names)
    regions = "".join(f'<option value="{r["name"]}">{escape(r["title"])}</option>' for r in about["regions"])
    return _group(
        "Label map",
        f'{choices}<label>of <select id="region">{regions}</select></label>'
        '<button type="button" id="worst">Most disagreement</button>',
    )


def _kinds(about: Mapping[str, Any]) -> str:
    if not about["agreement"]:
        return ""
    kinds = "".join(
        f'<span class="swatch {k["name"]}"></span> {escape(k["title"])} ' for k in about["agreement"]["kinds"]
    )
    return f'<p id="kinds" class="faint">{kinds}</p>'


def _group(title: str, inner: str, *, name: str = "") -> str:
    mark = f' id="{name}"' if name else ""
    return f'<fieldset class="group"{mark}><legend>{escape(title)}</legend>{inner}</fieldset>'


def _choice(kind: str, name: str, value: str, words: str, *, colour: str = "") -> str:
    swatch = f'<span class="line {colour}"></span>' if colour else ""
    return (
        f'<label><input type="{kind}" name="{name}" value="{escape(value)}">{swatch}{escape(words)}</label>'
    )
