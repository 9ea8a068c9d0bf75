"""Numbers of native slices: those of the file whose grid a label map has, for places on the map at 1 mm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from nibabel import orientations

from gliomaseg.imaging.volume import Grid


@dataclass(frozen=True)
class NativeSlices:
    """The slices of the ``grid`` that a label map shares with the file of a ``sequence``.

    They are counted from 1 in the order of the file, as in ITK-SNAP; FSLeyes and nibabel count from 0. An
    ``axis`` is what slices cut: 0 left-right (sagittal), 1 back-front (coronal), 2 feet-head (axial).
    """

    grid: Grid
    sequence: str

    @property
    def counted(self) -> str:
        """Return a sentence on how slices are counted."""
        return f"Slices of {self.sequence} are counted from 1 in the order of its file, as in ITK-SNAP."

    def count(self, axis: int) -> int:
        """Return how many slices there are."""
        return self.grid.shape[self._along(axis)]

    def number(self, place_mm: Sequence[float], axis: int) -> int:
        """Return which slice is nearest to a place in RAS+ mm."""
        index = (np.linalg.inv(self.grid.affine) @ [*place_mm, 1.0])[self._along(axis)]
        return int(np.clip(np.floor(index + 0.5), 0, self.count(axis) - 1)) + 1

    def words(self, place_mm: Sequence[float], axis: int) -> str:
        """Return the number as "slice 14 of 26 in t1c"."""
        return f"slice {self.number(place_mm, axis)} of {self.count(axis)} in {self.sequence}"

    def along(self, grid: Grid, axis: int) -> tuple[float, float]:
        """Return the place of voxel 0 of ``grid``, and the length of its voxels, in units of slices from 0.

        ``grid`` has RAS axes in the directions of this one.
        """
        to_own = (np.linalg.inv(self.grid.affine) @ grid.affine)[self._along(axis)]
        return float(to_own[3]), float(to_own[axis])

    def _along(self, axis: int) -> int:
        """Return which voxel axis runs nearest to an axis of space."""
        return int(np.flatnonzero(orientations.io_orientation(self.grid.affine)[:, 0] == axis)[0])
