"""A report of the small exam, a folder of results that looks like segment's, and a browser."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gliomaseg.cases.case import Case
from gliomaseg.cases.read import read_case
from gliomaseg.imaging.native_slices import NativeSlices
from gliomaseg.imaging.nifti import read_labels, write_segmentation
from gliomaseg.imaging.surroundings import Surroundings
from gliomaseg.imaging.volume import Grid, Segmentation
from gliomaseg.labels import Modality
from gliomaseg.measurement.measure import measure
from gliomaseg.report.case_report import Report
from gliomaseg.report.make import ReportInputs, make_report
from gliomaseg.storage import files
from gliomaseg.storage.result_folder import (
    LABELS,
    MEASUREMENTS,
    REPORT,
    REPORT_DATA,
    TABLE,
    THUMBNAIL,
    ResultFolder,
    seal,
)
from gliomaseg.storage.tables import to_csv

sys.path.insert(0, str(Path(__file__).parent))
from pages import FLAGS, ODD

if TYPE_CHECKING:
    from playwright.sync_api import Browser

RUN: dict[str, Any] = {
    "note": "",
    "gliomaseg": "0",
    "libraries": {"numpy": "2"},
    "model": {"name": f"net {ODD}", "sha256": "ab"},
    "inputs": {m.value: {"file": f"{m}.nii.gz", "sha256": "cd"} for m in Modality},
    "settings": {"a": [1, ODD]},
    "seconds": {"read": 0.5, "infer": 1.0},
}
THICK = {"matrix": np.eye(4).tolist(), "shape": (256, 224, 26), "voxel_mm": (0.8984, 0.8984, 5.0)}
THIN = {"matrix": np.eye(4).tolist(), "shape": (192, 232, 256), "voxel_mm": (1.0, 1.0, 1.0)}
STANDARDISED: dict[str, Any] = {
    "frame": "t1c",
    "sequences": {
        "t1n": THICK | {"moved_mm": 9.04, "there_and_back_mm": 0.519},
        "t1c": THIN | {"moved_mm": 0.0, "there_and_back_mm": 0.0},
        "t2w": THICK | {"moved_mm": 18.0, "there_and_back_mm": 0.28},
        "t2f": THIN | {"moved_mm": 20.1, "there_and_back_mm": 0.22},
    },
    "brain_ml": 1500.2,
}


@pytest.fixture(scope="session")
def exam(phantom_case: Case) -> ReportInputs:
    """Return the small exam with its reference as the segmentation."""
    assert phantom_case.reference is not None
    seg = read_labels(phantom_case.reference, phantom_case.scheme)
    return ReportInputs("case-1", seg, read_case(phantom_case, tuple(Modality)), run=RUN)


@pytest.fixture(scope="session")
def report(exam: ReportInputs) -> Report:
    """Return the report of the small exam."""
    return make_report(exam)


@pytest.fixture(scope="session")
def raw_exam(exam: ReportInputs) -> ReportInputs:
    """Return the small exam as if its brain had been cut out of heads, with slices of 6 mm in t1c."""
    assert exam.images
    brain = exam.images.array.any(axis=0)
    around = Surroundings.empty(len(exam.images.array), brain, (1, 1, 1))
    heads = np.random.default_rng(25).integers(20, 200, exam.images.array.shape) * ~brain
    for channel, (image, head) in enumerate(zip(exam.images.array, heads, strict=True)):
        around.keep(channel, image + head)
    grid = exam.segmentation.grid
    own = Grid((*grid.shape[:2], grid.shape[2] // 2), grid.affine @ np.diag([1, 1, 2, 1]))
    return replace(
        exam,
        case_id="raw-1",
        images=replace(exam.images, around=around),
        run=RUN | {"standardised": STANDARDISED},
        measurements=measure(exam.segmentation, images=exam.images, own=own),
        native=NativeSlices(own, "t1c"),
    )


@pytest.fixture(scope="session")
def raw_report(raw_exam: ReportInputs) -> Report:
    """Return the report of a raw exam."""
    return make_report(raw_exam)


@pytest.fixture(scope="session")
def compared(exam: ReportInputs) -> Report:
    """Return a report that compares the small exam's reference with itself moved by one voxel."""
    labels = exam.segmentation.labels.copy()
    labels[1:] = exam.segmentation.labels[:-1]
    moved = Segmentation(labels, exam.segmentation.grid, exam.segmentation.scheme)
    return make_report(ReportInputs("case-2", moved, exam.images, exam.segmentation, RUN))


@pytest.fixture(scope="session")
def results(report: Report, exam: ReportInputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of three cases as segment writes them, one with an odd name, and a failed one."""
    folder = tmp_path_factory.mktemp("results")
    for name in ("case-1", "b & <b>c<b>", "dup 'quoted'"):
        case = ResultFolder(folder / name)
        named = replace(report, about=report.about.model_copy(update={"case": name}))
        sizes, page = report.about.measurements, named.page().encode()
        with case.write() as draft:
            write_segmentation(draft / LABELS, exam.segmentation)
            files.write_bytes(draft / REPORT, page)
            files.write_json(draft / REPORT_DATA, named.stored(page))
            files.write_bytes(draft / THUMBNAIL, report.thumbnail)
            files.write_json(draft / MEASUREMENTS, sizes.as_dict() | report.about.quality.as_dict())
            files.write_text(draft / TABLE, to_csv([sizes.as_row()]))
            seal(draft, RUN | {"scheme": "brats2021"})
    summary = "case,state,error,message\nlost,failed,E-TRUNCATED,t1 ends too early\ncase-1,done,,\n"
    files.write_text(folder / "summary.csv", summary)
    return folder


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Return Debian's Chromium, driven by Playwright; skips where one of them is not installed."""
    chromium = shutil.which("chromium")
    if not chromium:
        pytest.skip("needs chromium (apt-get install chromium)")
    api = pytest.importorskip("playwright.sync_api", reason="needs the Python package playwright")
    with api.sync_playwright() as play:
        launched = play.chromium.launch(executable_path=chromium, args=FLAGS)
        yield launched
        launched.close()
