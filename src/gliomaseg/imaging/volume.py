"""Images in memory: an array, the grid it lies on, and what its numbers mean.

Spatial axes are always (x, y, z) as stored on disk; the affine maps voxel indices to RAS+ millimetres.
Ignorant of files: ``nifti`` reads and writes these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from gliomaseg.errors import Note
from gliomaseg.labels import LabelScheme, Region, Tissue

Affine = npt.NDArray[np.float64]
Box = tuple[slice, slice, slice]

#: Grids whose corners lie within this many mm of each other are one, everywhere.
GRID_TOLERANCE_MM = 0.1


@dataclass(frozen=True)
class Grid:
    """Where voxels lie: shape (x, y, z) and affine (4, 4) to RAS+ mm.

    ``header`` keeps the NIfTI geometry fields of the file that the grid came from, so that a result
    can carry the very same ones; empty for grids made in memory.
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
        """Return whether it is known how the voxels lie: False where a file's two orientation codes are 0."""
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
        """Return whether shapes are equal and every corner lies within ``tolerance_mm``."""
        if self.shape != other.shape:
            return False
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in self.shape], [1])).reshape(4, -1)
        return bool(np.all(np.abs((self.affine - other.affine) @ corners) <= tolerance_mm))


@dataclass(frozen=True)
class Volume:
    """A stack of images on one grid: ``array`` is (channel, x, y, z), ``notes`` what was odd about it.

    ``sha256`` is that of the bytes each channel was read from; empty for images made in memory. ``wrapped``
    are the channels that were seen to be so before they were interpolated, which would hide it.
    """

    array: npt.NDArray[np.generic]
    grid: Grid
    channels: tuple[str, ...]
    notes: tuple[Note, ...] = ()
    sha256: tuple[str, ...] = ()
    wrapped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Segmentation:
    """A label map with its meaning: ``labels`` is (x, y, z) uint8 under ``scheme``."""

    labels: npt.NDArray[np.uint8]
    grid: Grid
    scheme: LabelScheme

    def mask(self, part: Region | Tissue) -> npt.NDArray[np.bool_]:
        """Return the (x, y, z) mask of a region or tissue."""
        return self.scheme.mask(self.labels, part)


def filled_box(*images: npt.NDArray[np.generic]) -> Box | None:
    """Return the smallest box (x, y, z) around the voxels that are not 0 in any image; None without such."""
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
