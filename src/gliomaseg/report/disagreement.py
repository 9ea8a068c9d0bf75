"""Pictures of a prediction and its reference over the scan, in the slices with the most disagreement."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from gliomaseg.errors import GliomasegError
from gliomaseg.evaluation.pairing import Pair
from gliomaseg.evaluation.reading import read_case
from gliomaseg.evaluation.scores import Evaluation
from gliomaseg.imaging.nifti import read_image
from gliomaseg.imaging.planes import (
    PLANES,
    VIEW,
    Mask,
    Plane,
    View,
    centre_on,
    find_view,
    grey_levels,
    sample_of,
    slice_ras,
    window_of,
    zoom_on,
)
from gliomaseg.imaging.prepare import orientation_of
from gliomaseg.imaging.volume import Grid, Segmentation
from gliomaseg.labels import BRATS2021, MODALITY_TITLES, Modality, Region, Tissue
from gliomaseg.report.marks import Mark, marked_png

#: Okabe-Ito: in both, only in the prediction, only in the reference (hatched: colour is not the only cue).
TRUE_POSITIVE = Mark((60, 160, 230), 0.5)
FALSE_POSITIVE = Mark((230, 95, 0), 0.8)
FALSE_NEGATIVE = Mark((240, 228, 66), 0.9, hatched=True)

SIDE = 256  # pixels along the longest side of a panel
ZOOM_MM = 60.0  # the smallest field of view of a close-up
AXIAL, CORONAL, _ = PLANES


@dataclass(frozen=True)
class Panel:
    """A picture: PNG bytes, (width, height) in pixels, title, letters at the top, bottom, left, right."""

    png: bytes
    size: tuple[int, int]
    title: str
    letters: str


def worst_region(evaluation: Evaluation, case_id: str) -> str:
    """Return the region with the lowest headline overlap; the first one when none is defined."""
    scores = evaluation.cases[case_id]
    columns = evaluation.columns_of(evaluation.headlines[0], evaluation.ranked_regions)
    values = {column.region: scores.get(column.name, math.nan) for column in columns}
    return min(values, key=lambda region: math.inf if math.isnan(values[region]) else values[region])


def draw_disagreement(pair: Pair, region: str) -> list[Panel]:
    """Return pictures of a case: both masks on the whole axial slice, then close up without and with them.

    The scan is FLAIR for whole tumour and oedema, T1 contrast for the others; without it the masks are on
    black, close up only. Raises GliomasegError.
    """
    prediction, reference, *_ = read_case(pair)
    grid, modality = reference.grid, Modality.T2F if region in (Region.WT, Tissue.OEDEMA) else Modality.T1C
    image = _read_underlay(pair, modality, grid)
    part = Region(region) if region in tuple(Region) else Tissue(region)
    one, other = (labels.mask(part) for labels in (prediction, reference))
    either = one | other
    marks = [(TRUE_POSITIVE, one & other), (FALSE_POSITIVE, one & ~other), (FALSE_NEGATIVE, other & ~one)]
    sample = sample_of(either if image is None else image, orientation_of(grid.affine))
    labels = either * np.uint8(BRATS2021.values[Tissue.OEDEMA])
    whole = centre_on(find_view([sample], Segmentation(labels, grid, BRATS2021)), one ^ other)
    close = zoom_on(whole, either, grid=grid, least_mm=ZOOM_MM)
    shots: list[tuple[View, Plane, list[tuple[Mark, Mask]], str]] = [
        (whole, AXIAL, marks, "both masks"),
        (close, AXIAL, [], f"{MODALITY_TITLES[modality]}, close up"),
        *((close, plane, marks, "both masks, close up") for plane in (AXIAL, CORONAL)),
    ]
    window = (0.0, 1.0) if image is None else window_of(sample)
    scan = np.zeros(grid.shape, dtype=np.uint8) if image is None else image
    panels = []
    for view, plane, tints, title in shots[2:] if image is None else shots:
        width, height = (max(1, round(length * SIDE / VIEW)) for length in view.size(plane))
        pixels = grey_levels(slice_ras(scan, view, plane=plane), window)
        cut = [(mark, slice_ras(mask, view, plane=plane)) for mark, mask in tints]
        png = marked_png(pixels, cut, size=(width, height))
        name = f"{title}: {plane.name}, slice {view.centre[plane.axis] + 1}"
        panels.append(Panel(png, (width, height), name, plane.letters))
    return panels


def case_pictures(evaluation: Evaluation, case: str, folder: Path) -> dict[str, object]:
    """Return the pictures of a case, or why there are none, and links to its files from ``folder``."""
    pair = evaluation.pairs.get(case)
    files = {"prediction": pair.prediction, "reference": pair.reference} if pair else {}
    links = {name: _relative(path, folder) for name, path in files.items() if path}
    region = worst_region(evaluation, case)
    found: dict[str, object] = {"region": region, "files": links, "panels": [], "error": ""}
    try:
        return found | {"panels": draw_disagreement(pair, region) if pair else []}
    except GliomasegError as error:
        return found | {"error": error.what}


def _relative(path: Path, folder: Path) -> str:
    try:
        return quote(Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix())
    except ValueError:  # another drive
        return path.resolve().as_uri()


def _read_underlay(pair: Pair, modality: Modality, grid: Grid) -> npt.NDArray[np.generic] | None:
    path = pair.images.get(modality)
    if path is None:
        return None
    try:
        image, its_grid = read_image(path, channel=pair.channels.get(modality))
    except GliomasegError:  # the masks are shown without it
        return None
    return image if its_grid.matches(grid) else None
