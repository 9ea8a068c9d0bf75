"""A result keeps the numbers of its record in every report; an edited label map is measured again."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gliomaseg.cases.case import Case
from gliomaseg.cases.find import find_cases
from gliomaseg.errors import CaseError
from gliomaseg.evaluation.evaluation import evaluate
from gliomaseg.evaluation.tables import notes
from gliomaseg.imaging.nifti import read_labels, write_segmentation
from gliomaseg.imaging.volume import Segmentation
from gliomaseg.inference.uncertainty import Uncertainty
from gliomaseg.labels import BRATS2021, Region
from gliomaseg.measurement.measurements import Measurements
from gliomaseg.measurement.stored import read_measurements
from gliomaseg.report.cohort import write_reports
from gliomaseg.report.serve import Viewer
from gliomaseg.report.sources import NO_IMAGES, Source, case_source, find_sources
from gliomaseg.result import Result
from gliomaseg.segmenter import Segmenter
from gliomaseg.storage.result_folder import LABELS, MEASUREMENTS, RECORD, REPORT, REPORT_DATA, seal


@pytest.fixture(scope="module")
def result(phantom_folder: Path) -> Result:
    """Return a result with intervals and a poor predicted Dice, forced on images that look odd."""
    return Segmenter.load().segment(find_cases(phantom_folder)[0])


@pytest.fixture
def out(result: Result, tmp_path: Path) -> Path:
    return result.save(tmp_path / "out").parent


def edit(labels: Path) -> Segmentation:
    """Take the left half of the tumour away, as a person would in a viewer."""
    found = read_labels(labels, BRATS2021)
    corrected = found.labels.copy()
    corrected[: corrected.shape[0] // 2] = 0
    edited = Segmentation(corrected, found.grid, BRATS2021)
    write_segmentation(labels, edited)
    return edited


def shown(source: Source) -> dict[str, object]:
    about = source.report(limit=None).about
    return {
        **about.quality.as_dict(),
        "measurements": json.loads(json.dumps(about.measurements.as_dict())),
        "row": about.measurements.as_row(),
        "missing": about.missing,
        "edited": about.edited,
    }


def test_the_record_counts_whoever_draws(out: Path, phantom_folder: Path, result: Result) -> None:
    """With the images, with a reference, as one case or served: quality, reasons and intervals stay."""
    (stored,) = find_sources(out)
    expected = shown(stored)
    regions = expected["measurements"]["regions"]  # type: ignore[index]
    assert expected["quality"] == result.report.about.quality.name
    assert all(region["volume_high_ml"] is not None for region in regions), (
        "the shipped model knows intervals"
    )
    (drawn,) = find_sources(out, data=phantom_folder)
    assert drawn.case
    assert shown(drawn) == expected
    assert "Against the reference" in drawn.report(limit=None).page()
    case = next(iter(result.case.images.values())).parent
    alone = case_source(phantom_folder_case(case, out.parent), seg=out / result.case.id / LABELS)
    assert shown(alone) == expected
    with Viewer([drawn]) as viewer:
        (entry,) = viewer.entries()
    assert (entry.quality, list(entry.reasons)) == (expected["quality"], expected["reasons"])


def phantom_folder_case(images: Path, home: Path) -> Path:
    """Return a folder with the images of the first phantom alone."""
    folder = home / "phantom-0"
    shutil.copytree(images, folder, ignore=lambda _, names: [n for n in names if "phantom-0" not in n])
    return folder


def test_a_poor_result_stays_unreliable_with_its_images(
    result: Result, tmp_path: Path, phantom_folder: Path
) -> None:
    poor = Result(
        result.case,
        result.images,
        result.segmentation,
        result.standardised,
        result.provenance,
        dict(result.seconds),
        {region: Uncertainty((100, 200), 0.5) for region in Region},
    )
    poor.save(tmp_path / "out")
    for data in (None, phantom_folder):
        (source,) = find_sources(tmp_path / "out", data=data)
        about = shown(source)
        assert about["quality"] == "unreliable"
        assert any("predicts a Dice of 0.50" in str(reason) for reason in about["reasons"])  # type: ignore[attr-defined]


@pytest.mark.parametrize("with_data", [False, True])
def test_an_edited_label_map_is_measured_anew_and_marked(
    out: Path, phantom_folder: Path, result: Result, with_data: bool
) -> None:
    seg = out / result.case.id / LABELS
    edited = edit(seg)
    (source,) = find_sources(out, data=phantom_folder if with_data else None)
    assert source.folder is not None
    assert source.folder.edited()
    report = source.report(limit=None)
    regions = {region.region.value: region for region in report.about.measurements.regions}
    assert (
        regions["wt"].voxels == np.count_nonzero(edited.labels) < np.count_nonzero(result.segmentation.labels)
    )
    assert all(r.range_ml is r.predicted_dice is None for r in regions.values())
    page = report.page()
    assert ">edited<" in page
    model = result.provenance["model"]
    assert model["sha256"] not in page
    assert model["name"] not in page
    entries = write_reports([source], out.parent / "cohort.html")
    assert [entry.edited for entry in entries] == [True]
    assert "edited" in (out.parent / "cohort.csv").read_text().splitlines()[0]
    assert ",yes," in (out.parent / "cohort.csv").read_text()
    assert ">edited<" in (out.parent / "cohort.html").read_text()
    assert (out.parent / "cohort-reports" / f"{result.case.id}.html").exists(), "not the old report"
    scores = evaluate(out, phantom_folder, predicted_only=True)
    assert scores.edited == (result.case.id,)
    assert any("edited by hand" in line for line in notes(scores))


def test_an_untouched_result_is_not_marked(out: Path, phantom_folder: Path) -> None:
    (source,) = find_sources(out)
    assert source.folder is not None
    assert not source.folder.edited()
    assert ">edited<" not in source.report(limit=None).page()
    assert evaluate(out, phantom_folder, predicted_only=True).edited == ()


def _deep(path: Path) -> None:
    path.write_text('{"a":' * 200_000)


def _list(path: Path) -> None:
    path.write_text("[]")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def _pipe(path: Path) -> None:
    path.unlink()
    if sys.platform == "win32":
        pytest.skip("pipes of POSIX")
    os.mkfifo(path)


@pytest.mark.parametrize("spoil", [_deep, _list, _cut, _pipe])
@pytest.mark.parametrize("name", [RECORD, MEASUREMENTS])
def test_a_damaged_result_is_named_and_the_cohort_has_its_page(
    results: Path, tmp_path: Path, name: str, spoil: Callable[[Path], None]
) -> None:
    shutil.copytree(results, tmp_path / "out")
    spoil(tmp_path / "out" / "case-1" / name)
    page = tmp_path / "cohort.html"
    entries = {entry.case_id: entry for entry in write_reports(find_sources(tmp_path / "out"), page)}
    assert entries["case-1"].quality == "failed"
    assert entries["case-1"].reasons[0].startswith("E-REPORT")
    assert sum(entry.quality != "failed" for entry in entries.values()) == 2
    assert page.exists()
    with Viewer(find_sources(tmp_path / "out")) as viewer:
        assert len(viewer.entries()) == 3


def test_a_damaged_page_is_not_served(results: Path, tmp_path: Path) -> None:
    shutil.copytree(results, tmp_path / "out")
    (tmp_path / "out" / "case-1" / REPORT).write_text("<html>")
    source = next(s for s in find_sources(tmp_path / "out") if s.case_id == "case-1")
    with pytest.raises(Exception, match="E-REPORT"):
        source.report(limit=None)


@pytest.mark.parametrize("text", ["", "<html>", "{}", "[]", '{"a":' * 200_000, "\x00"])
def test_another_file_is_no_report(results: Path, tmp_path: Path, text: str) -> None:
    """Also where run.json lists its SHA-256, and where a file is missing."""
    folder = tmp_path / "out" / "case-1"
    shutil.copytree(results / "case-1", folder)
    record = json.loads((folder / RECORD).read_text())
    (folder / RECORD).unlink()
    (folder / REPORT_DATA).write_text(text, encoding="utf-8")
    seal(folder, record)
    (source,) = find_sources(tmp_path / "out")
    for change in (lambda: None, (folder / REPORT).unlink, (folder / REPORT_DATA).unlink):
        change()
        with pytest.raises(CaseError, match="E-REPORT"):
            source.report(limit=None)


def test_a_result_of_an_earlier_version_has_its_numbers_and_a_note(results: Path, tmp_path: Path) -> None:
    """0.1.0 wrote no report.json: the page is linked, numbers are read, and nothing is taken from HTML."""
    shutil.copytree(results, tmp_path / "out")
    for folder in (tmp_path / "out" / "case-1", tmp_path / "out" / "dup 'quoted'"):
        record = json.loads((folder / RECORD).read_text())
        for name in (RECORD, REPORT_DATA):
            (folder / name).unlink()
        seal(folder, record)
    sources = {source.case_id: source for source in find_sources(tmp_path / "out")}
    now, before = (sources[name].report(limit=None) for name in ("b & <b>c<b>", "case-1"))
    assert before.about.measurements.as_row() == now.about.measurements.as_row()
    assert before.about.quality == now.about.quality
    assert before.about.notes == (NO_IMAGES,)
    assert before.pictures == {}
    entries = {entry.case_id: entry for entry in write_reports(list(sources.values()), tmp_path / "a.html")}
    assert entries["case-1"].row == entries["b & <b>c<b>"].row
    assert entries["case-1"].page == "out/case-1/report.html"


def test_measurements_are_read_back_as_they_were(result: Result, phantom_case: Case) -> None:
    def plain(sizes: Measurements) -> object:
        return json.loads(json.dumps(sizes.as_dict()))

    sizes = result.measurements
    back = read_measurements(plain(sizes), result.standardised.grid)  # type: ignore[arg-type]
    assert plain(back) == plain(sizes)
    assert back.as_row() == sizes.as_row()
    assert sizes.lesions
    for one, other in zip(back.lesions, sizes.lesions, strict=True):
        assert one.diameters.slice == other.diameters.slice
        assert np.allclose(one.diameters.longest.ends, other.diameters.longest.ends, atol=1e-6)
        assert np.allclose(one.diameters.perpendicular.ends, other.diameters.perpendicular.ends, atol=1e-6)
