"""The report of a case as text: complete, escaped, private, read back unchanged."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pages import ODD, Page

from gliomaseg.errors import CaseError
from gliomaseg.imaging.volume import Segmentation
from gliomaseg.measurement.symmetry import Side
from gliomaseg.report.case_page import case_page
from gliomaseg.report.content import Exam, Report, make_report
from gliomaseg.report.stored import read_report
from gliomaseg.storage.result_folder import REPORT, ResultFolder, seal

MOST_BYTES = 12_000_000


def test_it_says_what_a_reader_needs(report: Report) -> None:
    text = " ".join(Page(case_page(report)).words)
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
    sizes = report.about["measurements"]
    assert f"{sizes['regions'][0]['volume_ml']:.1f} ml" in text
    lesion = sizes["rano"]["lesions"][0]
    assert f"{lesion['longest_mm']:.1f} × {lesion['perpendicular_mm']:.1f} mm" in text


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
    sizes = report.about["measurements"] | {"side": Side(right, 100 - right, True).as_dict()}
    text = " ".join(Page(case_page(replace(report, about={**report.about, "measurements": sizes}))).words)
    assert words in " ".join(text.split())
    assert "midline" not in text


def test_nothing_is_asked_of_the_network_and_nothing_from_outside_is_markup(exam: Exam) -> None:
    page = Page(case_page(make_report(replace(exam, case_id=ODD))))
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


def test_it_holds_no_path_and_stays_small(report: Report, exam: Exam, tmp_path: Path) -> None:
    text = case_page(report)
    assert len(text) < MOST_BYTES
    for private in (str(Path.home()), str(tmp_path.parent), str(Path.cwd())):
        assert private not in re.sub(r"[A-Za-z0-9+/=]{200,}", "", text)


def folder_with(page: str, folder: Path) -> ResultFolder:
    (folder / REPORT).write_text(page, encoding="utf-8")
    seal(folder, {})
    return ResultFolder(folder)


def test_a_stored_report_is_read_back(report: Report, tmp_path: Path) -> None:
    back = read_report(folder_with(case_page(report), tmp_path))
    assert back.about == json.loads(json.dumps(report.about))
    assert dict(back.volumes) == dict(report.volumes)
    assert set(back.pictures) == set(report.pictures) - {"thumbnail"}
    assert all(back.pictures[name] == report.pictures[name] for name in back.pictures)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html>",
        '<script type="application/json" id="report">{}</script>',
        '<script type="application/json" id="report">[]</script>',
        '<script type="application/json" id="report">' + '{"a":' * 200_000 + "</script>",
        "\x00",
    ],
)
def test_another_file_is_no_report(text: str, tmp_path: Path) -> None:
    folder = folder_with(text, tmp_path)
    for change in (lambda: None, (tmp_path / REPORT).unlink, (tmp_path / "run.json").unlink):
        change()
        with pytest.raises(CaseError, match="E-REPORT"):
            read_report(folder)


def test_agreement_by_pencil(compared: Report, exam: Exam) -> None:
    found = {r["region"]: r for r in compared.about["agreement"]["regions"]}
    one = np.zeros_like(exam.segmentation.labels)
    one[1:] = exam.segmentation.labels[:-1]
    a, b = one > 0, exam.segmentation.labels > 0
    assert found["wt"]["dice"] == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()))
    ml = exam.segmentation.grid.voxel_ml
    assert found["wt"]["only_prediction_ml"] == pytest.approx((a & ~b).sum() * ml)
    assert found["wt"]["only_reference_ml"] == pytest.approx((b & ~a).sum() * ml)


def test_two_empty_maps_have_no_dice(exam: Exam) -> None:
    grid = exam.segmentation.grid
    empty = Segmentation(np.zeros(grid.shape, np.uint8), grid, exam.segmentation.scheme)
    report = make_report(Exam("empty", empty, exam.images, empty))
    assert {r["dice"] for r in report.about["agreement"]["regions"]} == {None}
    assert report.about["quality"] == "unreliable"
    assert "No lesion to measure" in case_page(report)


def test_a_map_alone_makes_a_report(exam: Exam) -> None:
    report = make_report(Exam("alone", exam.segmentation))
    text = case_page(report)
    assert "No images were given" in text
    assert "90 % interval nine" not in text
    assert "came without a run.json" in text
    assert report.pictures == {}
