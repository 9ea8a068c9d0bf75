"""Make the report of a case from its label map, its images and the record of how it was made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from gliomaseg import __version__
from gliomaseg.errors import Note
from gliomaseg.evaluation.agreement import agree
from gliomaseg.imaging.native_slices import NativeSlices
from gliomaseg.imaging.planes import obliquity
from gliomaseg.imaging.volume import Affine, Grid, Segmentation, Volume
from gliomaseg.labels import MODALITY_TITLES, REGION_TISSUES, TISSUE_TITLES, Region, Tissue
from gliomaseg.measurement.measure import measure
from gliomaseg.measurement.measurements import Lesion, Measurements
from gliomaseg.measurement.quality import Quality, is_settled, judge, sentence
from gliomaseg.report.axial import rano_png, thumbnail_jpeg, view_of
from gliomaseg.report.case_report import (
    CaseReport,
    Kind,
    Native,
    Outline,
    RanoLines,
    Report,
    Slices,
    TissueStyle,
)
from gliomaseg.report.packing import MOST_BYTES, TISSUE_NUMBERS, Packed, pack
from gliomaseg.report.pages import TITLES
from gliomaseg.report.picture import BRAIN_STROKE, STROKES, Picture, draw_overview, jpeg
from gliomaseg.report.raw_exam import IN_WORDS, sentences
from gliomaseg.storage.record import RunRecord, Standardisation

#: Fill colours of tissues, as in 3D (Okabe-Ito); outlines have those of ``STROKES``.
TISSUE_COLOURS: Mapping[Tissue, str] = {
    Tissue.NECROSIS: "#56b4e9",
    Tissue.OEDEMA: "#f0e442",
    Tissue.ENHANCING: "#ff6e14",
    Tissue.CAVITY: "#cc79a7",
    Tissue.CYST: "#009e73",
}
#: Agreement of two label maps, in the colours of the scores page.
KINDS = (
    Kind(name="tp", title="in both", colour="#3ca0e6"),
    Kind(name="fp", title="only in the prediction", colour="#ff7a1a"),
    Kind(name="fn", title="only in the reference", colour="#f0e442", dash=(4, 3), hatched=True),
)
_DASH = 0.8  # pixels of the viewer for one of overview.png
_BRAIN = Outline(
    name="brain",
    title="brain mask",
    colour="#" + bytes(BRAIN_STROKE.colour).hex(),
    dash=(BRAIN_STROKE.dash * _DASH, BRAIN_STROKE.space * _DASH),
    numbers=(1,),
    is_region=False,
)


@dataclass(frozen=True)
class ReportInputs:
    """One case to report on: a segmentation, with images and a reference on the same grid.

    ``run`` is what run.json holds. ``measurements`` and ``quality`` are those of a stored result; without
    them the label map is measured, and judged with ``notes``, by default those of the images.
    ``overview`` and ``packed`` are used if they were made already. ``edited``: the label map was changed
    after gliomaseg wrote it. ``no_images`` is the note where there are no images. ``native`` are the slices
    of the label map's file, if it is shown on another grid.
    """

    case_id: str
    segmentation: Segmentation
    images: Volume | None = None
    reference: Segmentation | None = None
    run: Mapping[str, Any] | None = None
    measurements: Measurements | None = None
    quality: Quality | None = None
    notes: Sequence[Note] | None = None
    edited: bool = False
    overview: Picture | None = None
    packed: Packed | None = None
    native: NativeSlices | None = None
    no_images: str = "No images were given: only outlines are shown."


def make_report(inputs: ReportInputs, *, limit: int | None = MOST_BYTES) -> Report:
    """Return the report of a case; ``limit`` is the most bytes of its volumes, None for every voxel.

    Raises CaseError (E-GRID) when the images are on another grid than the segmentation.
    """
    segmentation, reference = inputs.segmentation, inputs.reference
    sizes = inputs.measurements or measure(segmentation, images=inputs.images)
    maps = {"seg": segmentation} | ({"reference": reference} if reference else {})
    with ThreadPoolExecutor(1) as background:
        packing = background.submit(lambda: inputs.packed or pack(inputs.images, maps, limit=limit))
        pictures = dict(_pictures(inputs, sizes))
        packed = packing.result()
    thumbnail = pictures.pop("thumbnail", b"")
    run = None if inputs.run is None else RunRecord.model_validate(inputs.run)
    there = (run and run.inputs) or (inputs.images.channels if inputs.images else ())
    missing = tuple(title for modality, title in MODALITY_TITLES.items() if modality not in there)
    about = CaseReport(
        gliomaseg=__version__,
        case=inputs.case_id,
        note=run.note if run else "",
        edited=inputs.edited,
        quality=inputs.quality or _judge(inputs, sizes),
        notes=tuple(_notes(inputs, run, missing)),
        missing=missing,
        measurements=sizes,
        scheme=segmentation.scheme.name,
        oblique=obliquity(segmentation.grid).strip(),
        run=run,
        agreement=agree(segmentation, reference) if reference else (),
        slices=_slices(inputs, packed, sizes),
    )
    return Report(about, packed.volumes, pictures, thumbnail)


def _pictures(inputs: ReportInputs, sizes: Measurements) -> Iterator[tuple[str, bytes]]:
    """Yield what is drawn of the images: each target lesion (else the largest), the overview, a thumbnail."""
    images, segmentation = inputs.images, inputs.segmentation
    if images is None:
        return
    view = view_of(images, segmentation)
    for lesion in sizes.targets or sizes.lesions[:1]:
        number = sizes.lesions.index(lesion) + 1
        yield f"lesion-{number}", rano_png(images, segmentation, lesion, view)
    overview = inputs.overview or draw_overview(
        images,
        segmentation,
        title=inputs.case_id,
        note=str((inputs.run or {}).get("note", "")),
        sizes=sizes,
        native=inputs.native,
    )
    yield "overview", jpeg(overview)
    yield "thumbnail", thumbnail_jpeg(images, segmentation, view)


def _of_images(inputs: ReportInputs) -> Sequence[Note]:
    notes = inputs.images.notes if inputs.images and inputs.notes is None else inputs.notes
    return notes or ()


def _judge(inputs: ReportInputs, sizes: Measurements) -> Quality:
    return judge(inputs.segmentation, sizes, _of_images(inputs))


def _notes(inputs: ReportInputs, run: RunRecord | None, missing: Sequence[str]) -> Iterator[str]:
    """Yield what a reader must know beside the quality, in sentences."""
    if inputs.edited:
        yield (
            "The label map was edited after gliomaseg wrote it, and was measured again. Intervals and "
            "predicted Dice belong to the original: they are left out."
        )
    if inputs.images is None:
        yield inputs.no_images
    elif missing:
        yield f"Missing sequences: {', '.join(missing)}."
    yield from _on_preparation(inputs, run.standardised if run else None)
    if run and run.seen_in_training:
        yield "The model was trained on this case: the result is no evidence of how accurate the model is."


def _on_preparation(inputs: ReportInputs, found: Standardisation | None) -> Iterator[str]:
    """Yield how a raw exam was put together, and the notes on images that are no reason for a review."""
    if found:
        yield from sentences(found)
    elif oblique := obliquity(inputs.segmentation.grid).strip():
        yield oblique
    for note in _of_images(inputs):
        if is_settled(note) and not (found and note.code in IN_WORDS):
            yield sentence(note)


def _slices(inputs: ReportInputs, packed: Packed, sizes: Measurements) -> Slices:
    schemes = [found.scheme for found in (inputs.segmentation, inputs.reference) if found]
    used = [tissue for tissue in Tissue if any(tissue in scheme.values for scheme in schemes)]
    inverse = np.asarray(np.linalg.inv(packed.crop.affine), dtype=np.float64)
    lines = tuple(_line(lesion, inverse, number) for number, lesion in enumerate(sizes.lesions, start=1))
    middle = np.mean(lines[0].ends, axis=(0, 1)) if lines else [n // 2 for n in packed.crop.shape]
    start = np.clip(np.round(middle), 0, np.array(packed.crop.shape) - 1).astype(int).tolist()
    return Slices(
        crop=packed.crop,
        channels=packed.channels,
        maps=tuple(name for name in ("seg", "reference") if name in packed.volumes),
        tissues={
            TISSUE_NUMBERS[t]: TissueStyle(title=TISSUE_TITLES[t], colour=TISSUE_COLOURS[t]) for t in used
        },
        outlines=tuple(
            _outline(structure) for structure in STROKES if isinstance(structure, Region) or structure in used
        ),
        kinds=KINDS if inputs.reference else (),
        start=start,
        lines=lines,
        brain=_BRAIN if "brain" in packed.volumes else None,
        native=_native(inputs.native, packed.crop.grid) if inputs.native else None,
    )


def _native(slices: NativeSlices, grid: Grid) -> Native:
    """Return native slices along the axes of a crop on ``grid``."""
    x, y, z = (slices.along(grid, axis) for axis in range(3))
    return Native(
        sequence=slices.sequence,
        first=(x[0], y[0], z[0]),
        steps=(x[1], y[1], z[1]),
        counts=(slices.count(0), slices.count(1), slices.count(2)),
    )


def _outline(structure: Region | Tissue) -> Outline:
    stroke = STROKES[structure]
    tissues = REGION_TISSUES[structure] if isinstance(structure, Region) else {structure}
    return Outline(
        name=structure.value,
        title=TITLES[structure],
        colour="#" + bytes(stroke.colour).hex(),
        dash=(stroke.dash * _DASH, stroke.space * _DASH) if stroke.space else (),
        numbers=tuple(sorted(TISSUE_NUMBERS[tissue] for tissue in tissues)),
        is_region=isinstance(structure, Region),
    )


def _line(lesion: Lesion, inverse: Affine, number: int) -> RanoLines:
    """Return the diameters of a lesion in voxels of the crop, whose affine ``inverse`` undoes."""
    ends = np.array(lesion.ends_mm) @ inverse[:3, :3].T + inverse[:3, 3]
    lines = lesion.diameters
    return RanoLines(
        lesion=number,
        slice=round(float(ends[0, 2])),
        ends=ends.reshape(2, 2, 3).round(3).tolist(),
        mm=(lines.longest.length_mm, lines.perpendicular.length_mm),
    )
