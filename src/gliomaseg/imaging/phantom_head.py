"""A synthetic head around a brain: CSF, dura, skull, scalp, eyes, sinuses, face and neck, by a seed.

Made for the raw phantom, and for training brain extraction on real brains without skulls. The brain's own
intensities stay; everything else gets those of a table, relative to the brain's mean and standard deviation
in the same sequence. The skull follows the brain's surface; what is below and before it comes from
``phantom_face``. No measurement on such a head predicts how brain extraction does on patients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from gliomaseg.imaging import phantom_face as face
from gliomaseg.imaging.phantom_face import Labels, Part, Point
from gliomaseg.imaging.phantom_shells import DURA_MM, Layout, Noise, lay_out, shape_of
from gliomaseg.imaging.phantom_tumour import Image, Mask
from gliomaseg.imaging.volume import Grid, turned_grid, turned_like

_T = TypeVar("_T", bound=np.generic)

#: Intensity of each part in t1n, t1c, t2w, t2f: standard deviations of the brain above its mean. Set by eye
#: on published images; CSF as in ``phantom.CONTRASTS``. ``_DARK`` is cut off at ``_FLOOR`` of the mean.
_DARK = -9.0
_FLOOR = 0.06
CONTRASTS: Mapping[Part, tuple[float, float, float, float]] = {
    Part.AIR: (_DARK, _DARK, _DARK, _DARK),
    Part.BRAIN: (0.0, 0.0, 0.0, 0.0),
    Part.CSF: (-1.9, -1.5, 3.2, -1.75),
    Part.DURA: (-1.2, 1.2, -1.7, -1.0),
    Part.BONE: (_DARK, _DARK, _DARK, _DARK),
    Part.MARROW: (0.5, 0.4, -0.3, -0.7),
    Part.FAT: (2.2, 1.9, 1.6, 0.9),
    Part.MUSCLE: (-1.0, -0.7, -1.5, -1.4),
    Part.SKIN: (-0.4, 0.3, -0.7, -0.6),
    Part.VITREOUS: (-2.1, -1.9, 3.9, -1.9),
    Part.LENS: (-0.5, -0.5, -1.6, -0.8),
    Part.NERVE: (0.4, 0.2, -0.6, -0.2),
    Part.MUCOSA: (-0.4, 1.9, 2.0, 1.2),
    Part.GLAND: (0.7, 1.0, 0.5, 0.2),
    Part.VESSEL: (-1.2, 2.8, -1.8, -1.7),
    Part.DISC: (-1.0, -0.9, -0.6, -1.0),
}
#: How often fat is suppressed in t1n, t1c, t2w, t2f, and the intensity of fat and marrow then.
_SUPPRESSED = (0.0, 0.15, 0.15, 0.35)
_SUPPRESSED_FAT = -1.5

#: How far the head extends beyond the brain in mm: to the left and right, back, front, top.
_SIDE, _BACK, _FRONT, _TOP = 26.0, 38.0, 48.0, 32.0
#: Area of the brain at the array's edge, in mm2, from which the field of view ends there.
_CUT_MM2 = 1500.0
_RAS = np.eye(4)


class Head(NamedTuple):
    """A brain in its head: ``images`` (channel, x, y, z) float32, ``labels`` (x, y, z) of ``Part``."""

    images: Image
    grid: Grid
    labels: Labels


def add_head(
    images: npt.NDArray[np.generic], brain: Mask, grid: Grid, *, seed: int = 0, spread: float = 0.1
) -> Head:
    """Return ``images`` (channel t1n, t1c, t2w, t2f; x, y, z) with a head around ``brain`` (x, y, z).

    ``grid`` has voxels of one size, 1 to 3 mm. The result's axes run like those of ``grid``; its field of
    view is that of the head, with an edge wherever the brain itself is cut. The seed chooses thicknesses,
    forms, the lower end and intensities; ``spread`` is the standard deviation of these, in those of the
    brain. The same arguments give the same voxels.
    """
    random = np.random.default_rng(seed)
    step = float(np.mean(grid.spacing))
    upright = Grid(grid.shape, _RAS)
    inside = np.asarray(turned_like(brain, grid, upright), dtype=bool)
    start, shape = _find_box(inside, step, float(random.uniform(42, 85)))
    inside = _cut(inside, start, shape)
    layout = lay_out(inside, step, random)
    labels = _draw_labels(inside, layout, random)
    levels = _draw_levels(random, spread)
    texture = _draw_texture(shape, step, random)
    found = np.empty((len(images), *shape), dtype=np.float32)
    for channel, image in enumerate(images):
        own: Image = np.asarray(turned_like(image, grid, upright), dtype=np.float32)
        found[channel] = _draw_image(_cut(own, start, shape), labels, levels[:, channel], texture, step)
    affine = turned_grid(grid, upright).affine.copy()
    affine[:3, 3] += affine[:3, :3] @ start
    larger = Grid(shape, affine)
    back = turned_grid(larger, grid)
    turned = np.stack([turned_like(image, larger, grid) for image in found])
    return Head(turned, back, np.asarray(turned_like(labels, larger, grid), dtype=np.uint8))


def _find_box(brain: Mask, step: float, below_mm: float) -> tuple[npt.NDArray[np.int_], tuple[int, int, int]]:
    """Return the head's first voxel and shape, in voxels of the brain's array turned to RAS."""
    room = ((_SIDE, _SIDE), (_BACK, _FRONT), (below_mm, _TOP))
    starts, stops = [], []
    for axis, (low, high) in enumerate(room):
        area = np.count_nonzero(brain, axis=tuple({0, 1, 2} - {axis})) * step**2
        filled, count = np.flatnonzero(area), len(area)
        starts.append(0 if area[0] > _CUT_MM2 else int(filled[0] - round(low / step)))
        stops.append(count if area[-1] > _CUT_MM2 else int(filled[-1] + 1 + round(high / step)))
    x, y, z = (stop - start for start, stop in zip(starts, stops, strict=True))
    return np.array(starts), (x, y, z)


def _cut(
    array: npt.NDArray[np.generic], start: npt.NDArray[np.int_], shape: Sequence[int]
) -> npt.NDArray[_T]:
    """Return the box of ``array`` (x, y, z) at ``start``, with 0 where it is beyond the array."""
    found = np.zeros(tuple(shape), dtype=array.dtype)
    low = np.maximum(start, 0)
    high = np.minimum(start + shape, array.shape)
    source = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    target = tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))
    found[target] = array[source]
    return found


def _draw_labels(brain: Mask, layout: Layout, random: np.random.Generator) -> Labels:
    """Return the part (x, y, z) that each voxel belongs to."""
    outside, depth, skull = layout.outside, layout.depth, layout.skull
    noise = Noise(Grid(shape_of(brain), np.diag([layout.step] * 3 + [1.0])), random)
    labels = _draw_flesh(layout, noise, random)
    shell = (outside >= DURA_MM) & (outside < DURA_MM + skull) & (depth > 2)
    labels[shell] = Part.BONE
    middle = np.abs(outside - DURA_MM - skull / 2) < skull / 2 - random.uniform(1.5, 2.4) - 0.5 * np.abs(
        noise(14.0)
    )
    labels[shell & middle] = Part.MARROW
    free = (outside > DURA_MM + 1.5) & (depth > 1.5)
    cells = noise(5.0)
    for shape in face.vary(random):
        where = depth < 2 if shape.is_outer else free & shell if shape.in_skull else free
        _paint(labels, shape, layout, where, cells)
    _draw_inside(labels, layout)
    edge = ndimage.binary_dilation(brain) & ~np.isin(labels, (Part.CSF, Part.DURA, Part.VESSEL))
    labels[edge] = Part.CSF
    _paint(labels, face.make_cord(_lowest_place(brain, layout)), layout, np.ones_like(brain), cells)
    labels[brain] = Part.BRAIN
    return labels


def _draw_flesh(layout: Layout, noise: Noise, random: np.random.Generator) -> Labels:
    """Return skin, the fat below it, and muscle with planes of fat where there is no skull."""
    x, y, z = layout.places
    depth = layout.depth
    is_fat = (np.abs(noise(16.0)) < 0.1) | (noise(9.0) > 1.4)  # sheets between muscles, and lumps
    flesh = np.where(is_fat, Part.FAT, Part.MUSCLE).astype(np.uint8)
    temple = ((np.abs(x) - 62) / 26) ** 2 + ((y - 14) / 42) ** 2 + ((z + 10) / 38) ** 2 < 1
    is_scalp = (z > -30 + 0.12 * y) & ~temple
    under = random.uniform(3.0, 6.0)
    flesh[(depth < under) | is_scalp] = Part.FAT
    flesh[depth < 2.0] = Part.SKIN
    flesh[depth <= 0] = Part.AIR
    return flesh


def _draw_inside(labels: Labels, layout: Layout) -> None:
    """Draw what is between the brain and the skull: CSF, dura, falx, and the sinus along the top."""
    x, _, z = layout.places
    outside = layout.outside
    labels[outside < DURA_MM] = Part.DURA
    labels[outside < 0] = Part.CSF
    labels[(outside < 0) & (np.abs(x) < 0.8) & (z > 5)] = Part.DURA
    sinus = (np.abs(x) < 0.55 * (outside + 8)) & (outside > -8) & (outside < DURA_MM) & (z > 0)
    labels[sinus] = Part.VESSEL


def _lowest_place(brain: Mask, layout: Layout) -> Point:
    """Return the middle of the brain's lowest 4 mm, in standard coordinates."""
    filled = np.flatnonzero(brain.any(axis=(0, 1)))
    low, high = int(filled[0]), int(filled[0] + max(1, round(4 / layout.step)))
    there = brain[:, :, low:high]
    x, y, z = (float(place[:, :, low:high][there].mean()) for place in layout.places)
    return x, y, z


