"""A case on the 1 mm grid of the networks, and the way back to its own grid.

A case with another voxel size is interpolated once, directly from its files to that grid; the output of the
network is put back, averaged over the thickness of each slice. A case with that size is not changed at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from gliomaseg.cases.case import Case
from gliomaseg.cases.headers import target_of
from gliomaseg.cases.read import Sequences, read_sequences
from gliomaseg.imaging.native_slices import NativeSlices
from gliomaseg.imaging.resample import regrid
from gliomaseg.imaging.volume import Affine, Grid, Segmentation, Volume, standard_grid
from gliomaseg.labels import REGION_SHELL, Modality, Region


@dataclass(frozen=True)
class Native:
    """The grid of one sequence: as ``stored`` in its file, and as ``placed`` in the space of the volume.

    They differ where registration moved the sequence. ``moved_mm`` is the mean distance over the head from
    where the header placed it, ``residual_mm`` what registering there and back leaves at most.
    """

    stored: Grid
    placed: Grid
    moved_mm: float = 0.0
    residual_mm: float = 0.0

    @property
    def matrix(self) -> Affine:
        """Return the transform (4, 4) in RAS mm from the space of the volume to that of the stored image."""
        return self.stored.affine @ np.linalg.inv(self.placed.affine)


@dataclass(frozen=True)
class Standardised:
    """The sequences of a case in ``volume`` on a standard grid, **and the way back** to its ``own`` grid.

    ``natives`` are the grids of all sequences, ``brain`` (x, y, z) is the brain mask on the grid of the
    volume, if whole heads were given; ``seconds`` are those of each step of a raw exam.
    """

    volume: Volume
    own: Grid
    natives: Mapping[Modality, Native] = field(default_factory=dict)
    brain: npt.NDArray[np.bool_] | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_own(self) -> bool:
        """Return whether the volume is on the case's own grid, so that nothing was interpolated."""
        return self.volume.grid is self.own

    @property
    def is_raw(self) -> bool:
        """Return whether sequences were registered, or heads stripped."""
        moved = any(native.placed is not native.stored for native in self.natives.values())
        return moved or self.brain is not None

    @property
    def native_slices(self) -> NativeSlices | None:
        """Return the slices of the case's own grid, if that is another than the grid of the volume."""
        if self.is_own:
            return None
        return NativeSlices(self.own, target_of(tuple(map(Modality, self.volume.channels))).value)

    def restore(
        self, array: npt.NDArray[np.generic], onto: Modality | None = None
    ) -> npt.NDArray[np.generic]:
        """Return probabilities (x, y, z) on the case's own grid, or on the grid of the file of ``onto``.

        A voxel of a thick slice gets the mean over its thickness; finer voxels are interpolated.
        """
        target = self.own if onto is None else self.natives[onto].placed
        return array if target is self.volume.grid else regrid(array, self.volume.grid, target)

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
    """Return a prepared case with voxels of ``size_mm``; as stored if they are 0.8 to 1.25 times as large.

    Raises CaseError (E-MODALITY, E-GRID, E-DUPLICATE) and ImageError, as reading and checking do.
    """
    return on_standard_grid(read_sequences(case, modalities), size_mm)


def on_standard_grid(sequences: Sequences, size_mm: float) -> Standardised:
    """Return the sequences of a prepared case with voxels of ``size_mm``; raises as ``standardise``."""
    grids = {m: Native(grid, grid) for m, grid in sequences.stored.items()}
    return Standardised(sequences.on(standard_grid(sequences.grid, size_mm)), sequences.grid, grids)
