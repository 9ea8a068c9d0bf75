"""Whether sequences on one grid are registered: their mutual information in place and shifted."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gliomaseg.cases.appearance import not_brain
from gliomaseg.errors import Note
from gliomaseg.imaging.volume import Grid
from gliomaseg.labels import Modality

Ratios = npt.NDArray[np.float64]
_Levels = npt.NDArray[np.int32]

#: Intensities are sorted into this many levels with equal numbers of voxels.
_LEVELS = 16
#: Least ratio of ``alignment`` at which four sequences are aligned: real at least 1.39. With fewer, there is
#: less to compare: docs/content-checks.md has the pairs.
_LEAST_ALIGNED, _LEAST_OF_FEW = 1.15, 0.95


def check_alignment(
    channels: npt.NDArray[np.generic], grid: Grid, names: Sequence[str], case_id: str
) -> list[Note]:
    """Return a note for each sequence (channel, x, y, z) that is misregistered to most others.

    Raises CaseError (E-NOTBRAIN) for four of which no two are aligned.
    """
    ratios = alignment(channels, grid)
    aligned = groups(ratios, _LEAST_ALIGNED if len(names) == len(Modality) else _LEAST_OF_FEW)
    if len(names) == len(Modality) == len(aligned):
        raise not_brain(
            f"case {case_id}: no two of its images have anything in common",
            "four sequences of one brain, registered to each other",
        )
    notes = []
    for group in aligned[1:]:
        others = [k for k in range(len(names)) if k not in group]
        which = " and ".join(names[k] for k in group) + (" seem" if len(group) > 1 else " seems")
        ratio = ratios[np.ix_(group, others)].max()
        what = f"case {case_id}: {which} misregistered to the other sequences (ratio {ratio:.2f})"
        notes.append(Note("W-ALIGN", what, "compare them in a viewer; if they differ, register them first"))
    return notes


def alignment(channels: npt.NDArray[np.generic], grid: Grid, shift_mm: float = 6.0) -> Ratios:
    """Return the alignment (channel, channel) of each pair of ``channels`` (channel, x, y, z).

    It is their mutual information in place, divided by the largest one after a shift of ``shift_mm`` along an
    axis: below 1, another position fits better. It is 0 for channels that share nothing.
    """
    levels = [_levels(channel) for channel in channels]
    steps = [max(1, round(shift_mm / spacing)) for spacing in grid.spacing]
    ratios = np.zeros((len(levels), len(levels)))
    for one, other in itertools.combinations(range(len(levels)), 2):
        shifted = max(_shifted(levels[one], levels[other], axis, steps[axis]) for axis in range(3))
        ratio = _information(levels[one], levels[other]) / max(shifted, 1e-9)
        ratios[one, other] = ratios[other, one] = ratio
    return ratios


def groups(ratios: Ratios, least: float) -> list[list[int]]:
    """Return the channels linked by ratios of at least ``least``, in groups, the largest first."""
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


def _shifted(one: _Levels, other: _Levels, axis: int, step: int) -> float:
    one, other = one.swapaxes(0, axis), other.swapaxes(0, axis)
    return max(_information(one[step:], other[:-step]), _information(one[:-step], other[step:]))


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
