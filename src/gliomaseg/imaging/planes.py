"""Planes through an image for viewing: turned to RAS, cropped to the brain, through the largest tumour area.

They follow the radiological convention (the patient's right on the viewer's left; sagittal with the face to
the left), so that the letters at the edges are constants.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from nibabel import affines, orientations

from gliomaseg.imaging.surroundings import Surroundings
from gliomaseg.imaging.volume import Grid, Segmentation
from gliomaseg.labels import Region

Mask = npt.NDArray[np.bool_]
Grey = npt.NDArray[np.uint8]
Numbers = npt.NDArray[Any]

VIEW = 376  # pixels along the longest side of the crop
CROP_MARGIN_MM = 4.0
HEAD_MARGIN_MM = 12.0  # where what is around the brain is shown, too
WINDOW_PERCENTILES = (1.0, 99.0)  # of the nonzero voxels: bright vessels and skull must not darken the brain
OBLIQUE_DEGREES = 5.0  # beyond, the picture notes that its letters are the nearest directions


@dataclass(frozen=True)
class Plane:
    """One viewing direction: the RAS axis that it cuts; the letters at its top, bottom, left, right."""

    name: str
    axis: int
    letters: str


PLANES = (Plane("axial", 2, "APRL"), Plane("coronal", 1, "SIRL"), Plane("sagittal", 0, "SIAP"))


@dataclass(frozen=True)
class View:
    """The turn from storage to RAS; then crop box, cutting voxel and size along each RAS axis."""

    turn: npt.NDArray[np.float64]
    box: tuple[slice, ...]
    centre: tuple[int, ...]
    centre_mm: tuple[float, ...]
    pixels: tuple[int, ...]
    pixels_per_mm: float

    def size(self, plane: Plane) -> tuple[int, int]:
        """Return (width, height) in pixels of a plane's image."""
        width, height = (self.pixels[axis] for axis in _others(plane.axis))
        return width, height


