"""A case on the grid that networks see, and the way back to its own.

A network knows voxels of one size: 1 mm. A case with others is interpolated once, from its files straight to
that grid, and what the network says is put back, averaged over the thickness of each slice. A case that has
that size already is left as it is, to the byte. Ignorant of networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gliomaseg.cases.case import Case
from gliomaseg.cases.read import read_sequences
from gliomaseg.imaging.resample import regrid, standard_grid
from gliomaseg.imaging.volume import Grid, Segmentation, Volume
from gliomaseg.labels import REGION_SHELL, Modality, Region


@dataclass(frozen=True)
class Standardised:
    """The sequences of a case in ``volume``, as a network sees them, **and the way back** to its own grid."""

    volume: Volume
    own: Grid

    @property
    def is_own(self) -> bool:
        """Return whether the volume lies on the case's own grid: nothing was interpolated."""
        return self.volume.grid is self.own

    def restore(self, array: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """Return probabilities (x, y, z) of the volume on the case's own grid.

        A voxel of a thick slice gets the mean over its thickness; finer voxels are interpolated.
        """
        return array if self.is_own else regrid(array, self.volume.grid, self.own)

    def forward(self, reference: Segmentation) -> Segmentation:
        """Return a label map of the case's own grid on that of the volume: a voxel is what most of it is."""
        if self.is_own:
            return reference
        labels = np.zeros(self.volume.grid.shape, np.uint8, order="F")
        for region in Region:
            mask = regrid(reference.mask(region), self.own, self.volume.grid) >= 0.5
            labels[mask] = reference.scheme.values[REGION_SHELL[region]]
        return Segmentation(labels, self.volume.grid, reference.scheme)


def standardise(case: Case, modalities: Sequence[Modality], size_mm: float = 1.0) -> Standardised:
    """Return a case with voxels of ``size_mm``, or as stored where they are 0.8 to 1.25 times as large.

    Raises CaseError (E-MODALITY, E-GRID, E-DUPLICATE) and ImageError, as reading and checking do.
    """
    sequences = read_sequences(case, modalities)
    return Standardised(sequences.on(standard_grid(sequences.grid, size_mm)), sequences.grid)
