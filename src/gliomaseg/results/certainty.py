"""How sure the model is: the probability of each region in each voxel, its entropy, and ranges of volume."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from gliomaseg.config import Settings
from gliomaseg.labels import Region

Floats = npt.NDArray[np.float32]

#: How the map of each region's probability is called, 0 to 1: ``<case>/probabilities_wt.nii.gz``.
PROBABILITY_NAMES: Mapping[str, str] = {region: f"probabilities_{region}" for region in Region}
#: How QU-BraTS calls the map of each region's uncertainty, 0 to 100: ``<case>_unc_whole.nii.gz``.
UNCERTAINTY_NAMES: Mapping[str, str] = {
    Region.WT: "unc_whole",
    Region.TC: "unc_core",
    Region.ET: "unc_enhance",
}
#: Voxels at least so probable count to the least volume of a region, those above the second to the most.
RANGE_PROBABILITIES = (0.9, 0.1)
#: Steps of a probability on disk.
_STEPS = 1000


def nested(probabilities: Floats, settings: Settings) -> Iterator[tuple[Region, Floats]]:
    """Yield each region, the outermost first, and its probability (x, y, z), at most that of the one around.

    ``probabilities`` are (region, x, y, z) in the order of ``network.regions``.
    """
    outer = None
    for region in (r for r in Region if r in settings.network.regions):
        channel = probabilities[settings.network.regions.index(region)]
        outer = channel if outer is None else np.minimum(outer, channel)
        yield region, outer


def count_ranges(probabilities: Floats, settings: Settings) -> dict[Region, tuple[int, int]]:
    """Return the least and most voxels of each region that ``probabilities`` (region, x, y, z) allow.

    A range says how sharp the model's own border is, not how wrong it may be: docs/measurements.md tells
    how often it holds the experts' volume.
    """
    ranges = {}
    for region, probability in nested(probabilities, settings):
        low, high = (int(np.count_nonzero(probability > level)) for level in RANGE_PROBABILITIES)
        ranges[region] = (low, high)
    return ranges


def certainty_maps(probabilities: Floats, settings: Settings) -> dict[str, npt.NDArray[np.generic]]:
    """Return maps (x, y, z) by name: each region's probability, 0 to 1, and its entropy, 0 to 100.

    Entropy is that of one yes or no, in hundredths of a bit: 100 where the probability is a half. Both are
    what ``gliomaseg evaluate`` scores with --probabilities and --uncertainty.
    """
    maps: dict[str, npt.NDArray[np.generic]] = {}
    for region, probability in nested(probabilities, settings):
        maps[PROBABILITY_NAMES[region]] = (probability * _STEPS).round() / np.float32(_STEPS)
        maps[UNCERTAINTY_NAMES[region]] = (100 * entropy(probability)).round().astype(np.uint8)
    return maps


def entropy(probability: Floats) -> Floats:
    """Return the entropy of a yes or no of that probability, in bits."""
    p = np.clip(probability, 1e-7, 1 - 1e-7)
    return np.asarray(-(p * np.log2(p) + (1 - p) * np.log2(1 - p)), dtype=np.float32)
