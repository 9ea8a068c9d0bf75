"""From probabilities of nested regions to labels: thresholds, nesting, removal of small components."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from gliomaseg.imaging.components import label_components
from gliomaseg.imaging.volume import filled_box, widened
from gliomaseg.labels import REGION_SHELL, LabelScheme, Region
from gliomaseg.settings.schema import Settings

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

#: Voxels around a tumour that are restored to another grid: at least as many as a thick slice covers.
_NEAR = 24
_NOWHERE = (slice(0, 1), slice(0, 1), slice(0, 1))
#: The rise of the threshold, in logits, for a component or enhancing tumour near the lower size limit.
_STRICTER = 5.0
#: Components fade from twice ``segment.min_component_fraction`` of the largest one down to half of it,
#: enhancing tumour from three times ``segment.min_et_ml`` down to once: wide enough for precisions and
#: windows to agree (docs/stability.md), at no loss of Dice in cross-validation (docs/cross-validation.md).
_COMPONENTS, _ENHANCING = (0.5, 2.0), (1.0, 3.0)


def outermost_first(settings: Settings) -> dict[Region, int]:
    """Return the channel of each region of a network, each region around the next."""
    regions = settings.network.regions
    return {region: regions.index(region) for region in Region if region in regions}


def tumour_mask(probabilities: Floats, settings: Settings) -> Mask:
    """Return the outermost region (x, y, z) of probabilities (region, x, y, z), without small components.

    The smaller a component is beside the largest one, the higher its threshold, up to 1: with a hard limit
    a whole component would come and go with the last digits of a computation. Sizes are sums of
    probabilities.
    """
    channel = next(iter(outermost_first(settings).values()))
    probability, threshold = probabilities[channel], settings.segment.thresholds[channel]
    inside = np.asarray(probability > threshold)
    box = filled_box(inside)
    if box is None or settings.segment.min_component_fraction == 0:
        return inside
    numbers, _ = label_components(inside[box])
    sizes = np.bincount(numbers.ravel(), probability[box].ravel())[1:]
    limits = np.minimum(1, np.multiply(_COMPONENTS, settings.segment.min_component_fraction))
    thresholds = _faded(threshold, sizes / sizes.max(), limits)
    inside[box] &= probability[box] > np.concatenate([[1.0], thresholds])[numbers]
    return inside


def label_regions(
    probabilities: Floats, settings: Settings, scheme: LabelScheme, voxel_ml: float = 0.001
) -> npt.NDArray[np.uint8]:
    """Return labels (x, y, z) under ``scheme`` from probabilities (region, x, y, z).

    Regions are nested: a voxel is in TC only if it is in WT, and in ET only if it is in TC. Voxels outside
    ``tumour_mask`` are background. Enhancing tumour of less than ``segment.min_et_ml`` in the whole case
    becomes non-enhancing core, because BraTS 2012 to 2022 scores a speck of it in a case without any as 0;
    a little more than that has a higher threshold. ``voxel_ml`` is the volume of a voxel.
    """
    labels = np.zeros(probabilities.shape[1:], dtype=np.uint8)
    inside = tumour_mask(probabilities, settings)
    for region, channel in outermost_first(settings).items():
        probability = probabilities[channel]
        inside = inside & (probability > settings.segment.thresholds[channel])
        if region is Region.ET:
            inside &= probability > enhancing_threshold(voxel_ml * probability[inside].sum(), settings)
        labels[inside] = scheme.values[REGION_SHELL[region]]
    return labels


def enhancing_threshold(volume_ml: float, settings: Settings) -> float:
    """Return the threshold of enhancing tumour with this volume; 1 if it is too small to be labelled.

    The volume is the sum of the probabilities above the usual threshold, times that of a voxel.
    """
    usual = settings.segment.thresholds[settings.network.regions.index(Region.ET)]
    least = settings.segment.min_et_ml
    return float(_faded(usual, volume_ml, np.multiply(_ENHANCING, least))) if least else usual


def _faded(threshold: float, sizes: npt.ArrayLike, limits: npt.NDArray[np.float64]) -> Floats:
    """Return the threshold for each of ``sizes``: the usual one from the upper limit on, 1 below the lower.

    In between its logit rises by _STRICTER, along the logarithm of the size.
    """
    low, high = limits
    with np.errstate(divide="ignore"):
        lacking = np.log(high / np.asarray(sizes)) / np.log(high / low)
        logit = np.log(np.divide(threshold, 1 - threshold)) + _STRICTER * np.clip(lacking, 0, 1)
    return np.where(lacking < 1, 1 / (1 + np.exp(-logit)), 1.0).astype(np.float32)


def relabel(
    probabilities: Floats,
    labels: npt.NDArray[np.uint8],
    settings: Settings,
    scheme: LabelScheme,
    restore: Callable[[Floats], Floats],
) -> npt.NDArray[np.uint8]:
    """Return ``labels`` (x, y, z) of ``label_regions`` on another grid; ``restore`` brings a map there.

    A voxel is in a region where its restored probability is above the threshold. Voxels that were above it
    but have no label, such as small components, count as probability 0, so that they don't come back.
    """
    masks, outer = [], np.ones_like(probabilities[0])
    near = widened(filled_box(labels) or _NOWHERE, labels.shape, _NEAR)
    for region, channel in outermost_first(settings).items():
        threshold = settings.segment.thresholds[channel]
        outer = np.minimum(outer, probabilities[channel])
        kept = np.zeros_like(outer)
        kept[near] = outer[near] * (scheme.mask(labels[near], region) | (outer[near] <= threshold))
        masks.append(restore(kept) > threshold)
    found = np.zeros(masks[0].shape, np.uint8, order="F")
    for region, mask in zip(outermost_first(settings), accumulate(masks, np.logical_and), strict=True):
        found[mask] = scheme.values[REGION_SHELL[region]]
    return found
