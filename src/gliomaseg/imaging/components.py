"""Connected components of a mask, by runs of voxels: fast without scipy.

Voxels are neighbours when they share a face, an edge or a corner (26 neighbours), as BraTS counts lesions.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.int32]
Ints = npt.NDArray[np.int64]


class _Runs(NamedTuple):
    """Runs of voxels along z: ``start`` to ``stop`` (not included) in the padded, flattened mask."""

    start: Ints
    stop: Ints


def label_components(mask: Mask) -> tuple[Labels, int]:
    """Return the number of the component of each voxel (x, y, z), 0 outside, and how many there are.

    Components are numbered from 1 in the order of their first voxel.
    """
    padded = np.pad(mask, 1)
    flat = padded.ravel()
    change = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = _Runs(change[::2], change[1::2])
    roots = _join(len(runs.start), *_touching(runs, padded.shape))
    numbers = np.unique(roots, return_inverse=True)[1].astype(np.int32) + 1
    labels = np.zeros(flat.size, dtype=np.int32)
    labels[flat] = np.repeat(numbers, runs.stop - runs.start)
    inner = labels.reshape(padded.shape)[1:-1, 1:-1, 1:-1]
    return np.ascontiguousarray(inner), int(numbers.max(initial=0))


def _touching(runs: _Runs, shape: tuple[int, ...]) -> tuple[Ints, Ints]:
    """Return the pairs of runs that touch: each with those of the four rows before it."""
    one, other = [], []
    for shift in (shape[2], *((shape[1] + step) * shape[2] for step in (-1, 0, 1))):
        first = np.searchsorted(runs.stop, runs.start - shift, "left")
        last = np.searchsorted(runs.start, runs.stop - shift, "right")
        count = np.maximum(last - first, 0)
        one.append(np.repeat(np.arange(len(first)), count))
        skipped = np.repeat(np.cumsum(count) - count, count)
        other.append(np.arange(count.sum()) - skipped + np.repeat(first, count))
    return np.concatenate(one), np.concatenate(other)


def _join(count: int, one: Ints, other: Ints) -> Ints:
    """Return the least run that each run is joined to, through any number of pairs."""
    parent = np.arange(count)
    while True:
        least = np.minimum(parent[one], parent[other])
        joined = parent.copy()
        np.minimum.at(joined, parent[one], least)
        np.minimum.at(joined, parent[other], least)
        while not np.array_equal(shorter := joined[joined], joined):
            joined = shorter
        if np.array_equal(joined, parent):
            return parent
        parent = joined
