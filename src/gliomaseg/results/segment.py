"""From probabilities of nested regions to labels: threshold, nesting, least enhancing tumour."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gliomaseg.config import Settings
from gliomaseg.labels import REGION_SHELL, LabelScheme, Region


def label_regions(
    probabilities: npt.NDArray[np.float32], settings: Settings, scheme: LabelScheme
) -> npt.NDArray[np.uint8]:
    """Return labels (x, y, z) under ``scheme`` from probabilities (region, x, y, z).

    Regions are nested by construction: a voxel is in TC only where it is in WT, in ET only where it
    is in TC. Enhancing tumour of fewer than ``segment.least_et_voxels`` voxels in the whole case
    becomes non-enhancing core: BraTS 2012 to 2022 scores a speck of it in a case without any as 0.
    """
    labels = np.zeros(probabilities.shape[1:], dtype=np.uint8)
    inside = np.ones(labels.shape, dtype=bool)
    order = [(r, settings.network.regions.index(r)) for r in Region if r in settings.network.regions]
    for region, channel in order:
        inside = inside & (probabilities[channel] > settings.segment.thresholds[channel])
        if region is Region.ET and np.count_nonzero(inside) < settings.segment.least_et_voxels:
            break
        labels[inside] = scheme.values[REGION_SHELL[region]]
    return labels
