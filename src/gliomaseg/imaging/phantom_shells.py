"""Where skull and skin of a synthetic head lie around a brain: smooth fields of distances, by a seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from gliomaseg.imaging import phantom_face as face
from gliomaseg.imaging.phantom_face import Point
from gliomaseg.imaging.phantom_tumour import Image, Mask, make_noise
from gliomaseg.imaging.resample import regrid
from gliomaseg.imaging.volume import Grid

DURA_MM = 1.0
#: The brain of a standard head, see ``phantom_face``.
_LOWEST, _HIGHEST = np.array([-68.0, -104.0, -66.0]), np.array([68.0, 70.0, 79.0])
#: The fields are smooth: they are computed on this voxel size, and interpolated.
_COARSE_MM = 2.0
#: Half the width of the gaps between parts of the brain that the dura doesn't follow.
_CLOSED_MM = 8.0


class Layout(NamedTuple):
    """Fields (x, y, z) in mm: three standard coordinates; outside the dura's inside; thicknesses; depth."""

    places: tuple[Image, Image, Image]
    outside: Image
    skull: Image
    depth: Image
    step: float


def lay_out(brain: Mask, step: float, random: np.random.Generator) -> Layout:
    """Return where everything is, computed on 2 mm and interpolated."""
    fine = Grid(shape_of(brain), np.diag([step, step, step, 1.0]))
    size = max(step, _COARSE_MM)
    affine = np.diag([size, size, size, 1.0])
    affine[:3, 3] = -3 * size
    x, y, z = (int(np.ceil(n * step / size)) + 6 for n in brain.shape)
    coarse = Grid((x, y, z), affine)
    there = regrid(brain, fine, coarse) > 0.5
    noise = Noise(coarse, random)
    places = _standard_places(brain, step, coarse, noise)
    distance = _distance(there, size)
    gap = np.clip(
        random.uniform(1.0, 3.0) + 0.8 * noise(35) + 1.5 * random.random() * (places[2] / 79), 0.6, 5
    )
    outside = (distance - gap).astype(np.float32)
    skull = _skull_mm(places, noise, random)
    depth = _depth(places, outside, skull, noise, random)
    across, along, up = (regrid(place, coarse, fine) for place in places)
    outside, skull, depth = (regrid(field, coarse, fine) for field in (outside, skull, depth))
    return Layout((across, along, up), outside, skull, depth, step)


class Noise:
    """Smooth noise (x, y, z) on one grid; each call draws another."""

    def __init__(self, grid: Grid, random: np.random.Generator) -> None:
        self.axes = tuple(
            (grid.spacing[axis] * np.arange(grid.shape[axis])).astype(np.float32) for axis in range(3)
        )
        self.random = random

    def __call__(self, scale_mm: float) -> Image:
        """Return noise of mean 0 and variance 1 with knots ``scale_mm`` apart."""
        return make_noise(self.axes, scale_mm, self.random, starts=(0.0, 0.0, 0.0), extent_mm=400.0)


def _standard_places(brain: Mask, step: float, coarse: Grid, noise: Noise) -> list[Image]:
    """Return the standard coordinates (x, y, z) of the coarse voxels, bent a little."""
    low, high = np.zeros(3), np.zeros(3)
    for axis in range(3):
        filled = np.flatnonzero(brain.any(axis=tuple({0, 1, 2} - {axis})))
        low[axis], high[axis] = step * filled[0], step * (filled[-1] + 1)
    scale = (high - low) / (_HIGHEST - _LOWEST)
    usual = float(np.mean(scale[:2]))
    scale = np.where(np.abs(scale / usual - 1) > 0.12, usual, scale)  # a cut brain is no flat one
    places = []
    for axis in range(3):
        mm = coarse.affine[axis, 3] + coarse.spacing[axis] * np.arange(coarse.shape[axis])
        standard = _HIGHEST[axis] + (mm - high[axis]) / scale[axis]
        shape = [1, 1, 1]
        shape[axis] = -1
        places.append(standard.astype(np.float32).reshape(shape) + 2.2 * noise(50))
    return places


def _distance(brain: Mask, step: float) -> Image:
    """Return how far voxels are outside the brain with its sulci closed, in mm; negative inside."""
    padded = np.pad(brain, 4, mode="edge")
    full = ndimage.distance_transform_edt(~padded, step) <= _CLOSED_MM
    closed = ndimage.distance_transform_edt(full, step) > _CLOSED_MM
    closed |= padded
    signed = ndimage.distance_transform_edt(~closed, step) - ndimage.distance_transform_edt(closed, step)
    smooth = ndimage.gaussian_filter(signed.astype(np.float32), 2.5 / step)
    return np.asarray(smooth[4:-4, 4:-4, 4:-4], dtype=np.float32)


def _skull_mm(places: Sequence[Image], noise: Noise, random: np.random.Generator) -> Image:
    """Return the thickness of the skull: thick at the back, thin at the temples and below."""
    x, y, z = places
    thick = random.uniform(5.5, 8.0) + 0.8 * noise(30)
    thick = thick + 3.0 * np.exp(-(((y + 100) / 25) ** 2) - ((z + 10) / 25) ** 2)
    thick = thick - 3.0 * np.exp(-(((np.abs(x) - 66) / 15) ** 2) - ((z - 0) / 28) ** 2 - ((y + 5) / 45) ** 2)
    thick = thick - 2.5 / (1 + np.exp((z + 22 + 0.1 * y) / 4))
    return np.asarray(np.clip(thick, 2.0, 11.0), dtype=np.float32)


def _depth(
    places: Sequence[Image], outside: Image, skull: Image, noise: Noise, random: np.random.Generator
) -> Image:
    """Return how deep voxels are below the skin, in mm; negative outside the head."""
    x, y, z = places
    scalp = random.uniform(4.5, 8.0) + 0.8 * noise(30)
    scalp = scalp + random.uniform(5, 11) * np.exp(
        -(((np.abs(x) - 62) / 18) ** 2) - ((y - 18) / 32) ** 2 - ((z + 12) / 28) ** 2
    )
    surface = outside - DURA_MM - skull - scalp
    wide, long = random.normal(1, 0.05, 2)
    for centre, radii in face.MASSES:
        bulky: Point = (radii[0] * wide, radii[1] * long, radii[2])
        surface = np.minimum(surface, face.ellipsoid(places, centre, bulky))
    surface = ndimage.gaussian_filter(surface, 4.0 / _COARSE_MM) + 0.8 * noise(20)
    for centre, radii in face.NOSE:
        surface = np.minimum(surface, face.ellipsoid(places, centre, radii))
    for centre, radii in face.SOCKETS:
        surface = np.maximum(surface, -face.ellipsoid(places, centre, radii))
    return np.asarray(-ndimage.gaussian_filter(surface, 1.0), dtype=np.float32)


def shape_of(array: npt.NDArray[np.generic]) -> tuple[int, int, int]:
    """Return the shape of an array (x, y, z)."""
    x, y, z = array.shape
    return x, y, z
