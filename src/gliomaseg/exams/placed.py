"""A raw exam read again on its own grid, as an earlier run registered it: nothing is registered anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from gliomaseg.cases.case import Case
from gliomaseg.cases.read import read_sequences
from gliomaseg.imaging.nifti import read_image
from gliomaseg.imaging.resample import regrid
from gliomaseg.imaging.volume import Affine, Grid, Volume
from gliomaseg.labels import Modality


def read_placed(
    case: Case, matrices: Mapping[Modality, Affine], hashes: Mapping[Modality, str], brain: Path | None = None
) -> Volume | None:
    """Return the sequences (channel, x, y, z) of a raw exam on the grid of t1c, or of the first.

    ``matrices`` (4, 4) lead from the space of that sequence to the file of each, in RAS mm. ``brain`` is the
    file of a brain mask in that space; without one, whole heads are shown. None is returned unless the files
    have the SHA-256 ``hashes``: for others the matrices don't hold. Raises what reading does.
    """
    found = read_sequences(case, tuple(m for m in matrices if m in case.images))
    if any(hashes.get(m) != digest for m, digest in zip(found.grids, found.sha256, strict=True)):
        return None
    grids = {m: Grid(grid.shape, np.linalg.inv(matrices[m]) @ grid.affine) for m, grid in found.grids.items()}
    found = replace(found, grids=grids, registered=True)
    if brain is None:
        return found.on(found.grid)
    mask, grid = read_image(brain)
    return found.on(found.grid, regrid(mask, grid, found.grid) > 0.5)
