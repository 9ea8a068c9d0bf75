"""Reports of raw exams: what was taken as brain, how sequences were moved, slices as the file counts them."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pages import Page
from PIL import Image, ImageDraw

from gliomaseg.errors import Note
from gliomaseg.imaging.volume import Grid, Volume
from gliomaseg.measurement.measure import measure
from gliomaseg.report.axial import mosaic_png
from gliomaseg.report.case_report import Report
from gliomaseg.report.make import ReportInputs, make_report
from gliomaseg.report.packing import Packed, pack
from gliomaseg.report.picture import BRAIN_STROKE, DIMMED, draw_overview
from gliomaseg.storage.record import Standardisation

Array = np.ndarray[Any, Any]


def voxels(packed: Packed | Report, name: str) -> Array:
    crop = packed.crop if isinstance(packed, Packed) else packed.about.slices.crop
    return np.frombuffer(gzip.decompress(packed.volumes[name]), np.uint8).reshape(crop.shape, order="F")


def masked(raw_exam: ReportInputs) -> Volume:
    """Return the images without what is around the brain."""
    assert raw_exam.images
    return replace(raw_exam.images, around=None)


class TestWords:
    def test_how_far_each_sequence_was_moved(self, raw_report: Report) -> None:
        assert raw_report.about.notes[:2] == (
            "Registered: T1 moved 9 mm, T2 moved 18 mm and FLAIR moved 20 mm to lie on T1 contrast.",
            "The brain was cut out of the head: 1500 ml. Check its outline in the pictures: "
            "tumour outside it is not found.",
        )

    def test_the_table(self, raw_report: Report) -> None:
        text = " ".join(" ".join(Page(raw_report.page()).words).split())
        assert "T1 256 × 224 × 26 0.898 × 0.898 × 5 26 9.0 0.52" in text
        assert "T1 contrast 192 × 232 × 256 1 × 1 × 1 256 stays" in text
        assert "The brain mask holds 1500 ml" in text
        assert text.count("Research use only") == 2

    def test_a_skull_stripped_exam(self, raw_exam: ReportInputs) -> None:
        assert raw_exam.run
        run = dict(raw_exam.run)
        run["standardised"] = run["standardised"] | {"brain_ml": None}
        report = make_report(replace(raw_exam, run=run, images=masked(raw_exam)))
        text = " ".join(" ".join(Page(report.page()).words).split())
        assert "The images were skull-stripped before." in text
        assert "cut out" not in text
        assert report.about.slices.brain is None
        assert "dimmed" not in text

    def test_a_prepared_case_has_none_of_it(self, report: Report) -> None:
        text = " ".join(Page(report.page()).words)
        for words in (
            "The exam as it was scanned",
            "the head is dimmed",
            "slice of the label map",
            "ITK-SNAP",
        ):
            assert words not in text
        assert "volume-brain" not in report.page()

    def test_notes_that_the_table_covers_are_not_repeated(self, raw_exam: ReportInputs) -> None:
        notes = [Note("W-MOVED", "case a: t2w was 18 mm away", "look"), Note("W-EDGE", "case a: cut", "look")]
        report = make_report(replace(raw_exam, notes=notes))
        assert "Cut; look." in report.about.quality.reasons
        assert not any("away" in line for line in (*report.about.quality.reasons, *report.about.notes))


def test_slices_are_the_longest_side() -> None:
    content = {"matrix": [], "moved_mm": 0, "there_and_back_mm": 0}
    for shape, voxel, slices in (
        ((30, 256, 256), (5, 1, 1), 30),
        ((256, 24, 256), (1, 6, 1), 24),
        ((192, 232, 256), (1, 1, 1), 256),
    ):
        found = Standardisation.model_validate(
            {"frame": "t1c", "sequences": {"t1c": content | {"shape": shape, "voxel_mm": voxel}}}
        )
        assert found.sequences["t1c"].slices == slices


class TestStored:
    def test_read_back_unchanged(self, raw_report: Report) -> None:
        page = raw_report.page().encode()
        again = Report.read(json.loads(json.dumps(raw_report.stored(page))), page)
        assert again.about == raw_report.about
        assert again.volumes == raw_report.volumes
        assert "brain" in again.volumes

    def test_a_report_of_an_earlier_version_is_read(self, report: Report) -> None:
        page = report.page().encode()
        stored = report.stored(page)
        for key in ("brain", "native"):
            assert stored["slices"].pop(key) is None
        stored["run"].pop("standardised")
        stored["measurements"].pop("native_slices")
        for lesion in stored["measurements"]["lesions"]:
            lesion.pop("native_slice")
        assert Report.read(stored, page).about == report.about


class TestVolumes:
    def test_inside_the_brain_nothing_changes(self, raw_exam: ReportInputs) -> None:
        maps = {"seg": raw_exam.segmentation}
        packed, plain = pack(raw_exam.images, maps, limit=None), pack(masked(raw_exam), maps, limit=None)
        brain = voxels(packed, "brain") > 0
        start = np.subtract(plain.crop.first, packed.crop.first)
        part = tuple(slice(a, a + n) for a, n in zip(start, plain.crop.shape, strict=True))
        assert packed.channels == plain.channels
        for channel in plain.channels:
            assert np.array_equal((voxels(packed, channel.name) * brain)[part], voxels(plain, channel.name))

    def test_outside_is_the_head_in_coarse_greys(self, raw_exam: ReportInputs) -> None:
        packed = pack(raw_exam.images, {"seg": raw_exam.segmentation}, limit=None)
        outside = voxels(packed, "t1c")[voxels(packed, "brain") == 0]
        assert outside.any()
        assert set(np.unique(outside).tolist()) <= set(range(0, 256, 16))

    def test_without_room_the_head_is_left_out_before_voxels_are(self, raw_exam: ReportInputs) -> None:
        maps = {"seg": raw_exam.segmentation}
        whole = pack(raw_exam.images, maps, limit=None)
        small = pack(raw_exam.images, maps, limit=sum(map(len, whole.volumes.values())) - 1)
        assert small.crop.step == 1
        assert not (voxels(small, "t1c") * (voxels(small, "brain") == 0)).any()

    def test_a_mosaic_shows_the_brain(self, raw_report: Report, raw_exam: ReportInputs) -> None:
        plain = make_report(replace(raw_exam, images=masked(raw_exam)))
        assert mosaic_png(raw_report, 6) == mosaic_png(plain, 6)


class TestPicture:
    def test_the_edge_of_the_brain_and_the_dimmed_head(self, raw_exam: ReportInputs) -> None:
        assert raw_exam.images
        assert raw_exam.images.around
        page = np.asarray(draw_overview(raw_exam.images, raw_exam.segmentation, title="raw"))
        plain = np.asarray(draw_overview(masked(raw_exam), raw_exam.segmentation, title="raw"))
        edge = (page == BRAIN_STROKE.colour).all(axis=-1)
        assert np.count_nonzero(edge) > 1000
        assert not (plain == BRAIN_STROKE.colour).all(axis=-1).any()
        bright = replace(raw_exam.images.around, head=np.full_like(raw_exam.images.around.head, 1e6))
        white = np.asarray(
            draw_overview(replace(raw_exam.images, around=bright), raw_exam.segmentation, title="raw")
        )
        values, counts = np.unique(white[white[..., 0] > 60][:, 0], return_counts=True)
        assert values[counts.argmax()] == int(255 * DIMMED), "white outside the mask is as grey as DIMMED"

    def test_the_words(self, raw_exam: ReportInputs, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[str] = []
        draw = ImageDraw.ImageDraw.text

        def record(self: ImageDraw.ImageDraw, place: Any, text: str, *more: Any, **options: Any) -> None:
            seen.append(text)
            draw(self, place, text, *more, **options)

        monkeypatch.setattr(ImageDraw.ImageDraw, "text", record)
        picture = draw_overview(
            raw_exam.images,  # type: ignore[arg-type]
            raw_exam.segmentation,
            title="raw",
            native=raw_exam.native,
        )
        assert isinstance(picture, Image.Image)
        assert sum(text.endswith(" in t1c") and text.startswith("slice ") for text in seen) == 3
        assert any(text.startswith("brain  ") and text.endswith(" ml") for text in seen)
        assert "counted from 1" in " ".join(seen)


class TestSlices:
    def test_the_lesion_has_both_numbers(self, raw_report: Report, raw_exam: ReportInputs) -> None:
        sizes = raw_report.about.measurements
        lesion = sizes.lesions[0]
        assert raw_exam.native
        middle = np.mean(lesion.ends_mm, axis=0)
        assert lesion.native_slice == raw_exam.native.number(middle.tolist(), 2)
        text = " ".join(" ".join(Page(raw_report.page()).words).split())
        assert f"{lesion.axial_slice} {lesion.native_slice} of {sizes.native_slices}" in text
        assert "the lines were measured at" in text

    def test_thin_slices_hold_the_lines(self, exam: ReportInputs) -> None:
        grid = exam.segmentation.grid
        thin = Grid(grid.shape, grid.affine @ np.diag([1, 1, 1 / 2.5, 1]))  # 3 mm voxels become 1.2 mm
        sizes = measure(exam.segmentation, own=thin)
        assert "counted from 1" in sizes.lines_where
        assert "measured at" not in sizes.lines_where

    def test_what_the_page_computes(self, raw_report: Report, raw_exam: ReportInputs) -> None:
        slices = raw_report.about.slices
        assert slices.native
        assert slices.native.sequence == "t1c"
        assert raw_exam.native
        voxel = [n // 2 for n in slices.crop.shape]
        place = slices.crop.grid.affine @ [*voxel, 1]
        for axis in range(3):
            index = slices.native.first[axis] + slices.native.steps[axis] * voxel[axis]
            assert np.floor(index + 0.5) + 1 == raw_exam.native.number(place[:3], axis)
