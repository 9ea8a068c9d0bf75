"""Boundary refinement: the boundary of each region is moved by the intensities of the case itself.

A network learns boundaries from many cases, but the contrast of oedema to brain differs between cases. Voxels
with a clear probability show that of this case: those well inside a region, and those well outside but near.
By regularised discriminant analysis (Friedman 1989), each side a normal distribution, every voxel near the
boundary has a log-likelihood ratio, which is added to the network's logit: with one sequence and equal
variances this puts the boundary half-way between the two means. The idea is that of GrabCut (Rother et al.
2004), without its smoothing.
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

#: Voxels above this probability sample the inside, voxels below one minus it the outside.
_CLEAR = 0.82
#: Voxels around a region that sample the outside, and voxels around it that may change.
_RING, _REACH = 12, 4
#: The largest log-likelihood ratio that counts: e^3 is 20 to 1.
_MOST = 3.0
#: Every second voxel along each axis is sampled; so many samples are needed on either side.
_STEP, _FEW = 2, 25
#: The weight of the pooled covariance, which keeps each side from being fitted too closely; and the addition
#: to each variance, in z-scores squared, for sequences with little variation.
_POOLED, _RIDGE = 0.5, 0.01
#: Probabilities are kept this far from 0 and 1.
_LEAST = 1e-6


def refine(probabilities: Floats, image: Floats, settings: Settings) -> None:
    """Move the boundaries in ``probabilities`` (region, x, y, z) by the intensities of ``image``, in place.

    ``image`` is (modality, x, y, z), z-scores, 0 outside the brain and in a missing sequence. A voxel that is
    0 in any of the other sequences does not change. ``segment.refine`` is the weight of the log-likelihood
    ratio, 0 for no refinement. No voxel of a region leaves the region around it.
    """
    whole = tumour_mask(probabilities, settings)
    box = filled_box(whole) if settings.segment.refine > 0 else None
    if box is None:
        return
    where = widened(box, whole.shape, _RING)
    crop = probabilities[(slice(None), *where)]
    seen = np.stack([channel for channel in image[(slice(None), *where)] if channel.any()])
    measured = np.all(seen != 0, axis=0)
    masks = _nested(crop, whole[where], settings)
    nothing = np.zeros_like(measured)
    outer, sample = measured, whole[where] & ~[*masks.values(), nothing][1]  # the core has other intensities
    for (channel, inside), inner in zip(masks.items(), [*list(masks.values())[1:], nothing], strict=True):
        own = filled_box(inside)
        if own is None:
            return
        here = widened(own, inside.shape, _RING)
        boundary = Boundary(*(mask[here] for mask in (inside, inner, outer, sample & measured, measured)))
        _move(crop[channel][here], boundary, seen[(slice(None), *here)], settings.segment.refine)
        outer, sample = inside & measured, inner


@dataclass(frozen=True)
class Boundary:
    """A region as the network found it, and the masks (x, y, z) that decide on its boundary.

    ``inner`` is the next region inside it, ``outer`` the surroundings that it is compared with, ``sample``
    the voxels with its own intensities, ``measured`` those that no sequence leaves out.
    """

    inside: Mask
    inner: Mask
    outer: Mask
    sample: Mask
    measured: Mask


def _nested(crop: Floats, whole: Mask, settings: Settings) -> dict[int, Mask]:
    """Return the mask of each region by its channel, the outermost first, each within the one before."""
    found: dict[int, Mask] = {}
    for channel in outermost_first(settings).values():
        whole = whole & (crop[channel] > settings.segment.thresholds[channel])
        found[channel] = whole
    return found


def _move(probability: Floats, boundary: Boundary, seen: Floats, weight: float) -> None:
    """Move one boundary in ``probability`` (x, y, z) by ``seen`` (sequence, x, y, z), in place.

    With too few voxels of clear probability on either side it stays.
    """
    some = (slice(None, None, _STEP),) * 3
    known, inside = probability[some], boundary.inside[some]
    around = grown(inside, _RING // _STEP) & boundary.outer[some] & ~inside
    sides = boundary.sample[some] & (known > _CLEAR), around & (known < 1 - _CLEAR)
    if min(np.count_nonzero(side) for side in sides) < _FEW:
        return
    near = grown(boundary.inside, _REACH) & boundary.measured
    before = np.clip(probability[near], _LEAST, 1 - _LEAST)
    before = np.log(before / (1 - before))
    within, without = (seen[(slice(None), *some)][:, side] for side in sides)
    after = before + weight * np.clip(_log_ratio(seen[:, near], within, without), -_MOST, _MOST)
    after = np.where(boundary.inner[near], np.maximum(before, after), after)
    probability[near] = 1 / (1 + np.exp(-after))


def _log_ratio(values: Floats, within: Floats, without: Floats) -> Floats:
    """Return log(p / q) of ``values`` (sequence, n), with p and q fitted to two samples of that shape."""
    covariances = [np.cov(sample).reshape(len(values), len(values)) for sample in (within, without)]
    shared = _POOLED * (covariances[0] + covariances[1]) / 2 + _RIDGE * np.eye(len(values))
    densities = [
        _log_density(values, sample.mean(1, dtype=np.float64), (1 - _POOLED) * covariance + shared)
        for sample, covariance in zip((within, without), covariances, strict=True)
    ]
    return densities[0] - densities[1]


def _log_density(
    values: Floats, mean: npt.NDArray[np.float64], covariance: npt.NDArray[np.float64]
) -> Floats:
    """Return the logarithm of a normal density at ``values`` (sequence, n), without the constant term."""
    root = np.linalg.cholesky(covariance)
    offset = np.linalg.solve(root, mean)
    away = np.linalg.inv(root).astype(np.float32) @ values - offset.astype(np.float32)[:, None]
    return np.asarray(-0.5 * (away * away).sum(0) - np.log(np.diag(root)).sum(), np.float32)
