"""Images in memory: an array, its grid, and the meaning of its values.

Spatial axes are always (x, y, z) as stored on disk; the affine maps voxel indices to RAS+ millimetres.
``nifti`` reads and writes these.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import nibabel as nib
import numpy as np
import numpy.typing as npt

from gliomaseg.errors import ImageError, Note
from gliomaseg.imaging.surroundings import Surroundings
from gliomaseg.labels import LabelScheme, Region, Tissue

Affine = npt.NDArray[np.float64]
Box = tuple[slice, slice, slice]

#: Grids of one shape are the same if no corner is farther apart than this.
GRID_TOLERANCE_MM = 0.1
#: Largest image that is read, in voxels: 512 x 512 x 512; a BraTS image has 8.9 million.
MAX_VOXELS = 512**3
#: Voxel sizes that a network supports, relative to those it was trained on: augmentation scales as much.
USUAL = (0.8, 1.25)
#: The largest intensity that float32 holds.
LARGEST = float(np.finfo(np.float32).max)
_NO_TURN = ((0, 1), (1, 1), (2, 1))


@dataclass(frozen=True)
class Grid:
    """The places of voxels: shape (x, y, z) and affine (4, 4) to RAS+ mm.

    ``header`` keeps the NIfTI geometry fields of the file that the grid came from, so that a result gets
    identical ones; empty for grids made in memory.
    """

    shape: tuple[int, int, int]
    affine: Affine
    header: Mapping[str, object] = field(default_factory=dict, compare=False, repr=False)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Return the voxel size along x, y, z in mm."""
        x, y, z = np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0))
        return float(x), float(y), float(z)

    @property
    def is_oriented(self) -> bool:
        """Return whether the orientation is known: not if both orientation codes of the file are 0."""
        codes = [self.header[name] for name in ("qform_code", "sform_code") if name in self.header]
        return not codes or any(bool(code) for code in codes)

    @property
    def voxel_ml(self) -> float:
        """Return the volume of one voxel in millilitres, from the affine's determinant."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    def world_axis(self, axis: int) -> int:
        """Return which axis of space (0 right, 1 anterior, 2 superior) runs nearest to a voxel axis."""
        return int(np.argmax(np.abs(self.affine[:3, axis])))

    def matches(self, other: Grid, tolerance_mm: float = GRID_TOLERANCE_MM) -> bool:
        """Return whether shapes are equal and every corner is within ``tolerance_mm``."""
        return self.shape == other.shape and self.corner_distance(other.affine) <= tolerance_mm

    def corner_distance(self, affine: Affine) -> float:
        """Return the largest distance in mm of a corner under this grid's affine and ``affine``."""
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in self.shape], [1])).reshape(4, -1)
        with np.errstate(all="ignore"):
            apart = np.sqrt((((self.affine - affine) @ corners)[:3] ** 2).sum(axis=0)).max()
        return float(np.inf if np.isnan(apart) else apart)


def is_usual(spacing: Sequence[float], size_mm: float = 1.0) -> bool:
    """Return whether a network trained on voxels of ``size_mm`` supports this voxel size."""
    return all(USUAL[0] <= round(length / size_mm, 3) <= USUAL[1] for length in spacing)


def standard_grid(grid: Grid, size_mm: float = 1.0) -> Grid:
    """Return ``grid`` with voxels of ``size_mm`` along every axis; unchanged if its size is usual.

    Directions and centre stay the same; the field of view grows by less than a voxel. Raises ImageError
    (E-TOOBIG) for too many voxels.
    """
    if is_usual(grid.spacing, size_mm):
        return grid
    shape, affine = list(grid.shape), grid.affine.copy()
    for axis, (count, spacing) in enumerate(zip(grid.shape, grid.spacing, strict=True)):
        if abs(spacing - size_mm) * count < GRID_TOLERANCE_MM:
            continue
        shape[axis] = math.ceil(count * spacing / size_mm - 1e-3)
        step = grid.affine[:3, axis] * size_mm / spacing
        affine[:3, axis] = step
        affine[:3, 3] += grid.affine[:3, axis] * (count - 1) / 2 - step * (shape[axis] - 1) / 2
    x, y, z = shape
    if x * y * z > MAX_VOXELS:
        size = " x ".join(f"{length:.3g}" for length in grid.spacing)
        raise ImageError(
            "E-TOOBIG",
            f"{' x '.join(map(str, grid.shape))} voxels of {size} mm are {x * y * z:,} of {size_mm:g} mm",
            expected=f"at most {MAX_VOXELS:,} voxels of {size_mm:g} mm",
            remedy="check the voxel size in the header: no head is that large",
        )
    return Grid((x, y, z), affine)


