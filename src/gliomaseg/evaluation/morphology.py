"""Components, dilation, nearest points and best pairs: the door to SciPy.

Everything is exact, so that a number doesn't depend on how it was computed. SciPy is imported on first use,
which takes its time: Dice and IoU need none of this.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int32]
Places = npt.NDArray[np.int64]


def components(mask: Mask) -> tuple[Numbers, int]:
    """Return the components of a mask (x, y, z) numbered from 1, and how many; corners connect (26)."""
    from scipy import ndimage

    numbers = np.zeros(mask.shape, dtype=np.int32)
    count = ndimage.label(mask, structure=np.ones((3, 3, 3), dtype=bool), output=numbers)
    return numbers, int(count)


def dilate(mask: Mask, steps: int) -> Mask:
    """Return a mask (x, y, z) grown by ``steps`` voxels: over faces and edges (18), not corners, each step.

    The image ends at its border. As ``scipy.ndimage.binary_dilation`` with
    ``generate_binary_structure(3, 2)``, which is three squares; but each is two runs of two passes here.
    """
    for _ in range(steps):
        along_x, along_y = _widened(mask, 0), _widened(mask, 1)
        mask = _widened(along_x, 1) | _widened(along_x, 2) | _widened(along_y, 2)
    return mask


def _widened(mask: Mask, axis: int) -> Mask:
    wide = mask.copy()
    low, high = [slice(None)] * mask.ndim, [slice(None)] * mask.ndim
    low[axis], high[axis] = slice(None, -1), slice(1, None)
    wide[tuple(low)] |= mask[tuple(high)]
    wide[tuple(high)] |= mask[tuple(low)]
    return wide


def nearest(points: Floats, targets: Floats) -> tuple[Floats, Places]:
    """Return the distance of each point (n, 3) to the nearest of the targets (m, 3), and its place."""
    from scipy import spatial

    # the fastest kind of tree for the points of surfaces, which are spread evenly
    tree = spatial.cKDTree(targets, leafsize=32, compact_nodes=False, balanced_tree=False)
    distances, places = tree.query(points)
    return np.asarray(distances, dtype=np.float64), np.asarray(places, dtype=np.int64)


def best_pairs(costs: Floats) -> list[tuple[int, int]]:
    """Return the pairs (row, column) of the assignment with the least sum of costs (n, m)."""
    from scipy import optimize

    rows, columns = optimize.linear_sum_assignment(costs)
    return list(zip(rows.tolist(), columns.tolist(), strict=True))
