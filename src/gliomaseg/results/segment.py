"""From probabilities of nested regions to labels: thresholds, nesting, and what cross-validation chose."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gliomaseg.config import Settings
from gliomaseg.imaging.volume import filled_box
from gliomaseg.labels import REGION_SHELL, LabelScheme, Region
from gliomaseg.results.components import label_components


def outline(probabilities: npt.NDArray[np.float32], settings: Settings) -> npt.NDArray[np.bool_]:
    """Return the outermost region (x, y, z) of probabilities (region, x, y, z), without small parts.

    Those are separate parts that are smaller than ``segment.least_part`` of the largest.
    """
    channel = settings.network.regions.index(outermost_first(settings)[0])
    inside = np.asarray(probabilities[channel] > settings.segment.thresholds[channel])
    return _large_parts(inside, settings.segment.least_part) if settings.segment.least_part > 0 else inside


def label_regions(
    probabilities: npt.NDArray[np.float32], settings: Settings, scheme: LabelScheme
) -> npt.NDArray[np.uint8]:
    """Return labels (x, y, z) under ``scheme`` from probabilities (region, x, y, z).

    Regions are nested by construction: a voxel is in TC only where it is in WT, in ET only where it
    is in TC. What is not in the ``outline`` of the outermost one is left out. Enhancing tumour of fewer than
    ``segment.least_et_voxels`` voxels in the whole case becomes non-enhancing core: BraTS 2012 to 2022 scores
    a speck of it in a case without any as 0.
    """
    labels = np.zeros(probabilities.shape[1:], dtype=np.uint8)
    inside = outline(probabilities, settings)
    for region in outermost_first(settings):
        channel = settings.network.regions.index(region)
        inside = inside & (probabilities[channel] > settings.segment.thresholds[channel])
        if region is Region.ET and np.count_nonzero(inside) < settings.segment.least_et_voxels:
            break
        labels[inside] = scheme.values[REGION_SHELL[region]]
    return labels


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
