"""Whether two registered images show the same head: those of two people fit each other here and there.

Images of one head lose much of their mutual information when one is shifted by a few mm; those of two heads
hardly any. It is compared in eight parts, because a large tumour may leave little to compare in some.
"""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from gliomaseg.cases.alignment import alignment
from gliomaseg.imaging.volume import Box, Grid, filled_box

_Floats = npt.NDArray[np.float32]

_SHIFT_MM = 6.0
#: The fewest voxels of a part, and the fewest parts.
_FEWEST, _PARTS = 1000, 3
#: Which of the parts decides, as a percentile from the one that is least alike.
_PERCENTILE = 75.0


def likeness(
    images: tuple[_Floats, _Floats], grids: tuple[Grid, Grid], matrix: npt.NDArray[np.float64], head: float
) -> float | None:
    """Return how alike two images (x, y, z) are: above 1, they lose by being shifted.

    It is the ratio of ``cases.alignment`` for a shift of 6 mm, the 75th percentile of eight parts of the
    head; None if both show next to nothing of it. ``matrix`` (4, 4) maps points of the first image to the
    second, RAS mm; the head is what is brighter than ``head`` in the first.
    """
    inside = images[0] > head
    box = filled_box(inside)
    if box is None:
        return None
    inside = inside[box]
    step = np.linalg.inv(grids[1].affine) @ matrix @ grids[0].affine
    start = step @ [*(side.start for side in box), 1]
    there = ndimage.affine_transform(
        images[1], step[:3, :3], start[:3], output_shape=inside.shape, order=1, cval=np.nan
    )
    inside &= np.isfinite(there)
    parts = [part for part in _octants(inside) if np.count_nonzero(inside[part]) >= _FEWEST]
    if len(parts) < _PARTS:
        return None
    pair = np.stack([images[0][box], there])
    lowest = pair[:, inside].min(axis=1)[:, None, None, None]
    pair = np.where(inside, pair - lowest + 1, 0)  # 0 is what alignment leaves out
    found = [alignment(pair[:, *part], grids[0], _SHIFT_MM)[0, 1] for part in parts]
    return float(np.percentile(found, _PERCENTILE))


def _octants(mask: npt.NDArray[np.bool_]) -> list[Box]:
    """Return the eight parts (x, y, z) around the centre of a mask."""
    if not mask.any():
        return []
    centre = [int(n) for n in np.argwhere(mask).mean(axis=0)]
    x, y, z = ((slice(0, n), slice(n, None)) for n in centre)
    return list(itertools.product(x, y, z))
