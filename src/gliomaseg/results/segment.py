"""From probabilities of nested regions to labels: thresholds, nesting, and what cross-validation chose."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from gliomaseg.config import Settings
from gliomaseg.imaging.volume import filled_box, widened
from gliomaseg.labels import REGION_SHELL, LabelScheme, Region
from gliomaseg.results.components import label_components

#: How many voxels around a tumour are put back on another grid: at least as many as a thick slice covers.
_NEAR = 24
_NOWHERE = (slice(0, 1), slice(0, 1), slice(0, 1))


def outline(probabilities: npt.NDArray[np.float32], settings: Settings) -> npt.NDArray[np.bool_]:
    """Return the outermost region (x, y, z) of probabilities (region, x, y, z), without small parts.

    Those are separate parts that are smaller than ``segment.least_part`` of the largest.
    """
    channel = settings.network.regions.index(outermost_first(settings)[0])
    inside = np.asarray(probabilities[channel] > settings.segment.thresholds[channel])
    return _large_parts(inside, settings.segment.least_part) if settings.segment.least_part > 0 else inside


def label_regions(
    probabilities: npt.NDArray[np.float32],
    settings: Settings,
    scheme: LabelScheme,
    voxel_ml: float = 0.001,
) -> npt.NDArray[np.uint8]:
    """Return labels (x, y, z) under ``scheme`` from probabilities (region, x, y, z).

    Regions are nested by construction: a voxel is in TC only where it is in WT, in ET only where it
    is in TC. What is not in the ``outline`` of the outermost one is left out. Enhancing tumour of less than
    ``segment.min_et_ml`` in the whole case becomes non-enhancing core: BraTS 2012 to 2022 scores a speck of
    it in a case without any as 0. ``voxel_ml`` is the volume of a voxel.
    """
    labels = np.zeros(probabilities.shape[1:], dtype=np.uint8)
    inside = outline(probabilities, settings)
    for region in outermost_first(settings):
        channel = settings.network.regions.index(region)
        inside = inside & (probabilities[channel] > settings.segment.thresholds[channel])
        if region is Region.ET and not is_enough_et(int(np.count_nonzero(inside)), settings, voxel_ml):
            break
        labels[inside] = scheme.values[REGION_SHELL[region]]
    return labels


def is_enough_et(voxels: int, settings: Settings, voxel_ml: float) -> bool:
    """Return whether so many voxels of enhancing tumour are ``segment.min_et_ml`` or more, rounding aside."""
    return voxels * voxel_ml >= settings.segment.min_et_ml * (1 - 1e-6)


def relabel(
    probabilities: npt.NDArray[np.float32],
    labels: npt.NDArray[np.uint8],
    settings: Settings,
    scheme: LabelScheme,
    restore: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]],
) -> npt.NDArray[np.uint8]:
    """Return ``labels`` (x, y, z) of ``label_regions`` on another grid, to which ``restore`` brings a map.

    Each region is where its probability, once restored, is above the threshold. What was left out of
    ``labels``, above the threshold though it was, has none: it can't come back.
    """
    masks, outer = [], np.ones_like(probabilities[0])
    near = widened(filled_box(labels) or _NOWHERE, labels.shape, _NEAR)
    for region in outermost_first(settings):
        channel = settings.network.regions.index(region)
        threshold = settings.segment.thresholds[channel]
        outer = np.minimum(outer, probabilities[channel])
        kept = scheme.mask(labels[near], region) | (outer[near] <= threshold)
        part = np.zeros_like(outer)
        part[near] = outer[near] * kept
        masks.append(restore(part) > threshold)
    found = np.zeros(masks[0].shape, np.uint8, order="F")
    for region, mask in zip(outermost_first(settings), accumulate(masks, np.logical_and), strict=True):
        found[mask] = scheme.values[REGION_SHELL[region]]
    return found


def outermost_first(settings: Settings) -> list[Region]:
    """Return the regions of a network, each around the next."""
    return [region for region in Region if region in settings.network.regions]


def _large_parts(mask: npt.NDArray[np.bool_], share: float) -> npt.NDArray[np.bool_]:
    """Return ``mask`` (x, y, z) without connected parts smaller than ``share`` of the largest."""
    box = filled_box(mask)
    if box is None:
        return mask
    numbers, _ = label_components(mask[box])
    sizes = np.bincount(numbers.ravel())
    sizes[0] = 0  # the background
    large = np.zeros_like(mask)
    large[box] = (sizes >= max(1, share * sizes.max()))[numbers]
    return large