def cropped_grid(grid: Grid, box: Box) -> Grid:
    """Return the part of ``grid`` in ``box``: the same places, with the header left out."""
    x, y, z = (side.stop - side.start for side in box)
    affine = grid.affine.copy()
    affine[:3, 3] = (grid.affine @ [*(side.start for side in box), 1])[:3]
    return Grid((x, y, z), affine)


def turned_grid(grid: Grid, like: Grid) -> Grid:
    """Return ``grid`` with axes flipped and exchanged to run like those of ``like``: the same places."""
    turn = _turn(grid, like)
    if np.array_equal(turn, _NO_TURN):
        return grid
    x, y, z = (grid.shape[int(axis)] for axis in np.argsort(turn[:, 0]))
    return Grid((x, y, z), grid.affine @ nib.orientations.inv_ornt_aff(turn, grid.shape))


def turned_like(array: npt.NDArray[np.generic], grid: Grid, like: Grid) -> npt.NDArray[np.generic]:
    """Return ``array`` (x, y, z) on ``turned_grid``: voxels are moved, never interpolated."""
    return np.asarray(nib.orientations.apply_orientation(array, _turn(grid, like)))


def _turn(grid: Grid, like: Grid) -> npt.NDArray[np.float64]:
    return np.asarray(nib.orientations.io_orientation(np.linalg.inv(like.affine) @ grid.affine))


@dataclass(frozen=True)
class Volume:
    """A stack of images on one grid: ``array`` is (channel, x, y, z), ``notes`` are its oddities.

    ``sha256`` is the hash of each channel's file; empty for images made in memory. ``wrapped`` are channels
    with wrapped integers, found before interpolation, which would hide them. ``around`` is the brain that was
    cut out of whole heads, and what was around it.
    """

    array: npt.NDArray[np.generic]
    grid: Grid
    channels: tuple[str, ...]
    notes: tuple[Note, ...] = ()
    sha256: tuple[str, ...] = ()
    wrapped: tuple[str, ...] = ()
    around: Surroundings | None = None


@dataclass(frozen=True)
class Segmentation:
    """A label map with its meaning: ``labels`` is (x, y, z) uint8 under ``scheme``."""

    labels: npt.NDArray[np.uint8]
    grid: Grid
    scheme: LabelScheme

    def mask(self, region: Region | Tissue) -> npt.NDArray[np.bool_]:
        """Return the (x, y, z) mask of a region or tissue."""
        return self.scheme.mask(self.labels, region)


def filled_box(*images: npt.NDArray[np.generic]) -> Box | None:
    """Return the smallest box (x, y, z) around all nonzero voxels of the images; None if there are none."""
    filled = images[0] != 0
    for image in images[1:]:
        filled |= image != 0
    xy, yz = filled.any(axis=2), filled.any(axis=0)
    found = [np.flatnonzero(line) for line in (xy.any(axis=1), xy.any(axis=0), yz.any(axis=0))]
    if not found[0].size:
        return None
    x, y, z = (slice(int(places[0]), int(places[-1]) + 1) for places in found)
    return x, y, z


def widened(box: Box, shape: tuple[int, ...], margin: int) -> Box:
    """Return ``box`` with ``margin`` voxels around it, inside an array (x, y, z) of ``shape``."""
    x, y, z = (
        slice(max(0, side.start - margin), min(size, side.stop + margin))
        for side, size in zip(box, shape, strict=True)
    )
    return x, y, z


def grown(mask: npt.NDArray[np.bool_], reach: int) -> npt.NDArray[np.bool_]:
    """Return ``mask`` (x, y, z) dilated by a cube that extends ``reach`` voxels to each side."""
    found = mask.copy()
    for axis in range(mask.ndim):
        ahead = found.swapaxes(0, axis)
        for along in (ahead, ahead[::-1]):
            left, step = reach, 1
            while left > 0:
                step = min(step, left)  # each round doubles the reach
                along[step:] |= along[:-step].copy()
                left, step = left - step, 2 * step
    return found
