"""Borders where the case's own intensities put them.

A network learns from many cases where borders lie, but how bright oedema is beside the brain around it
differs from case to case. The voxels that it is sure of tell that of this case: those surely inside a region,
and those surely outside but near. By regularised discriminant analysis (Friedman 1989), each side a normal
distribution, every voxel near the border has a log-likelihood ratio, which is added to the network's logit:
with one sequence and equal variances that draws the border half-way between the two means. The idea is that
of GrabCut (Rother et al. 2004), without its smoothing. Ignorant of files and labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gliomaseg.imaging.volume import filled_box, grown, widened
from gliomaseg.inference.postprocess import outermost_first, tumour_mask
from gliomaseg.settings.schema import Settings

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

#: Voxels are surely inside above this probability, surely outside below one minus it.
_SURE = 0.82
#: How many voxels around a region are near enough to compare with, and how far around it voxels may change.
_RING, _REACH = 12, 4
#: Largest log-likelihood ratio that counts: e^3 is 20 to 1.
_MOST = 3.0
#: Every second voxel along each axis is compared, so many at least on either side.
_STEP, _FEW = 2, 25
#: How much of each side's covariance is the mean of both, so that neither is fitted too closely; and what is
#: added to each variance, in z-scores squared, for sequences that hardly vary.
_SHARED, _RIDGE = 0.5, 0.01
#: Probabilities are kept this far from 0 and 1.
_LEAST = 1e-6


def refine(probabilities: Floats, image: Floats, settings: Settings) -> None:
    """Move the borders in ``probabilities`` (region, x, y, z) by the intensities of ``image``, in place.

    ``image`` is (modality, x, y, z), z-scores, 0 outside the brain and where a sequence is missing: voxels
    that one of the sequences at hand does not show stay as they are. ``segment.refine`` is the weight of the
    log-likelihood ratio, 0 to leave everything. No voxel of a region leaves the one around it by this.
    """
    whole = tumour_mask(probabilities, settings)
    box = filled_box(whole) if settings.segment.refine > 0 else None
    if box is None:
        return
    where = widened(box, whole.shape, _RING)
    part = probabilities[(slice(None), *where)]
    seen = np.stack([channel for channel in image[(slice(None), *where)] if channel.any()])
    measured = np.all(seen != 0, axis=0)
    masks = _nested(part, whole[where], settings)
    nothing = np.zeros_like(measured)
    outer, sample = measured, whole[where] & ~[*masks.values(), nothing][1]  # the core looks otherwise
    for (channel, inside), inner in zip(masks.items(), [*list(masks.values())[1:], nothing], strict=True):
        own = filled_box(inside)
        if own is None:
            return
        here = widened(own, inside.shape, _RING)
        border = Border(*(mask[here] for mask in (inside, inner, outer, sample & measured, measured)))
        _move(part[channel][here], border, seen[(slice(None), *here)], settings.segment.refine)
        outer, sample = inside & measured, inner


@dataclass(frozen=True)
class Border:
    """A region as the network found it, and what it takes to move its border; masks (x, y, z).

    ``inner`` is the next region within it, ``outer`` what it lies in and is compared with, ``sample`` what
    tells its own intensities, ``measured`` where every sequence shows something.
    """

    inside: Mask
    inner: Mask
    outer: Mask
    sample: Mask
    measured: Mask


def _nested(part: Floats, whole: Mask, settings: Settings) -> dict[int, Mask]:
    """Return the mask of each region by its channel, the outermost first, each within the one before."""
    found: dict[int, Mask] = {}
    for region in outermost_first(settings):
        channel = settings.network.regions.index(region)
        whole = whole & (part[channel] > settings.segment.thresholds[channel])
        found[channel] = whole
    return found


def _move(probability: Floats, border: Border, seen: Floats, weight: float) -> None:
    """Move one border in ``probability`` (x, y, z) by ``seen`` (sequence, x, y, z), in place.

    Where too few voxels are sure it stays.
    """
    some = (slice(None, None, _STEP),) * 3
    known, inside = probability[some], border.inside[some]
    around = grown(inside, _RING // _STEP) & border.outer[some] & ~inside
    sides = border.sample[some] & (known > _SURE), around & (known < 1 - _SURE)
    if min(np.count_nonzero(side) for side in sides) < _FEW:
        return
    near = grown(border.inside, _REACH) & border.measured
    before = np.clip(probability[near], _LEAST, 1 - _LEAST)
    before = np.log(before / (1 - before))
    within, without = (seen[(slice(None), *some)][:, side] for side in sides)
    after = before + weight * np.clip(_log_ratio(seen[:, near], within, without), -_MOST, _MOST)
    after = np.where(border.inner[near], np.maximum(before, after), after)
    probability[near] = 1 / (1 + np.exp(-after))


def _log_ratio(values: Floats, within: Floats, without: Floats) -> Floats:
    """Return log(p / q) of each of the ``values`` (sequence, n), with p and q fitted to two samples alike."""
    spreads = [np.cov(sample).reshape(len(values), len(values)) for sample in (within, without)]
    shared = _SHARED * (spreads[0] + spreads[1]) / 2 + _RIDGE * np.eye(len(values))
    densities = [
        _log_density(values, sample.mean(1, dtype=np.float64), (1 - _SHARED) * spread + shared)
        for sample, spread in zip((within, without), spreads, strict=True)
    ]
    return densities[0] - densities[1]


def _log_density(values: Floats, mean: npt.NDArray[np.float64], spread: npt.NDArray[np.float64]) -> Floats:
    """Return the logarithm of a normal density at ``values`` (sequence, n), less what is the same for all."""
    root = np.linalg.cholesky(spread)
    offset = np.linalg.solve(root, mean)
    away = np.linalg.inv(root).astype(np.float32) @ values - offset.astype(np.float32)[:, None]
    return np.asarray(-0.5 * (away * away).sum(0) - np.log(np.diag(root)).sum(), np.float32)
