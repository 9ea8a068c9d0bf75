"""Whether sequences on one grid show the same brain at the same place. Ignorant of files."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gliomaseg.imaging.volume import Grid

Ratios = npt.NDArray[np.float64]
_Levels = npt.NDArray[np.int32]

#: Intensities are told apart at this many levels, each with as many voxels as the next.
_LEVELS = 16


def alignment(channels: npt.NDArray[np.generic], grid: Grid, shift_mm: float = 6.0) -> Ratios:
    """Return (channel, channel) how well each of the channels (channel, x, y, z) lies on each other one.

    That is their mutual information where they lie, over the largest when one of them is moved by
    ``shift_mm`` along an axis: below 1, some other place would fit better. 0 where nothing is shared.
    """
    levels = [_levels(channel) for channel in channels]
    steps = [max(1, round(shift_mm / spacing)) for spacing in grid.spacing]
    ratios = np.zeros((len(levels), len(levels)))
    for one, other in itertools.combinations(range(len(levels)), 2):
        moved = max(_moved(levels[one], levels[other], axis, steps[axis]) for axis in range(3))
        ratio = _information(levels[one], levels[other]) / max(moved, 1e-9)
        ratios[one, other] = ratios[other, one] = ratio
    return ratios


def groups(ratios: Ratios, least: float) -> list[list[int]]:
    """Return which channels hang together by ratios of at least ``least``, the largest group first."""
    left, found = set(range(len(ratios))), []
    while left:
        group = {min(left)}
        while more := {b for b in left - group if any(ratios[a, b] >= least for a in group)}:
            group |= more
        found.append(sorted(group))
        left -= group
    return sorted(found, key=len, reverse=True)


def _levels(image: npt.NDArray[np.generic]) -> _Levels:
    """Return the level of each voxel from 1 on, 0 outside the brain."""
    brain = image != 0
    values = image[brain].astype(np.float32)
    levels = np.zeros(image.shape, dtype=np.int32)
    if values.size:
        edges = np.percentile(values[::7], np.linspace(0, 100, _LEVELS + 1)[1:-1])
        levels[brain] = np.searchsorted(edges, values) + 1
    return levels


def _moved(one: _Levels, other: _Levels, axis: int, step: int) -> float:
    ends: Sequence[slice] = (slice(step, None), slice(None, -step))
    first, second = (tuple(end if a == axis else slice(None) for a in range(3)) for end in ends)
    return max(_information(one[first], other[second]), _information(one[second], other[first]))


def _information(one: _Levels, other: _Levels) -> float:
    """Return the mutual information of two images, in nats, where both show brain."""
    both = (one > 0) & (other > 0)
    joint = np.bincount((one[both] - 1) * _LEVELS + other[both] - 1, minlength=_LEVELS**2)
    if not joint.any():
        return 0.0
    p = joint.reshape(_LEVELS, _LEVELS) / joint.sum()
    alone = p.sum(axis=1, keepdims=True) * p.sum(axis=0, keepdims=True)
    filled = p > 0
    return float((p[filled] * np.log(p[filled] / alone[filled])).sum())
