"""The report of a case: complete, escaped, private, and read back unchanged."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages import ODD, Page

from gliomaseg.imaging.volume import Segmentation
from gliomaseg.measurement.symmetry import Side
from gliomaseg.report.case_report import Report
from gliomaseg.report.make import ReportInputs, make_report

MOST_BYTES = 12_000_000


def test_it_shows_what_a_reader_needs(report: Report) -> None:
    text = " ".join(Page(report.page()).words)
    for words in (
        "case-1",
        "Research use only: not a medical device.",
        "whole tumour",
        "RANO",
        "patient's right",
        "How it was made",
        "SHA-256 ab",
        "read 0.50, infer 1.00",
    ):
        assert words in text
    sizes = report.about.measurements
    assert f"{sizes.regions[0].volume_ml:.1f} ml" in text
    lines = sizes.lesions[0].diameters
    assert f"{lines.longest.length_mm:.1f} × {lines.perpendicular.length_mm:.1f} mm" in text


@pytest.mark.parametrize(
    ("right", "words"),
    [
        (7.0, "patient's left 7 % beyond the mask's symmetry plane"),
        (62.0, "both sides 62 % right and 38 % left of the mask's symmetry plane"),
    ],
)
def test_the_side_is_that_of_the_mask_and_no_midline_is_named(
    report: Report, right: float, words: str
) -> None:
    sizes = replace(report.about.measurements, side=Side(right, 100 - right, True))
    about = report.about.model_copy(update={"measurements": sizes})
    text = " ".join(Page(replace(report, about=about).page()).words)
    assert words in " ".join(text.split())
    assert "midline" not in text


def test_nothing_is_requested_and_nothing_from_outside_is_markup(exam: ReportInputs) -> None:
    page = Page(make_report(replace(exam, case_id=ODD)).page())
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        assert attributes.get("src", "data:") is not None
        assert str(attributes.get("src", "data:")).startswith("data:")
        assert tag not in ("link", "iframe", "object", "form")
    assert ODD in "".join(page.words), "the name is shown as text"
    assert all(attributes.get("alt") for tag, attributes in page.tags if tag == "img")
    policy = next(a["content"] for t, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_it_holds_no_path_and_stays_small(report: Report, exam: ReportInputs, tmp_path: Path) -> None:
    text = report.page()
    assert len(text) < MOST_BYTES
    for private in (str(Path.home()), str(tmp_path.parent), str(Path.cwd())):
        assert private not in re.sub(r"[A-Za-z0-9+/=]{200,}", "", text)


def test_a_stored_report_is_read_back(report: Report, compared: Report) -> None:
    """From report.json, and by its offsets from the page: the same model, volumes and pictures."""
    for made in (report, compared):
        page = made.page().encode()
        back = Report.read(json.loads(json.dumps(made.stored(page))), page)
        assert back.about == made.about
        assert dict(back.volumes) == dict(made.volumes)
        assert dict(back.pictures) == dict(made.pictures)
        assert back.page(served=True) == made.page(served=True)


def test_the_page_holds_what_the_viewer_reads(report: Report) -> None:
    text = (
        report.page().partition('<script type="application/json" id="report">')[2].partition("</script>")[0]
    )
    assert json.loads(text) == report.about.as_dict()


@pytest.mark.parametrize(
    "change",
    [
        lambda _: [],
        lambda _: {},
        lambda content: {**content, "schema_version": 3},
        lambda content: {**content, "quality": "pass"},
        lambda content: {**content, "embedded": {}},
        lambda content: {**content, "embedded": {**content["embedded"], "volume-seg": [0, 0]}},
    ],
)
def test_another_file_is_no_report(report: Report, change: Callable[[Any], object]) -> None:
    page = report.page().encode()
    content = report.stored(page)
    with pytest.raises(ValueError, match=r"validation error|is missing"):
        Report.read(change(content), page)


def test_agreement_by_pencil(compared: Report, exam: ReportInputs) -> None:
    found = {agreement.region.value: agreement for agreement in compared.about.agreement}
    one = np.zeros_like(exam.segmentation.labels)
    one[1:] = exam.segmentation.labels[:-1]
    a, b = one > 0, exam.segmentation.labels > 0
    assert found["wt"].dice == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()))
    ml = exam.segmentation.grid.voxel_ml
    assert found["wt"].only_prediction_ml == pytest.approx((a & ~b).sum() * ml)
    assert found["wt"].only_reference_ml == pytest.approx((b & ~a).sum() * ml)


def test_two_empty_maps_have_no_dice(exam: ReportInputs) -> None:
    grid = exam.segmentation.grid
    empty = Segmentation(np.zeros(grid.shape, np.uint8), grid, exam.segmentation.scheme)
    report = make_report(ReportInputs("empty", empty, exam.images, empty))
    assert {agreement.dice for agreement in report.about.agreement} == {None}
    assert report.about.quality.name == "unreliable"
    assert "No lesion to measure" in report.page()


def test_a_map_alone_makes_a_report(exam: ReportInputs) -> None:
    report = make_report(ReportInputs("alone", exam.segmentation))
    text = report.page()
    assert "No images were given" in text
    assert "nine of ten" not in text
    assert "came without a run.json" in text
    assert report.pictures == {}
