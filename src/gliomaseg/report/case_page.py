"""The report of a case as one page: opens from a file or an e-mail, without network; prints.

Everything is there without a script, too, but the slices; every text from outside is escaped.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from gliomaseg.report.content import Report
from gliomaseg.report.html import data_block, image, items, json_block, library, page, table

SCRIPTS = ("viewer.js", "three.js")
PLANES = ("axial", "coronal", "sagittal")
VERDICTS = {"plausible": "plausible", "look": "look at it first"}


def case_page(report: Report, *, served: bool = False, home: str = "") -> str:
    """Return the page as HTML.

    ``served`` leaves the volumes and NiiVue to be asked for; ``home`` is a link back to the cohort.
    """
    about = report.about
    parts = [
        _header(about, home),
        "<main>",
        _key_numbers(about),
        _viewer(about),
        _agreement(about),
        _measurements(report),
        _pictures(report),
        _made(about),
        "</main>",
        f'<footer><p class="notice">{escape(about["notice"])}</p><p>gliomaseg {escape(about["gliomaseg"])}</p></footer>',
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
    verdict = about["verdict"]
    name = verdict["verdict"]
    back = f'<nav><a href="{escape(home)}">All cases</a></nav>' if home else ""
    note = f'<p class="caution">{escape(about["note"])}</p>' if about["note"] else ""
    words = (
        items(verdict["reasons"])
        if verdict["reasons"]
        else "<p>Nothing unusual in size, place and number of parts. That does not prove it right: look at the slices.</p>"
    )
    more = [text for text in (_missing(about), about["oblique"], _seen(about)) if text]
    return (
        f'<header>{back}<h1>{escape(about["case"])} <span class="badge {name}">{VERDICTS[name]}</span></h1>{note}'
        f'<p class="notice">{escape(about["notice"])}</p><div class="reasons">{words}{items(more)}</div></header>'
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
    for region in sizes["regions"]:
        low, high = region["volume_low_ml"], region["volume_high_ml"]
        span = f"{_ml(low)} to {_ml(high)}" if low is not None else f"{_count(region['lesions'], 'lesion')}"
        cells.append((region["title"], f"{_ml(region['volume_ml'])} ml", span))
    targets = [sizes["rano"]["lesions"][n - 1] for n in sizes["rano"]["targets"]]
    if targets:
        first = targets[0]
        lines = f"{first['longest_mm']:.1f} × {first['perpendicular_mm']:.1f} mm"
        cells.append(("RANO, sum of products", f"{sizes['rano']['sum_of_products_mm2']:.0f} mm²", lines))
    else:
        cells.append(("RANO", "not measurable", "no lesion of 10 × 10 mm"))
    side = sizes["side"]
    if side:
        shares = f"{side['right_percent']:.0f} % right, {side['left_percent']:.0f} % left"
        cross = ", crosses the midline" if side["crosses_midline"] else ""
        where = {"both": "both sides"}.get(side["side"], f"patient's {side['side']}")
        cells.append(("Side", where, shares + cross))
    tiles = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(more)}</small></dd></div>" for name, value, more in cells
    )
    return f'<dl class="key" aria-label="Key numbers">{tiles}</dl>'


def _viewer(about: Mapping[str, Any]) -> str:
    planes = "".join(
        f'<figure class="plane"><canvas id="canvas-{name}" tabindex="0" role="img" aria-label="{name} slice"></canvas>'
        f'<figcaption><label for="slice-{name}" id="label-{name}">{name}</label>'
        f'<input type="range" id="slice-{name}" min="0" max="{about["grid"]["shape"][2 - number] - 1}" value="0"></figcaption></figure>'
        for number, name in enumerate(PLANES)
    )
    step = about["grid"]["step"]
    coarse = f" Of {step} voxels along each axis one is shown; gliomaseg view shows all." if step > 1 else ""
    keys = (
        "Click or drag to move the crosshair; drag with the right button or Shift to change the window; scroll or "
        "use the arrow keys for slices. Keys on a picture: 1 to 4 sequence, o overlay, l outlines, x crosshair, "
        "w window back, t back to the tumour, [ ] , . window."
    )
    return (
        f'<section id="viewer" aria-label="Slices" hidden><h2>Slices</h2>{_controls(about)}<div class="planes">{planes}</div>'
        f'<p id="readout" class="faint" aria-live="polite"></p>{_kinds(about)}'
        f'<p class="faint">Radiological convention: the patient\'s right (R) is on your left. {escape(about["oblique"])}{coarse}</p>'
        f'<details class="screen"><summary>Mouse and keyboard</summary><p>{escape(keys)}</p></details>'
        '<div class="three screen"><h3>3D</h3><p id="three-words" class="faint"></p>'
        '<button type="button" id="three-show" hidden>Show in 3D</button><div id="three"></div></div></section>'
    )


def _controls(about: Mapping[str, Any]) -> str:
    channels = "".join(_choice("radio", "channel", c["name"], c["title"]) for c in about["channels"])
    parts = "".join(
        _choice("checkbox", "part", p["name"], f"{p['title']} ({p['name'].upper()})", colour=p["name"]) for p in about["parts"]
    )
    shown = "".join(
        f'<label><input type="checkbox" id="{name}">{words}</label>'
        for name, words in (("outlines", "outlines"), ("lines", "RANO lines"), ("crosshair", "crosshair"), ("smooth", "smooth"))
    )
    drag = _choice("radio", "drag", "crosshair", "crosshair") + _choice("radio", "drag", "window", "window")
    groups = [
        _group("Sequence", channels) if channels else "",
        _compare(about),
        _group("Outlined", parts, name="parts"),
        _group("Show", shown),
        _group("Dragging moves", drag),
        '<div class="group"><label>Fill <input type="range" id="opacity" min="0" max="100" value="15"></label>'
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
    kinds = "".join(f'<span class="swatch {k["name"]}"></span> {escape(k["title"])} ' for k in about["agreement"]["kinds"])
    return f'<p id="kinds" class="faint">{kinds}</p>'


def _group(title: str, inner: str, *, name: str = "") -> str:
    mark = f' id="{name}"' if name else ""
    return f'<fieldset class="group"{mark}><legend>{escape(title)}</legend>{inner}</fieldset>'


def _choice(kind: str, name: str, value: str, words: str, *, colour: str = "") -> str:
    swatch = f'<span class="line {colour}"></span>' if colour else ""
    return f'<label><input type="{kind}" name="{name}" value="{escape(value)}">{swatch}{escape(words)}</label>'


def _agreement(about: Mapping[str, Any]) -> str:
    if not about["agreement"]:
        return ""
    rows = [["region", "Dice", "in both, ml", "only in the prediction, ml", "only in the reference, ml"]]
    for found in about["agreement"]["regions"]:
        dice = "both empty" if found["dice"] is None else f"{found['dice']:.3f}"
        volumes = [_ml(found[key]) for key in ("both_ml", "only_prediction_ml", "only_reference_ml")]
        rows.append([f"{found['title']} ({found['region'].upper()})", dice, *volumes])
    return f"<section><h2>Against the reference</h2>{table(rows)}</section>"


def _measurements(report: Report) -> str:
    about, sizes = report.about, report.about["measurements"]
    least = sizes["least_lesion_ml"]
    volumes = [["region", "volume, ml", "range, ml", "lesions", "largest, ml", "longest, mm", "surface, mm²", "sphericity", "centre x, y, z, mm"]]
    for region in sizes["regions"]:
        low, high, shape = region["volume_low_ml"], region["volume_high_ml"], region["largest_lesion"]
        span = f"{_ml(low)} to {_ml(high)}" if low is not None else "not known"
        volumes.append([f"{region['title']} ({region['region'].upper()})", _ml(region["volume_ml"]), span, str(region["lesions"]), *_shape(shape)])
    tissues = [["label", "tissue", "volume, ml", "voxels"]]
    tissues += [[str(t["value"]), t["title"], _ml(t["volume_ml"]), f"{t['voxels']:,}"] for t in sizes["labels"]]
    fractions = sizes["fractions"]
    ratios = [["ratio", "value"]] + [
        [name, "no core" if fractions[key] is None else f"{fractions[key]:.2f}"]
        for name, key in (("ET / TC", "et_of_tc"), ("necrosis / TC", "ncr_of_tc"), ("oedema / TC", "ed_of_tc"))
    ]
    if sizes["brain_volume_ml"]:
        ratios.append(["brain, ml", f"{sizes['brain_volume_ml']:.0f}"])
    words = (
        f"Lesions are voxels joined by a face, an edge or a corner, of {least} ml or more. Surface, sphericity, centre (RAS+) "
        "and longest diameter are of the largest one. The range is between the voxels that the model calls at least 90 % "
        "and at least 10 % probable."
    )
    scheme = f"Label map, {about['scheme']}"
    return (
        f'<section><h2>Measurements</h2>{table(volumes, caption="Regions")}<p class="faint">{words}</p>'
        f'<div class="side">{table(tissues, caption=scheme, heads=2)}{table(ratios, caption="Fractions")}</div>'
        f"{_rano(report)}</section>"
    )


def _shape(shape: Mapping[str, Any] | None) -> list[str]:
    if not shape:
        return ["", "", "", "", ""]
    centre = ", ".join(f"{value:+.0f}" for value in shape["centroid_mm"])
    return [_ml(shape["volume_ml"]), f"{shape['longest_mm']:.1f}", f"{shape['surface_mm2']:.0f}", f"{shape['sphericity']:.2f}", centre]


def _rano(report: Report) -> str:
    rano = report.about["measurements"]["rano"]
    rows = [["lesion", "longest, mm", "perpendicular, mm", "product, mm²", "axial slice", "volume, ml", "measurable"]]
    for lesion in rano["lesions"]:
        target = " (target)" if lesion["lesion"] in rano["targets"] else ""
        rows.append(
            [
                f"{lesion['lesion']}{target}",
                f"{lesion['longest_mm']:.1f}",
                f"{lesion['perpendicular_mm']:.1f}",
                f"{lesion['product_mm2']:.0f}",
                str(lesion["axial_slice"]),
                _ml(lesion["volume_ml"]),
                "yes" if lesion["measurable"] else "no",
            ]
        )
    kind = rano["lesions_are"]
    words = (
        f"Lines of {kind} lesions on the axial plane, from outer edge to outer edge, inside the lesion; slices counted from the "
        "feet. Measurable: both lines at least 10 mm, on two slices or more. The imaging part only: response also needs the "
        "earlier scans, steroids and the clinical state."
    )
    found = table(rows, caption="Lesions") if rano["lesions"] else "<p>No lesion to measure.</p>"
    pictures = "".join(_lesion(name, data) for name, data in report.pictures.items() if name.startswith("lesion-"))
    return f'<h3>RANO, two dimensions</h3>{found}<p class="faint">{words}</p><div class="figures">{pictures}</div>'


def _lesion(name: str, data: bytes) -> str:
    words = name.replace("-", " ")
    alt = f"Axial slice with the two lines of {words}"
    return f"<figure>{image(data, alt)}<figcaption>{words.capitalize()}</figcaption></figure>"


def _pictures(report: Report) -> str:
    if "overview" not in report.pictures:
        return ""
    alt = (
        f"Axial, coronal and sagittal planes of {report.case_id} through the largest cross-section of the tumour, in every "
        "sequence, with the outlines of whole tumour, tumour core and enhancing tumour"
    )
    return f'<section id="still"><h2>Picture</h2>{image(report.pictures["overview"], alt, name="overview")}</section>'


def _made(about: Mapping[str, Any]) -> str:
    run = about["run"]
    if not run:
        return "<section><h2>How it was made</h2><p>Not known: the label map came without a run.json.</p></section>"
    rows = [["what", "value"]]
    model = run.get("model", {})
    rows += [["gliomaseg", str(run.get("gliomaseg", ""))], ["Python", str(run.get("python", ""))]]
    rows += [[name, str(version)] for name, version in run.get("libraries", {}).items()]
    rows += [["model", f"{model.get('name', '')}, SHA-256 {model.get('sha256', '')}"]]
    rows += [["precision", str(run.get("precision", ""))], ["label scheme", f"{run.get('scheme', '')}: {run.get('labels', '')}"]]
    rows += [[f"input {name}", f"{i['file']}, SHA-256 {i['sha256']}"] for name, i in run.get("inputs", {}).items()]
    seconds = run.get("seconds", {})
    if seconds:
        rows.append(["seconds", ", ".join(f"{name} {value:.2f}" for name, value in seconds.items())])
    settings = escape(json.dumps(run.get("settings", {}), indent=1))
    details = f"<details><summary>Settings</summary><pre>{settings}</pre></details>"
    return f'<section class="made"><h2>How it was made</h2>{table(_filled(rows))}{details}</section>'


def _filled(rows: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    return [row for row in rows if row[1].strip(" :,")]


def _ml(volume: float) -> str:
    return f"{volume:.2f}" if volume < 10 else f"{volume:.1f}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
