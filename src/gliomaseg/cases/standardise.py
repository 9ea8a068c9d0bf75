"""A case on the 1 mm grid of the networks, and the way back to its own grid.

A case with another voxel size is interpolated once, directly from its files to that grid; the output of the
network is put back, averaged over the thickness of each slice. A case with that size is not changed at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gliomaseg.cases.case import Case
from gliomaseg.cases.read import read_sequences
from gliomaseg.imaging.resample import regrid
from gliomaseg.imaging.volume import Grid, Segmentation, Volume, standard_grid
from gliomaseg.labels import REGION_SHELL, Modality, Region


@dataclass(frozen=True)
class Standardised:
    """The sequences of a case in ``volume`` on a standard grid, **and the way back** to its ``own`` grid."""

    volume: Volume
    own: Grid

    @property
    def is_own(self) -> bool:
        """Return whether the volume is on the case's own grid, so that nothing was interpolated."""
        return self.volume.grid is self.own

    def restore(self, array: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """Return probabilities (x, y, z) on the case's own grid.

        A voxel of a thick slice gets the mean over its thickness; finer voxels are interpolated.
        """
        return array if self.is_own else regrid(array, self.volume.grid, self.own)

    def forward(self, reference: Segmentation) -> Segmentation:
        """Return a label map on the grid of the volume: each voxel gets the label of most of its extent."""
        if self.is_own:
            return reference
        labels = np.zeros(self.volume.grid.shape, np.uint8, order="F")
        for region in Region:
            mask = regrid(reference.mask(region), self.own, self.volume.grid) >= 0.5
            labels[mask] = reference.scheme.values[REGION_SHELL[region]]
        return Segmentation(labels, self.volume.grid, reference.scheme)


def standardise(case: Case, modalities: Sequence[Modality], size_mm: float = 1.0) -> Standardised:
    """Return a case with voxels of ``size_mm``; as stored if they are 0.8 to 1.25 times as large.

    Raises CaseError (E-MODALITY, E-GRID, E-DUPLICATE) and ImageError, as reading and checking do.
    """
    sequences = read_sequences(case, modalities)
    return Standardised(sequences.on(standard_grid(sequences.grid, size_mm)), sequences.grid)