def find_view(
    samples: Sequence[Numbers], segmentation: Segmentation, margin_mm: float = CROP_MARGIN_MM
) -> View:
    """Choose crop box, cutting planes and scale from the nonzero brain and the whole tumour.

    ``samples`` are the images as ``sample_of`` returns them; ``margin_mm`` is shown around them.
    """
    grid = segmentation.grid
    turn, affine = orientations.io_orientation(grid.affine), ras_affine(grid)
    spacing = ras_spacing(grid)
    tumour = _ras(segmentation.mask(Region.WT), turn)
    inside = np.any([_inside(sample) for sample in samples], axis=0)
    box, centre = [], []
    for axis, length in enumerate(tumour.shape):
        step = _stride(length)
        brain = np.flatnonzero(inside.any(axis=_others(axis))) * step
        area = np.count_nonzero(tumour, axis=_others(axis))
        lesion, largest = np.flatnonzero(area), np.flatnonzero(area == area.max())
        shown = np.minimum([*brain, *(brain + step - 1), *lesion] or [0, length - 1], length - 1)
        low, high = int(shown.min()), int(shown.max())
        margin = round(margin_mm / spacing[axis])
        box.append(slice(max(low - margin, 0), min(high + 1 + margin, length)))
        centre.append(int(largest[(len(largest) - 1) // 2]) if len(lesion) else (low + high) // 2)
    pixels, scale = _pixels(box, spacing)
    centre_mm = tuple(float(value) for value in affines.apply_affine(affine, centre))
    return View(turn, tuple(box), tuple(centre), centre_mm, pixels, scale)


def centre_on(view: View, mask: Mask) -> View:
    """Return ``view`` cutting where ``mask``, stored (x, y, z), is largest; unchanged for an empty one."""
    ras = _ras(mask, view.turn)
    if not ras.any():
        return view
    areas = [np.count_nonzero(ras, axis=_others(axis)) for axis in range(3)]
    return replace(view, centre=tuple(int(area.argmax()) for area in areas))


def zoom_on(view: View, mask: Mask, *, grid: Grid, least_mm: float) -> View:
    """Return ``view`` cropped to ``mask``, stored (x, y, z) on ``grid``, with a margin around it.

    All sides are equally long: a quarter longer than the mask's longest, at least ``least_mm``, within the
    old crop. Unchanged for an empty mask.
    """
    ras = _ras(mask, view.turn)
    if not ras.any():
        return view
    spacing = ras_spacing(grid)
    found = [np.flatnonzero(ras.any(axis=_others(axis))) for axis in range(3)]
    spans = [float(at[-1] - at[0] + 1) for at in found]
    side = max(least_mm, 1.25 * max(span * step for span, step in zip(spans, spacing, strict=True)))
    box = []
    for at, step, outer in zip(found, spacing, view.box, strict=True):
        length = min(round(side / step), outer.stop - outer.start)
        start = min(max(int(at[0] + at[-1] + 1 - length) // 2, outer.start), outer.stop - length)
        box.append(slice(start, start + length))
    pixels, scale = _pixels(box, spacing)
    return replace(view, box=tuple(box), pixels=pixels, pixels_per_mm=scale)


def _pixels(box: Sequence[slice], spacing: Iterable[float]) -> tuple[tuple[int, ...], float]:
    """Return the size of a crop in pixels, and the pixels per mm."""
    extents = [(side.stop - side.start) * step for side, step in zip(box, spacing, strict=True)]
    scale = VIEW / max(extents)
    return tuple(max(1, round(extent * scale)) for extent in extents), scale


def _others(axis: int) -> tuple[int, ...]:
    return tuple(other for other in range(3) if other != axis)


def _ras(array: Numbers, turn: npt.NDArray[np.float64]) -> Numbers:
    """Return a view of ``array``, stored (x, y, z), with axes towards right, anterior, superior."""
    return cast("Numbers", orientations.apply_orientation(array, turn))


def turned_to_ras(array: Numbers, grid: Grid) -> tuple[Numbers, npt.NDArray[np.float64]]:
    """Return a view of ``array``, stored (x, y, z) on ``grid``, with RAS axes, and its affine."""
    return _ras(array, orientations.io_orientation(grid.affine)), ras_affine(grid)


def ras_affine(grid: Grid) -> npt.NDArray[np.float64]:
    """Return the affine of ``grid`` turned to RAS axes."""
    turn = orientations.io_orientation(grid.affine)
    return np.asarray(grid.affine @ orientations.inv_ornt_aff(turn, grid.shape))


def ras_spacing(grid: Grid) -> tuple[float, float, float]:
    """Return the voxel size in mm along the left-right, back-front and feet-head axes."""
    x, y, z = affines.voxel_sizes(ras_affine(grid)).tolist()
    return x, y, z


def _stride(length: int) -> int:
    return max(1, length // 64)


def sample_of(array: Numbers, turn: npt.NDArray[np.float64]) -> Numbers:
    """Return every n-th voxel of ``array``, stored (x, y, z), in RAS: at most 127 along an axis."""
    ras = _ras(array, turn)
    return ras[tuple(slice(None, None, _stride(length)) for length in ras.shape)]


def _inside(array: Numbers) -> Mask:
    return cast("Mask", np.isfinite(array) & (array != 0))


def window_of(sample: Numbers) -> tuple[float, float]:
    """Return the intensities to show as black and white: robust percentiles of the nonzero voxels."""
    brain = sample[_inside(sample)].astype(np.float32)
    low, high = np.percentile(brain, WINDOW_PERCENTILES).tolist() if brain.size else (0.0, 1.0)
    return (low, high) if high > low else (low - 1.0, low)


def grey_levels(image: Numbers, window: tuple[float, float]) -> Grey:
    """Return ``image`` as grey levels; zero and non-finite voxels are black."""
    low, high = window
    shown = np.where(_inside(image), image.astype(np.float32), low)
    return np.round(np.clip((shown - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def slice_ras(array: Numbers, view: View, *, plane: Plane) -> Numbers:
    """Cut (x, y, z) by a plane: rows from superior (anterior) down, columns from right (anterior) on."""
    cut: list[slice | int] = list(view.box)
    cut[plane.axis] = view.centre[plane.axis]
    return _ras(array, view.turn)[tuple(cut)].T[::-1, ::-1]


def head_slice_ras(around: Surroundings, channel: int, view: View, *, plane: Plane) -> Numbers:
    """Cut the head around a brain as ``slice_ras`` cuts an image on the grid of the brain."""
    cut = list(view.box)
    cut[plane.axis] = slice(view.centre[plane.axis], view.centre[plane.axis] + 1)
    sides = []
    for (axis, direction), length in zip(view.turn.tolist(), around.brain.shape, strict=True):
        side = cut[int(axis)]
        sides.append(side if direction > 0 else slice(length - side.stop, length - side.start))
    values = _ras(around.values(channel, (sides[0], sides[1], sides[2])), view.turn)
    return values.squeeze(plane.axis).T[::-1, ::-1]


def obliquity_degrees(grid: Grid) -> float:
    """Return the angle between the grid and the axes of space."""
    return float(np.degrees(affines.obliquity(grid.affine).max()))


def obliquity(grid: Grid) -> str:
    """Return a sentence about an oblique grid, else nothing."""
    degrees = obliquity_degrees(grid)
    if degrees < OBLIQUE_DEGREES:
        return ""
    return f" Oblique scan, tilted by {degrees:.0f} degrees: letters name the nearest direction."
