"""Uncertainty of each region: probability and entropy maps, intervals of volume, predicted Dice."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gliomaseg.inference.postprocess import enhancing_threshold, outermost_first
from gliomaseg.labels import Region
from gliomaseg.settings.schema import Settings

Floats = npt.NDArray[np.float32]

#: The name of each region's probability map, 0 to 1: ``<case>/probabilities_wt.nii.gz``.
PROBABILITY_NAMES: Mapping[str, str] = {region: f"probabilities_{region}" for region in Region}
#: The name of each region's uncertainty map, 0 to 100, as in QU-BraTS: ``<case>_unc_whole.nii.gz``.
UNCERTAINTY_NAMES: Mapping[str, str] = {
    Region.WT: "unc_whole",
    Region.TC: "unc_core",
    Region.ET: "unc_enhance",
}
#: The model's own interval of a volume counts the voxels above the first and above the last probability.
_LOW, _MIDDLE, _HIGH = 0.9, 0.5, 0.1
#: The predicted Dice compares the masks at these probabilities.
_STRICT, _GENEROUS = 0.8, 0.2
#: Steps of a probability on disk.
_STEPS = 1000


@dataclass(frozen=True)
class Uncertainty:
    """The uncertainty of a region: the 90 % interval of its volume, and its predicted Dice.

    Either is None if cross-validation did not measure it; ``dice`` also if nothing was labelled. With a
    missing sequence, ``dice`` is the mean of held-out cases without it.
    """

    range_ml: tuple[float, float] | None = None
    dice: float | None = None


def nested(probabilities: Floats, settings: Settings) -> Iterator[tuple[Region, Floats]]:
    """Yield each region, the outermost first, with its probability (x, y, z), at most that of the one around.

    ``probabilities`` are (region, x, y, z) in the order of ``network.regions``.
    """
    outer = None
    for region, channel in outermost_first(settings).items():
        probability = probabilities[channel]
        outer = probability if outer is None else np.minimum(outer, probability)
        yield region, outer


def estimate_uncertainty(
    probabilities: Floats, settings: Settings, voxel_ml: float
) -> dict[Region, Uncertainty]:
    """Return the uncertainty of each region from probabilities (region, x, y, z).

    ``voxel_ml`` is the volume of one of their voxels.
    """
    found, outer_high, segment = {}, math.inf, settings.segment
    for region, probability in nested(probabilities, settings):
        channel = settings.network.regions.index(region)
        threshold = usual = segment.thresholds[channel]
        if region is Region.ET:
            threshold = enhancing_threshold(
                voxel_ml * float(probability[probability > usual].sum()), settings
            )
        width = segment.volume_widths[channel] if segment.volume_widths else None
        line = segment.dice_lines[channel] if segment.dice_lines else None
        range_ml = None
        if width is not None:
            low, high = _interval(probability, width)
            outer_high = min(high, outer_high)
            low = 0 if threshold > usual else min(low, outer_high)
            range_ml = (low * voxel_ml, outer_high * voxel_ml)
        is_labelled = bool((probability > threshold).any())
        dice = _predicted_dice(probability, line) if line and is_labelled else None
        found[region] = Uncertainty(range_ml, dice)
    return found


def _interval(probability: Floats, width: float) -> tuple[float, float]:
    """Return the 90 % interval of the number of voxels.

    With V voxels above a probability of 0.5 and v above 0.9 or 0.1, an end is V (v / V)^width: the model's
    own interval, ``width`` times as wide in the logarithm. In cross-validation, with this width, it contained
    90 % of the volumes that experts drew.
    """
    low, middle, high = (int(np.count_nonzero(probability > level)) for level in (_LOW, _MIDDLE, _HIGH))
    if middle == 0:
        return 0, high
    return middle * (low / middle) ** width, middle * (high / middle) ** width


def _predicted_dice(probability: Floats, line: tuple[float, float]) -> float:
    """Return the Dice of a strict and a generous mask, corrected by cross-validation's ``line``.

    The more the two differ, the less certain the boundary is, and the less it agrees with experts'
    boundaries.
    """
    strict, generous = (int(np.count_nonzero(probability > level)) for level in (_STRICT, _GENEROUS))
    start, slope = line
    return min(1.0, max(0.0, start + slope * 2 * strict / (strict + generous)))


def uncertainty_maps(probabilities: Floats, settings: Settings) -> dict[str, npt.NDArray[np.generic]]:
    """Return maps (x, y, z) by name: each region's calibrated probability, 0 to 1, and its entropy, 0 to 100.

    A region is nowhere more probable than the one around it. Entropy is that of a binary variable in
    hundredths of a bit: 100 at a probability of a half. ``gliomaseg evaluate`` scores both with
    --probabilities and --uncertainty.
    """
    maps: dict[str, npt.NDArray[np.generic]] = {}
    outer = np.ones(probabilities.shape[1:], np.float32)
    temperatures = settings.segment.temperatures or (1.0,) * len(settings.network.regions)
    for region, raw in nested(probabilities, settings):
        temperature = temperatures[settings.network.regions.index(region)]
        outer = probability = np.minimum(outer, calibrate(raw, temperature))
        maps[PROBABILITY_NAMES[region]] = (probability * _STEPS).round() / np.float32(_STEPS)
        maps[UNCERTAINTY_NAMES[region]] = (100 * entropy(probability)).round().astype(np.uint8)
    return maps


def restored(probabilities: Floats, settings: Settings, restore: Callable[[Floats], Floats]) -> Floats:
    """Return nested probabilities (region, x, y, z) on another grid; ``restore`` brings a map there."""
    found = {region: restore(probability) for region, probability in nested(probabilities, settings)}
    return np.stack([found[region] for region in settings.network.regions])


def calibrate(probability: Floats, temperature: float) -> Floats:
    """Return probabilities whose logits are divided by ``temperature``."""
    p = np.clip(probability, 1e-7, 1 - 1e-7)
    return np.asarray(1 / (1 + ((1 - p) / p) ** (1 / temperature)), dtype=np.float32)


def entropy(probability: Floats) -> Floats:
    """Return the entropy of a binary variable with this probability, in bits."""
    p = np.clip(probability, 1e-7, 1 - 1e-7)
    return np.asarray(-(p * np.log2(p) + (1 - p) * np.log2(1 - p)), dtype=np.float32)