def _paint(labels: Labels, shape: face.Shape, layout: Layout, free: Mask, cells: Image) -> None:
    """Draw a shape and its mirror image, each within its own box."""
    for side in shape.sides():
        box = _box_of(side, layout)
        places = [place[box] for place in layout.places]
        face.paint(labels[box], side, places, free[box], cells[box] if side.cells else None)


def _box_of(shape: face.Shape, layout: Layout) -> tuple[slice, ...]:
    """Return the voxels within 9 mm of the shape's bounds: places are bent by less."""
    found = []
    for axis, (low, high) in enumerate(zip(*shape.bounds(), strict=True)):
        place = layout.places[axis]
        line = np.moveaxis(place, axis, 0)[:, place.shape[axis - 2] // 2, place.shape[axis - 1] // 2]
        near = np.flatnonzero((line > low - 9) & (line < high + 9))
        found.append(slice(int(near[0]), int(near[-1]) + 1) if near.size else slice(0, 0))
    return tuple(found)


def _draw_levels(random: np.random.Generator, spread: float) -> npt.NDArray[np.float64]:
    """Return the intensity of each part (part, channel), varied."""
    levels: npt.NDArray[np.float64] = np.array([CONTRASTS[part] for part in Part])
    suppressed = random.random(levels.shape[1]) < np.array(_SUPPRESSED)
    levels[Part.FAT] += random.uniform(-1.2, 0.6)  # by pulse sequence
    levels[np.ix_(np.array([Part.FAT, Part.MARROW]), suppressed)] = _SUPPRESSED_FAT
    return levels + spread * random.standard_normal(levels.shape) * (levels > _DARK)


def _draw_texture(shape: tuple[int, int, int], step: float, random: np.random.Generator) -> Image:
    """Return factors around 1 (x, y, z)."""
    fine = ndimage.gaussian_filter(random.standard_normal(shape, dtype=np.float32), 1.0 / step)
    noise = Noise(Grid(shape, np.diag([step, step, step, 1.0])), random)
    return np.asarray(1 + 0.05 * fine / fine.std() + 0.08 * noise(12.0), dtype=np.float32)


def _draw_image(
    brain: Image, labels: Labels, levels: npt.NDArray[np.float64], texture: Image, step: float
) -> Image:
    """Return one sequence (x, y, z): the brain as it is, blurred parts around it."""
    inside = labels == Part.BRAIN
    own = brain[inside]
    shown = own[own != 0] if own.any() else own  # a sequence may be cut off within the brain
    mean, deviation = float(shown.mean()), float(shown.std())
    values = np.maximum(mean + deviation * levels, _FLOOR * mean).astype(np.float32)
    values[Part.AIR] = 0.02 * mean
    image = values[labels] * texture
    image[inside] = own
    image = ndimage.gaussian_filter(image, 0.55 / step)
    image[inside] = own
    return np.asarray(image)
