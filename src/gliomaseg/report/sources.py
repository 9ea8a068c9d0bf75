"""What can be reported on: results of segment, label maps made elsewhere, and one case by its files.

Files are read when a report is requested, not before.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from gliomaseg.cases.case import Case
from gliomaseg.cases.find import find_case, find_cases
from gliomaseg.cases.layouts import parse_name
from gliomaseg.cases.read import read_case
from gliomaseg.errors import Note, UsageError
from gliomaseg.evaluation.pairing import find_predictions
from gliomaseg.exams.placed import read_placed
from gliomaseg.exams.prepared_case import BRAIN_MASK
from gliomaseg.imaging.nifti import read_labels
from gliomaseg.imaging.stored_file import missing_file
from gliomaseg.imaging.volume import Volume
from gliomaseg.labels import BRATS2021, LabelScheme, Modality, find_scheme
from gliomaseg.measurement.quality import Quality
from gliomaseg.measurement.stored import read_measurements
from gliomaseg.report.case_report import Report
from gliomaseg.report.make import ReportInputs, make_report
from gliomaseg.storage.record import RunRecord
from gliomaseg.storage.result_folder import MEASUREMENTS, REPORT, REPORT_DATA, STANDARDISED, ResultFolder

#: What still holds of the record of an edited label map: nothing about the model, which did not draw it.
_KEPT_OF_EDITED = ("note", "scheme", "inputs", "missing", "standardised")
#: Notes on the output of the model, which do not apply to an edited label map.
_OF_MODEL = frozenset({"W-MISSING", "W-NOTUMOUR"})
#: The note of a result of 0.1.0, which has no report.json.
NO_IMAGES = (
    "This result was written by an earlier version of gliomaseg: only outlines are shown. Its images are in "
    "its own report.html; --data shows them here."
)


@dataclass(frozen=True)
class Source:
    """One label map with what belongs to it; ``folder`` is that of the result, if it is one."""

    case_id: str
    seg: Path
    case: Case | None = None
    reference: Path | None = None
    scheme: LabelScheme | None = None
    reference_scheme: LabelScheme = field(default=BRATS2021)
    folder: ResultFolder | None = None

    def report(self, *, limit: int | None) -> Report:
        """Return the stored report, or a new one with at most ``limit`` bytes of volumes.

        Raises GliomasegError for files that can't be read or don't belong together.
        """
        folder = self.folder
        is_stored = folder and not (self.case or self.reference) and folder.has(REPORT_DATA)
        if folder is None or not is_stored or folder.edited():
            return make_report(self._inputs(), limit=limit)
        data, page = folder.bytes_of(REPORT_DATA), folder.bytes_of(REPORT)
        try:
            return Report.read(json.loads(data), page)
        except (ValueError, LookupError, RecursionError) as error:
            raise folder.damaged(REPORT_DATA, "it is not a report of this version of gliomaseg") from error

    def anonymous(self, text: str) -> str:
        """Return ``text`` without the folders of this source's files."""
        for path in filter(None, (self.seg, self.reference)):
            text = text.replace(f"{path.parent}{os.sep}", "")
        return self.case.anonymous(text) if self.case else text

    def _inputs(self) -> ReportInputs:
        run = self.folder.read() if self.folder else None
        images = self._images(RunRecord.model_validate(run or {}))
        reference = read_labels(self.reference, self.reference_scheme) if self.reference else None
        found = read_labels(self.seg, self._scheme(run or {}))
        inputs = ReportInputs(self.case_id, found, images, reference, run)
        return self._with_record(inputs, self.folder) if self.folder else inputs

    def _images(self, run: RunRecord) -> Volume | None:
        """Return the images of the case; those of a raw exam where its result has registered them."""
        if self.case is None or not self.case.images:
            return None
        if run.standardised:
            matrices = {Modality(m): np.array(p.matrix) for m, p in run.standardised.sequences.items()}
            hashes = {m: run.inputs[m.value].sha256 for m in matrices if m.value in run.inputs}
            brain = self.folder.path / STANDARDISED / BRAIN_MASK if self.folder else None
            images = read_placed(self.case, matrices, hashes, brain if brain and brain.is_file() else None)
            if images is not None:
                return images
        return read_case(self.case, tuple(self.case.images))

    def _with_record(self, inputs: ReportInputs, folder: ResultFolder) -> ReportInputs:
        """Return inputs with the numbers of the record; of an edited label map, only with its notes."""
        run = inputs.run or {}
        if folder.edited():
            kept = {key: run[key] for key in _KEPT_OF_EDITED if key in run}
            notes = [Note(**note) for note in run.get("notes", ()) if note["code"] not in _OF_MODEL]
            return replace(inputs, run=kept, notes=notes, edited=True)
        if not folder.has(MEASUREMENTS):
            return inputs
        content = folder.measurements()
        try:
            sizes = read_measurements(content, inputs.segmentation.grid)
            quality = Quality(tuple(content["reasons"]), content["quality"] == "unreliable")
        except (LookupError, TypeError, ValueError) as error:
            raise folder.damaged(MEASUREMENTS, f"{type(error).__name__}: {error}") from error
        is_older = folder.has(REPORT) and not folder.has(REPORT_DATA)
        no_images = NO_IMAGES if is_older else inputs.no_images
        return replace(inputs, measurements=sizes, quality=quality, no_images=no_images)

    def _scheme(self, run: Mapping[str, Any]) -> LabelScheme:
        if self.scheme:
            return self.scheme
        if run.get("scheme"):
            return find_scheme(run["scheme"])
        named = parse_name(self.seg.name)
        return named.layout.scheme if named else BRATS2021


