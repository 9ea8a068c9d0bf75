"""Pictures of a prediction and its reference over the scan, in the slices with the most disagreement."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

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


@dataclass(frozen=True)
class _Scene:
    """The source of all panels: the scan, if there is one, its grey window, and three masks."""

    image: npt.NDArray[np.generic] | None
    window: tuple[float, float]
    marks: tuple[tuple[Mark, Mask], ...]
    view: View
    close: View


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
    modality = Modality.T2F if region in (Region.WT, Tissue.OEDEMA) else Modality.T1C
    image = _read_underlay(pair, modality, reference.grid)
    scene = _set_scene(image, _mask(prediction, region), _mask(reference, region), grid=reference.grid)
    close = replace(scene, view=scene.close)
    title = "both masks, close up"
    panels = [_draw(close, AXIAL, title), _draw(close, CORONAL, title)]
    if image is None:
        return panels
    plain = _draw(replace(close, marks=()), AXIAL, f"{MODALITY_TITLES[modality]}, close up")
    return [_draw(scene, AXIAL, "both masks"), plain, *panels]


def _set_scene(image: npt.NDArray[np.generic] | None, one: Mask, other: Mask, *, grid: Grid) -> _Scene:
    turn = orientation_of(grid.affine)
    either = one | other
    labels = either * np.uint8(BRATS2021.values[Tissue.OEDEMA])
    sample = sample_of(either if image is None else image, turn)
    view = find_view([sample], Segmentation(labels, grid, BRATS2021))
    marks = ((TRUE_POSITIVE, one & other), (FALSE_POSITIVE, one & ~other), (FALSE_NEGATIVE, other & ~one))
    window = (0.0, 1.0) if image is None else window_of(sample)
    view = centre_on(view, one ^ other)
    return _Scene(image, window, marks, view, zoom_on(view, either, grid=grid, least_mm=ZOOM_MM))


def _mask(segmentation: Segmentation, region: str) -> Mask:
    return segmentation.mask(Region(region) if region in tuple(Region) else Tissue(region))


def _read_underlay(pair: Pair, modality: Modality, grid: Grid) -> npt.NDArray[np.generic] | None:
    path = pair.images.get(modality)
    if path is None:
        return None
    try:
        image, its_grid = read_image(path, channel=pair.channels.get(modality))
    except GliomasegError:  # the masks are shown without it
        return None
    return image if its_grid.matches(grid) else None


def _draw(scene: _Scene, plane: Plane, title: str) -> Panel:
    width, height = (max(1, round(length * SIDE / VIEW)) for length in scene.view.size(plane))
    marks = [(mark, slice_ras(mask, scene.view, plane=plane)) for mark, mask in scene.marks]
    if scene.image is None:
        pixels = np.zeros(marks[0][1].shape, dtype=np.uint8)
    else:
        pixels = grey_levels(slice_ras(scene.image, scene.view, plane=plane), scene.window)
    name = f"{title}: {plane.name}, slice {scene.view.centre[plane.axis] + 1}"
    return Panel(marked_png(pixels, marks, size=(width, height)), (width, height), name, plane.letters)
