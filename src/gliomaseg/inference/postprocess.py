"""From probabilities of nested regions to labels: thresholds, nesting, and what cross-validation chose."""

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

#: How many voxels around a tumour are put back on another grid: at least as many as a thick slice covers.
_NEAR = 24
_NOWHERE = (slice(0, 1), slice(0, 1), slice(0, 1))
#: How much surer the model must be, in logits, where a component or enhancing tumour is all but too small.
_SURER = 5.0
#: Components fade from twice ``segment.min_component_fraction`` of the largest one down to half of it,
#: enhancing tumour from three times ``segment.min_et_ml`` down to once: wide enough for precisions and
#: windows to agree (docs/stability.md), at no loss of Dice in cross-validation (docs/cross-validation.md).
_COMPONENTS, _ENHANCING = (0.5, 2.0), (1.0, 3.0)


def tumour_mask(probabilities: Floats, settings: Settings) -> Mask:
    """Return the outermost region (x, y, z) of probabilities (region, x, y, z), without small components.

    Of a component that is small beside the largest one only the voxels that the model is surer of count, the
    surer the smaller it is, down to none: a hard limit would let a whole component come and go with the
    last digits of a computation. Sizes are sums of probabilities.
    """
    channel = settings.network.regions.index(outermost_first(settings)[0])
    probability, threshold = probabilities[channel], settings.segment.thresholds[channel]
    inside = np.asarray(probability > threshold)
    box = filled_box(inside)
    if box is None or settings.segment.min_component_fraction == 0:
        return inside
    numbers, _ = label_components(inside[box])
    sizes = np.bincount(numbers.ravel(), probability[box].ravel())[1:]
    limits = np.minimum(1, np.multiply(_COMPONENTS, settings.segment.min_component_fraction))
    enough = _faded(threshold, sizes / sizes.max(), limits)
    inside[box] &= probability[box] > np.concatenate([[1.0], enough])[numbers]
    return inside


def label_regions(
    probabilities: Floats, settings: Settings, scheme: LabelScheme, voxel_ml: float = 0.001
) -> npt.NDArray[np.uint8]:
    """Return labels (x, y, z) under ``scheme`` from probabilities (region, x, y, z).

    Regions are nested by construction: a voxel is in TC only where it is in WT, in ET only where it
    is in TC. Voxels outside ``tumour_mask`` are left out. Enhancing tumour of less than
    ``segment.min_et_ml`` in the whole case becomes non-enhancing core: BraTS 2012 to 2022 scores a speck of
    it in a case without any as 0. Of little more than that only the surer voxels count. ``voxel_ml`` is the
    volume of a voxel.
    """
    labels = np.zeros(probabilities.shape[1:], dtype=np.uint8)
    inside = tumour_mask(probabilities, settings)
    for region in outermost_first(settings):
        channel = settings.network.regions.index(region)
        probability, threshold = probabilities[channel], settings.segment.thresholds[channel]
        inside = inside & (probability > threshold)
        if region is Region.ET:
            inside &= probability > enhancing_threshold(voxel_ml * probability[inside].sum(), settings)
        labels[inside] = scheme.values[REGION_SHELL[region]]
    return labels


def enhancing_threshold(volume_ml: float, settings: Settings) -> float:
    """Return above which probability enhancing tumour of so many ml counts, 1 for none.

    Its volume is the sum of the probabilities above the usual threshold, times that of a voxel.
    """
    usual = settings.segment.thresholds[settings.network.regions.index(Region.ET)]
    least = settings.segment.min_et_ml
    return float(_faded(usual, volume_ml, np.multiply(_ENHANCING, least))) if least else usual


def _faded(
    threshold: float, sizes: npt.ArrayLike, limits: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """Return above which probability what has one of ``sizes`` counts: ``threshold`` from the upper limit on.

    From there its logit rises by _SURER down to the lower limit, along the logarithm of the size; from that
    on it is 1.
    """
    low, high = limits
    with np.errstate(divide="ignore"):
        lacking = np.log(high / np.asarray(sizes)) / np.log(high / low)
        logit = np.log(np.divide(threshold, 1 - threshold)) + _SURER * np.clip(lacking, 0, 1)
    return np.where(lacking < 1, 1 / (1 + np.exp(-logit)), 1.0).astype(np.float32)


def relabel(
    probabilities: Floats,
    labels: npt.NDArray[np.uint8],
    settings: Settings,
    scheme: LabelScheme,
    restore: Callable[[Floats], Floats],
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
