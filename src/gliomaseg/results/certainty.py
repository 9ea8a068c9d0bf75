"""How sure the model is: probability and entropy of each region, ranges of volume, the Dice to expect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

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
#: Probabilities below this add nothing to the Dice that is predicted.
_LEAST = 0.001
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


@dataclass(frozen=True)
class Certainty:
    """How sure the model is of a region: its least and most ``voxels``, and the Dice that it predicts.

    The range says how sharp the model's own border is, not how wrong it may be: docs/measurements.md tells
    how often it holds the experts' volume. ``dice`` is None where nothing was found, or no line was measured.
    """

    voxels: tuple[int, int]
    dice: float | None = None


def certainty_of(probabilities: Floats, settings: Settings) -> dict[Region, Certainty]:
    """Return how sure the model is of each region, from probabilities (region, x, y, z)."""
    found = {}
    for region, probability in nested(probabilities, settings):
        low, high = (int(np.count_nonzero(probability > level)) for level in RANGE_PROBABILITIES)
        found[region] = Certainty((low, high), _predicted_dice(probability, region, settings))
    return found


def _predicted_dice(probability: Floats, region: Region, settings: Settings) -> float | None:
    """Return the Dice to expect: what the calibrated probabilities imply, put right by cross-validation.

    If each voxel came true with its probability p, independently, the Dice of a mask M would be about
    2 sum(p in M) / (sum(p) + |M|). Errors are not independent, so that a line is fitted to it.
    """
    channel = settings.network.regions.index(region)
    lines, temperatures = settings.segment.dice_lines, settings.segment.temperatures
    line = lines[channel] if lines else None
    inside = probability > settings.segment.thresholds[channel]
    count = int(np.count_nonzero(inside))
    if line is None or count == 0:
        return None
    temperature = temperatures[channel] if temperatures else 1.0
    some = probability > _LEAST
    calibrated = calibrate(probability[some], temperature)
    implied = 2 * float(calibrated[inside[some]].sum()) / (float(calibrated.sum()) + count)
    start, slope = line
    return min(1.0, max(0.0, start + slope * implied))


def calibrate(probability: Floats, temperature: float) -> Floats:
    """Return probabilities whose logits are divided by ``temperature``."""
    p = np.clip(probability, 1e-7, 1 - 1e-7)
    return np.asarray(1 / (1 + ((1 - p) / p) ** (1 / temperature)), dtype=np.float32)


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
