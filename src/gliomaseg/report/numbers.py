"""The part of a report that tells numbers: measurements, RANO, agreement with a reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gliomaseg.report.content import Report
from gliomaseg.report.html import image, table
from gliomaseg.report.pages import millilitres


def agreement(about: Mapping[str, Any]) -> str:
    """Return the section on Dice and volumes against a reference; nothing without one."""
    if not about["agreement"]:
        return ""
    rows = [["region", "Dice", "in both, ml", "only in the prediction, ml", "only in the reference, ml"]]
    for found in about["agreement"]["regions"]:
        dice = "both empty" if found["dice"] is None else f"{found['dice']:.3f}"
        volumes = [millilitres(found[key]) for key in ("both_ml", "only_prediction_ml", "only_reference_ml")]
        rows.append([f"{found['title']} ({found['region'].upper()})", dice, *volumes])
    return f"<section><h2>Against the reference</h2>{table(rows)}</section>"


def measurements(report: Report) -> str:
    """Return the section of volumes, shapes, fractions and RANO lines."""
    sizes = report.about["measurements"]
    scheme = f"Label map, {report.about['scheme']}"
    words = (
        f"Lesions are voxels joined by a face, an edge or a corner, {sizes['least_lesion_ml']} ml or more. "
        "Surface, sphericity, centre (RAS+) and longest diameter are of the largest one."
    )
    words = f"{report.about.get('where', '')} {words}".strip()
    if any(region["volume_low_ml"] is not None for region in sizes["regions"]):
        words += (
            " In the 90 % interval nine of ten volumes that experts draw are expected, as far as the few "
            "cases of cross-validation tell."
        )
    small = table(_tissues(sizes), caption=scheme, heads=2) + table(_fractions(sizes), caption="Fractions")
    return (
        f"<section><h2>Measurements</h2>{table(_regions(sizes), caption='Regions')}"
        f'<p class="faint">{words}</p><div class="side">{small}</div>{_rano(report)}</section>'
    )


def _regions(sizes: Mapping[str, Any]) -> list[list[str]]:
    heads = ["region", "volume, ml", "90 % interval, ml", "lesions", "largest, ml"]
    rows = [[*heads, "longest, mm", "surface, mm²", "sphericity", "centre, mm"]]
    for region in sizes["regions"]:
        low, high = region["volume_low_ml"], region["volume_high_ml"]
        span = f"{millilitres(low)} to {millilitres(high)}" if low is not None else "not known"
        name = f"{region['title']} ({region['region'].upper()})"
        shape = _shape(region["largest_lesion"])
        rows.append([name, millilitres(region["volume_ml"]), span, str(region["lesions"]), *shape])
    return rows


def _tissues(sizes: Mapping[str, Any]) -> list[list[str]]:
    rows = [["label", "tissue", "volume, ml", "voxels"]]
    for tissue in sizes["labels"]:
        volume, voxels = millilitres(tissue["volume_ml"]), f"{tissue['voxels']:,}"
        rows.append([str(tissue["value"]), tissue["title"], volume, voxels])
    return rows


def _fractions(sizes: Mapping[str, Any]) -> list[list[str]]:
    rows = [["ratio", "value"]]
    for name, key in (("ET / TC", "et_of_tc"), ("necrosis / TC", "ncr_of_tc"), ("oedema / TC", "ed_of_tc")):
        value = sizes["fractions"][key]
        rows.append([name, "no core" if value is None else f"{value:.2f}"])
    if sizes["brain_volume_ml"]:
        rows.append(["brain, ml", f"{sizes['brain_volume_ml']:.0f}"])
    return rows


def _shape(shape: Mapping[str, Any] | None) -> list[str]:
    if not shape:
        return ["", "", "", "", ""]
    centre = ", ".join(f"{value:+.0f}" for value in shape["centroid_mm"])
    return [
        millilitres(shape["volume_ml"]),
        f"{shape['longest_mm']:.1f}",
        f"{shape['surface_mm2']:.0f}",
        f"{shape['sphericity']:.2f}",
        centre,
    ]


def _rano(report: Report) -> str:
    rano = report.about["measurements"]["rano"]
    rows = [
        [
            "lesion",
            "longest, mm",
            "perpendicular, mm",
            "product, mm²",
            "axial slice",
            "volume, ml",
            "measurable",
        ]
    ]
    for lesion in rano["lesions"]:
        target = " (target)" if lesion["lesion"] in rano["targets"] else ""
        rows.append(
            [
                f"{lesion['lesion']}{target}",
                f"{lesion['longest_mm']:.1f}",
                f"{lesion['perpendicular_mm']:.1f}",
                f"{lesion['product_mm2']:.0f}",
                str(lesion["axial_slice"]),
                millilitres(lesion["volume_ml"]),
                "yes" if lesion["measurable"] else "no",
            ]
        )
    kind = rano["lesions_are"]
    words = (
        f"Lines of {kind} lesions on the axial plane, from outer edge to outer edge, inside the lesion; "
        f"slices counted from the "
        "feet. Measurable: both lines at least 10 mm, on two slices or more. The imaging part only: "
        "response also needs the "
        "earlier scans, steroids and the clinical state."
    )
    found = table(rows, caption="Lesions") if rano["lesions"] else "<p>No lesion to measure.</p>"
    pictures = "".join(
        _lesion(name, data) for name, data in report.pictures.items() if name.startswith("lesion-")
    )
    small = f'<p class="faint">{words}</p><div class="figures">{pictures}</div>'
    return f"<h3>RANO, two dimensions</h3>{found}{small}"


def _lesion(name: str, data: bytes) -> str:
    words = name.replace("-", " ")
    alt = f"Axial slice with the two lines of {words}"
    return f"<figure>{image(data, alt)}<figcaption>{words.capitalize()}</figcaption></figure>"