def find_sources(
    results: Path, *, data: Path | None = None, scheme: LabelScheme | None = None
) -> list[Source]:
    """Return the label maps in a folder of results, by id, each with its case of ``data``.

    ``data`` is a data set with the images and, where it has them, the references; without it the report
    beside a label map is taken, if there is one. ``scheme`` is that of the label maps.
    Raises ImageError (E-NOFILE), CaseError (E-NOCASE, E-DUPID, E-PERM).
    """
    found = find_predictions(results)
    cases = {case.id: case for case in find_cases(data)} if data else {}
    sources = []
    for case_id, seg in found.items():
        case, folder = cases.get(case_id), ResultFolder.of(seg)
        reference, known = (case.reference, case.scheme) if case else (None, BRATS2021)
        sources.append(Source(case_id, seg, case, reference, scheme, known, folder))
    return sources


def sources_of(
    path: Path,
    *,
    seg: Path | None = None,
    reference: Path | None = None,
    data: Path | None = None,
    scheme: LabelScheme | None = None,
) -> list[Source]:
    """Return what to view: one case with a label map, or a folder of results; raises as both."""
    if seg or reference or is_case(path):
        return [case_source(path, seg=seg, reference=reference, scheme=scheme)]
    return find_sources(path, data=data, scheme=scheme)


def is_case(path: Path) -> bool:
    """Return whether a folder directly holds images that are named as a data set names them."""
    names = [entry.name for entry in path.iterdir() if entry.is_file()] if path.is_dir() else []
    return any(part is not None and part.modality is not None for part in map(parse_name, names))


def case_source(
    path: Path, *, seg: Path | None, reference: Path | None = None, scheme: LabelScheme | None = None
) -> Source:
    """Return one case's images with any label map, compared with a reference if one is given.

    Without ``seg`` the case's own reference is shown. Raises ImageError (E-NOFILE), CaseError (E-NOCASE),
    UsageError (E-USAGE) when there is no label map.
    """
    case = find_case(path)
    for file in (seg, reference):
        if file is not None and not file.exists():
            raise missing_file(file)
    shown = seg or case.reference
    if shown is None:
        raise UsageError(
            "E-USAGE",
            f"{path} has no label map to show",
            expected="results of gliomaseg segment, or a case and a label map",
            remedy="name the label map: --seg FILE",
        )
    named = scheme or (case.scheme if shown == case.reference else None)
    return Source(case.id, shown, case, reference, named, scheme or case.scheme, ResultFolder.of(shown))
