"""One segmented case in memory, and its folder: label map, pictures, report, measurements, run.json."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from gliomaseg import RESEARCH_USE
from gliomaseg.cases.case import Case
from gliomaseg.cases.standardise import Standardised
from gliomaseg.errors import Note
from gliomaseg.exams.prepared_case import placement, write_standardised
from gliomaseg.imaging.formats import is_nifti_name
from gliomaseg.imaging.nifti import write_image, write_segmentation
from gliomaseg.imaging.volume import Segmentation, Volume
from gliomaseg.inference.hardware import peak_memory
from gliomaseg.inference.uncertainty import Uncertainty
from gliomaseg.labels import Modality, Region, Tissue
from gliomaseg.measurement.measure import measure
from gliomaseg.measurement.measurements import Measurements
from gliomaseg.measurement.quality import Quality, judge
from gliomaseg.report.case_report import Report
from gliomaseg.report.make import ReportInputs, make_report
from gliomaseg.report.packing import Packed, pack
from gliomaseg.report.pages import load_templates
from gliomaseg.report.picture import Picture, draw_overview, png
from gliomaseg.storage import files
from gliomaseg.storage.guard import refuse_file
from gliomaseg.storage.result_folder import (
    LABELS,
    MEASUREMENTS,
    OVERVIEW,
    REPORT,
    REPORT_DATA,
    STANDARDISED,
    TABLE,
    THUMBNAIL,
    ResultFolder,
    native_labels,
    seal,
)
from gliomaseg.storage.tables import to_csv

#: The largest size of a result on the disk in bytes; that of a BraTS case is 7 MB, most of it the report.
ROOM = 12_000_000


@dataclass(frozen=True)
class Result:
    """One segmented case: the images, the segmentation on the case's own grid, and its provenance.

    ``standardised`` is the label map on the grid of ``images``, which is measured and drawn: the segmentation
    itself, unless the case was resampled to 1 mm. ``uncertainty`` is that of each region; ``maps`` (x, y, z)
    are uncertainty maps by name, and ``natives`` label maps on the grids of the sequences' files, if wanted.
    ``exam`` is the case on the grid of the network, with the brain mask and transforms of a raw exam.
    """

    case: Case
    images: Volume
    segmentation: Segmentation
    standardised: Segmentation
    provenance: Mapping[str, Any]
    seconds: dict[str, float]
    uncertainty: Mapping[Region, Uncertainty] = field(default_factory=dict)
    maps: Mapping[str, npt.NDArray[np.generic]] = field(default_factory=dict)
    natives: Mapping[Modality, Segmentation] = field(default_factory=dict)
    exam: Standardised | None = None

    @cached_property
    def measurements(self) -> Measurements:
        """Return volumes, lesions, RANO lines and side; see ``gliomaseg.measurement.measurements``."""
        own = self.segmentation.grid
        return measure(self.standardised, images=self.images, uncertainty=self.uncertainty, own=own)

    @cached_property
    def _picture(self) -> Picture:
        note = self.provenance["note"]
        return draw_overview(
            self.images,
            self.standardised,
            title=self.case.id,
            note=note,
            sizes=self.measurements,
            native=self.exam.native_slices if self.exam else None,
        )

    @cached_property
    def overview(self) -> bytes:
        """Return the picture of three planes in every sequence, as PNG."""
        return png(self._picture)

    @cached_property
    def _packed(self) -> Packed:
        return pack(self.images, {"seg": self.standardised})

    @cached_property
    def report(self) -> Report:
        """Return the report; its ``page`` is the HTML."""
        inputs = ReportInputs(
            self.case.id,
            self.standardised,
            self.images,
            run=self.record(),
            measurements=self.measurements,
            quality=self.quality,
            overview=self._picture,
            packed=self._packed,
            native=self.exam.native_slices if self.exam else None,
        )
        return make_report(inputs)

    @property
    def notes(self) -> tuple[Note, ...]:
        """Return the notes on the images, and one if no tumour was found."""
        if self.measurements.volume_ml(Region.WT) > 0:
            return self.images.notes
        what = f"no tumour was found in case {self.case.id}"
        return (*self.images.notes, Note("W-NOTUMOUR", what, "the label map is empty, all volumes are 0"))

    def volumes_ml(self) -> dict[str, float]:
        """Return the volume of each tissue and region in ml: ncr, ed, et, wt, tc."""
        tissues = [tissue for tissue in Tissue if tissue in self.segmentation.scheme.values]
        return {name.value: self.measurements.volume_ml(name) for name in (*tissues, *Region)}

    def save(
        self, output: str | Path, *, overwrite: bool = False, only: Literal["seg"] | None = None
    ) -> Path:
        """Write the case's folder into ``output``, whole or not at all, and return it.

        The folder holds seg.nii.gz (also seg_t2f.nii.gz and so on if wanted), overview.png, thumbnail.jpg,
        report.html and .json, measurements.json and .csv, uncertainty maps if wanted and, written last,
        run.json. With ``only`` "seg" there are no report and no pictures. If ``output`` has the name of an
        image (``x.nii.gz``, ``x.nii``), only the label map is written, to that file. Raises OutputError
        (E-EXISTS if it exists and ``overwrite`` is false, or if it holds other programs' files or an edited
        label map; E-OUTPUT if it holds an input). If writing fails, an old result is kept.
        """
        if is_nifti_name(Path(output).name):
            return self._save_labels(Path(output), overwrite=overwrite)
        target = ResultFolder(Path(output) / self.case.id)
        with target.write(overwrite=overwrite, inputs=self.case.files) as draft:
            with ThreadPoolExecutor(1) as beside:  # independent files are made at the same time
                packing = None if only else beside.submit(self._prepare_page)
                self._write_maps(draft)
                if packing:
                    self._write_pages(draft, beside, packing)
            seal(draft, self.record() | {"only": only})
        return target.path

    def _prepare_page(self) -> Packed:
        """Pack the volumes and compile the templates, while the label map is written and measured."""
        packed = self._packed
        load_templates()
        return packed

    def _save_labels(self, path: Path, *, overwrite: bool) -> Path:
        refuse_file(path, self.case.files, overwrite=overwrite)
        files.make_folder(path.parent)
        write_segmentation(path, self.segmentation)
        return path

    def _write_maps(self, folder: Path) -> None:
        with timed(self.seconds, "write"):
            write_segmentation(folder / LABELS, self.segmentation)
            for name, found in self.maps.items():
                write_image(folder / f"{name}.nii.gz", found, self.segmentation.grid)
            for modality, segmentation in self.natives.items():
                write_segmentation(folder / native_labels(modality), segmentation)
            keep = bool((self.provenance.get("exam") or {}).get("keep"))
            if self.exam and (keep or self.exam.is_raw):
                write_standardised(folder / STANDARDISED, self.case, self.exam, sequences=keep)
        with timed(self.seconds, "measure"):
            files.write_json(folder / MEASUREMENTS, self.measured())
            reasons = " ".join(self.quality.reasons)
            about = {"case": self.case.id, "quality": self.quality.name, "reasons": reasons}
            files.write_text(folder / TABLE, to_csv([about | self.measurements.as_row()]))

    def _write_pages(self, folder: Path, beside: Executor, packing: Future[Packed]) -> None:
        with timed(self.seconds, "picture"):
            self._picture  # noqa: B018
        saving = beside.submit(lambda: files.write_bytes(folder / OVERVIEW, self.overview))
        with timed(self.seconds, "report"):
            packing.result()
            page = self.report.page().encode("utf-8", errors="backslashreplace")
            files.write_bytes(folder / REPORT, page)
            files.write_json(folder / REPORT_DATA, self.report.stored(page))
            files.write_bytes(folder / THUMBNAIL, self.report.thumbnail)
            saving.result()

    @cached_property
    def quality(self) -> Quality:
        """Return whether the result needs a review, and the reasons."""
        return judge(self.standardised, self.measurements, self.images.notes)

    def measured(self) -> dict[str, object]:
        """Return the content of measurements.json: volumes, lesions, RANO lines, quality."""
        about = {"case": self.case.id, "notice": RESEARCH_USE, "note": self.provenance["note"]}
        more = {"scheme": self.segmentation.scheme.name, **self.quality.as_dict()}
        return about | self.measurements.as_dict() | more

    def record(self) -> dict[str, object]:
        """Return the content of run.json without the hashes of the files."""
        return {
            **self.provenance,
            "voxel_mm": [round(length, 4) for length in self.segmentation.grid.spacing],
            "seconds": {stage: round(seconds, 3) for stage, seconds in self.seconds.items()},
            "peak_memory_mb": round(peak / 1e6, 1) if (peak := peak_memory()) else None,
            "notes": [note._asdict() for note in self.notes],
            **({"standardised": placement(self.exam)} if self.exam and self.exam.is_raw else {}),
        }


@contextmanager
def timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Add the seconds that the block takes to ``seconds``, under ``name``."""
    started = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - started
