"""What a report says and shows, before it is a page: words and numbers as JSON, volumes, pictures.

A report holds no path and no header text: only ids, file names and numbers. Ignorant of HTML.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gliomaseg import RESEARCH_USE, __version__
from gliomaseg.errors import Note
from gliomaseg.imaging.planes import obliquity
from gliomaseg.imaging.volume import Affine, Segmentation, Volume
from gliomaseg.labels import (
    MODALITY_TITLES,
    REGION_TISSUES,
    REGION_TITLES,
    TISSUE_TITLES,
    Modality,
    Region,
    Tissue,
)
from gliomaseg.measurement.agreement import agree
from gliomaseg.measurement.measure import measure
from gliomaseg.measurement.measurements import Measurements
from gliomaseg.measurement.quality import Quality, judge
from gliomaseg.report.closeup import rano_png, thumbnail_jpeg, view_of
from gliomaseg.report.packing import MOST_BYTES, TISSUE_NUMBERS, Packed, pack
from gliomaseg.report.picture import STROKES, Picture, Stroke, draw_overview, jpeg

REPORT_SCHEMA = 1

#: Colours of tissues where they fill, as in 3D (Okabe-Ito); outlines have those of ``STROKES``.
TISSUE_COLOURS: Mapping[Tissue, str] = {
    Tissue.NECROSIS: "#56b4e9",
    Tissue.OEDEMA: "#f0e442",
    Tissue.ENHANCING: "#ff6e14",
    Tissue.CAVITY: "#cc79a7",
    Tissue.CYST: "#009e73",
}


@dataclass(frozen=True)
class Exam:
    """One case to report on: a segmentation with its images, a reference, and how it was made if known.

    ``run`` is what run.json holds. Images and reference lie on the segmentation's grid. ``measurements``
    and ``quality`` are those of the record, which count whoever draws; without them they are made here, with
    ``notes`` in place of the images' own if given. ``overview`` and ``packed`` spare making them again.
    ``edited``: a person changed the label map after it was written.
    """

    case_id: str
    segmentation: Segmentation
    images: Volume | None = None
    reference: Segmentation | None = None
    run: Mapping[str, Any] = field(default_factory=dict)
    measurements: Measurements | None = None
    quality: Quality | None = None
    notes: Sequence[Note] | None = None
    edited: bool = False
    overview: Picture | None = None
    packed: Packed | None = None


@dataclass(frozen=True)
class Report:
    """``about`` is plain values for JSON; ``volumes`` are gzip bytes, ``pictures`` JPEG or PNG bytes."""

    about: Mapping[str, Any]
    volumes: Mapping[str, bytes]
    pictures: Mapping[str, bytes]

    @property
    def case_id(self) -> str:
        """Return the id of the case."""
        return str(self.about["case"])


def make_report(exam: Exam, *, limit: int | None = MOST_BYTES) -> Report:
    """Return the report of a case; ``limit`` is the most bytes of its volumes, None for every voxel.

    Raises CaseError (E-GRID) when the images don't lie on the segmentation's grid.
    """
    sizes = exam.measurements or measure(exam.segmentation, images=exam.images)
    maps = {"seg": exam.segmentation} | ({"reference": exam.reference} if exam.reference else {})
    with ThreadPoolExecutor(1) as background:
        packing = background.submit(lambda: exam.packed or pack(exam.images, maps, limit=limit))
        pictures = _pictures(exam, sizes)
        packed = packing.result()
    about = {
        "schema_version": REPORT_SCHEMA,
        "gliomaseg": __version__,
        "notice": RESEARCH_USE,
        "note": exam.run.get("note", ""),
        "case": exam.case_id,
        "edited": exam.edited,
        **(exam.quality or _judge(exam, sizes)).as_dict(),
        "measurements": sizes.as_dict(),
        "row": sizes.as_row(),
        "scheme": exam.segmentation.scheme.name,
        "oblique": obliquity(exam.segmentation.grid).strip(),
        "where": sizes.where,
        "missing": _missing(exam),
        "run": {key: value for key, value in exam.run.items() if key not in ("notice", "note", "case")},
        "agreement": _agreement(exam),
        "pictures": list(pictures),
        **_shown(exam, packed, sizes),
    }
    return Report(about, packed.volumes, pictures)


def _pictures(exam: Exam, sizes: Measurements) -> dict[str, bytes]:
    if exam.images is None:
        return {}
    note = str(exam.run.get("note", ""))
    overview = exam.overview or draw_overview(
        exam.images, exam.segmentation, title=exam.case_id, note=note, sizes=sizes
    )
    lesions, view = sizes.targets or sizes.lesions[:1], view_of(exam.images, exam.segmentation)
    lines = {
        f"lesion-{sizes.lesions.index(lesion) + 1}": rano_png(
            exam.images, exam.segmentation, lesion, view=view
        )
        for lesion in lesions
    }
    thumbnail = {"thumbnail": thumbnail_jpeg(exam.images, exam.segmentation, view=view)}
    return {"overview": jpeg(overview), **lines, **thumbnail}


def _judge(exam: Exam, sizes: Measurements) -> Quality:
    notes = exam.images.notes if exam.images and exam.notes is None else exam.notes
    return judge(exam.segmentation, sizes, notes or ())


def _missing(exam: Exam) -> list[str]:
    """Return which sequences the segmentation was made without; else which there are no images of."""
    there = exam.run.get("inputs") or (exam.images.channels if exam.images else ())
    return [MODALITY_TITLES[m] for m in Modality if m not in there]


def _agreement(exam: Exam) -> dict[str, Any] | None:
    return agree(exam.segmentation, exam.reference) if exam.reference else None


def _shown(exam: Exam, packed: Packed, sizes: Measurements) -> dict[str, Any]:
    """Return what the slice viewer needs to know."""
    inverse = np.asarray(np.linalg.inv(packed.affine), dtype=np.float64)
    used = [t for t in Tissue if t in exam.segmentation.scheme.values]
    if exam.reference:
        used = [t for t in Tissue if t in used or t in exam.reference.scheme.values]
    return {
        "grid": {
            "shape": list(packed.shape),
            "spacing": np.linalg.norm(packed.affine[:3, :3], axis=0).tolist(),
            "affine": packed.affine.tolist(),
            "step": packed.step,
            "first": list(packed.first),
            "whole": list(packed.whole),
        },
        "channels": [dict(channel) | {"title": _title(channel["name"])} for channel in packed.channels],
        "maps": [name for name in ("seg", "reference") if name in packed.volumes],
        "tissues": {TISSUE_NUMBERS[t]: TISSUE_TITLES[t] for t in used},
        "tissueColours": {TISSUE_NUMBERS[t]: TISSUE_COLOURS[t] for t in used},
        "regions": [{"name": r.value, "title": REGION_TITLES[r], "numbers": _numbers(r)} for r in Region],
        "parts": [
            _part(part, stroke)
            for part, stroke in STROKES.items()
            if isinstance(part, Region) or part in used
        ],
        "start": _start(packed, sizes, inverse),
        "lines": [_line(lesion, inverse, number) for number, lesion in enumerate(sizes.lesions, start=1)],
    }


def _title(channel: str) -> str:
    return MODALITY_TITLES[Modality(channel)] if channel in set(Modality) else channel


def _numbers(part: Region | Tissue) -> list[int]:
    tissues = REGION_TISSUES[part] if isinstance(part, Region) else {part}
    return sorted(TISSUE_NUMBERS[tissue] for tissue in tissues)


def _part(part: Region | Tissue, stroke: Stroke) -> dict[str, Any]:
    """Return a region or tissue as it is drawn, in the colour and dashes of overview.png."""
    title = REGION_TITLES[part] if isinstance(part, Region) else TISSUE_TITLES[part]
    dash = [stroke.dash * 0.8, stroke.space * 0.8] if stroke.space else []
    colour = "#" + bytes(stroke.colour).hex()
    return {
        "name": part.value,
        "title": title,
        "colour": colour,
        "dash": dash,
        "numbers": _numbers(part),
        "fill": True,
    }


def _start(packed: Packed, sizes: Measurements, inverse: Affine) -> list[int]:
    """Return the voxel of the crop to begin with: where the first lesion was measured, else the middle."""
    if not sizes.lesions:
        return [length // 2 for length in packed.shape]
    ends = np.array(sizes.lesions[0].ends_mm)
    middle = inverse[:3, :3] @ ends.mean(axis=0) + inverse[:3, 3]
    return [int(v) for v in np.clip(np.round(middle), 0, np.array(packed.shape) - 1)]


def _line(lesion: Any, inverse: Affine, number: int) -> dict[str, Any]:
    """Return the RANO lines of a lesion in voxels of the crop."""
    ends = np.array(lesion.ends_mm) @ inverse[:3, :3].T + inverse[:3, 3]
    lines = lesion.diameters
    return {
        "lesion": number,
        "slice": round(float(ends[0, 2])),
        "ends": ends.reshape(2, 2, 3).round(3).tolist(),
        "mm": [lines.longest.length_mm, lines.perpendicular.length_mm],
    }
