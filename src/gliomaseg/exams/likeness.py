"""Whether two registered images show the same head: those of two people fit each other here and there.

Images of one head lose much of their mutual information when one is shifted by a few mm; those of two heads
hardly any. It is compared in eight parts, because a large tumour may leave little to compare in some.
"""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt

from gliomaseg.cases.alignment import alignment
from gliomaseg.imaging.volume import Box, Grid, filled_box

_Floats = npt.NDArray[np.float32]

_SHIFT_MM = 6.0
#: What is compared is all of the head and what is so many mm inside it: scalps are not alike in all
#: sequences, and inside a stripped brain a large tumour leaves little to compare.
_DEPTH_MM = 8.0
#: Gaps of the head (air, skull, fluid) up to this many mm are closed.
_GAP_MM = 16.0
#: The fewest voxels of a part, and the fewest parts.
_FEWEST, _PARTS = 1000, 3
#: Which of the parts decides, as a percentile from the one that is least alike.
_PERCENTILE = 75.0


def likeness(
    images: tuple[_Floats, _Floats], grids: tuple[Grid, Grid], matrix: npt.NDArray[np.float64], head: float
) -> float | None:
    """Return how alike two images (x, y, z) are: above 1, they lose by being shifted.

    It is the ratio of ``cases.alignment`` for a shift of 6 mm, the 75th percentile of eight parts of the
    head, or of what is 8 mm inside it, if that is larger; None if both show next to nothing of it. ``matrix``
    (4, 4) maps points of the first image to the second, RAS mm; the head is what is brighter than ``head`` in
    the first.
    """
    bright = images[0] > head
    box = filled_box(bright)
    if box is None:
        return None
    there = _moved(images[1], np.linalg.inv(grids[1].affine) @ matrix @ grids[0].affine, box)
    pair = np.stack([images[0][box], there])
    seen = np.isfinite(there)
    masks = [bright[box] & seen, _inside(bright[box], grids[0]) & seen]
    found = [value for value in (_percentile(pair, mask, grids[0]) for mask in masks) if value is not None]
    return max(found, default=None)


def _moved(image: _Floats, step: npt.NDArray[np.float64], box: Box) -> _Floats:
    """Return ``image`` in a box of another grid, by ``step`` from its voxels; NaN beyond the image."""
    from scipy import ndimage  # slow to import

    start = step @ [*(side.start for side in box), 1]
    shape = tuple(side.stop - side.start for side in box)
    out: _Floats = np.empty(shape, np.float32)
    ndimage.affine_transform(image, step[:3, :3], start[:3], shape, out, order=1, cval=np.nan)
    return out


def _percentile(pair: _Floats, mask: npt.NDArray[np.bool_], grid: Grid) -> float | None:
    """Return the likeness of ``pair`` (image, x, y, z) in a mask; None if too few parts are large enough."""
    parts = [part for part in _octants(mask) if np.count_nonzero(mask[part]) >= _FEWEST]
    if len(parts) < _PARTS:
        return None
    lowest = pair[:, mask].min(axis=1)[:, None, None, None]
    pair = np.where(mask, pair - lowest + 1, 0)  # 0 is what alignment leaves out
    found = [alignment(pair[:, *part], grid, _SHIFT_MM)[0, 1] for part in parts]
    return float(np.percentile(found, _PERCENTILE))


def _inside(head: npt.NDArray[np.bool_], grid: Grid) -> npt.NDArray[np.bool_]:
    """Return the voxels (x, y, z) so deep inside the head, found on every second one."""
    from scipy import ndimage  # slow to import

    few = head[::2, ::2, ::2]
    size = 2 * float(np.mean(grid.spacing))
    gap = round(_GAP_MM / 2 / size)
    few = ndimage.binary_fill_holes(ndimage.binary_closing(np.pad(few, gap), iterations=gap))
    few = few[(slice(gap, -gap),) * 3]
    few = ndimage.binary_erosion(few, iterations=round(_DEPTH_MM / size), border_value=1)
    x, y, z = head.shape
    return np.asarray(few.repeat(2, 0).repeat(2, 1).repeat(2, 2)[:x, :y, :z])


def _octants(mask: npt.NDArray[np.bool_]) -> list[Box]:
    """Return the eight parts (x, y, z) around the centre of a mask."""
    if not mask.any():
        return []
    centre = [int(n) for n in np.argwhere(mask).mean(axis=0)]
    x, y, z = ((slice(0, n), slice(n, None)) for n in centre)
    return list(itertools.product(x, y, z))
