"""How sure the model is: probability and entropy of each region, ranges of volume, the Dice to expect."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gliomaseg.inference.postprocess import enhancing_threshold
from gliomaseg.labels import Region
from gliomaseg.settings.schema import Settings

Floats = npt.NDArray[np.float32]

#: How the map of each region's probability is called, 0 to 1: ``<case>/probabilities_wt.nii.gz``.
PROBABILITY_NAMES: Mapping[str, str] = {region: f"probabilities_{region}" for region in Region}
#: How QU-BraTS calls the map of each region's uncertainty, 0 to 100: ``<case>_unc_whole.nii.gz``.
UNCERTAINTY_NAMES: Mapping[str, str] = {
    Region.WT: "unc_whole",
    Region.TC: "unc_core",
    Region.ET: "unc_enhance",
}
#: The model's own range of a volume goes from the voxels so probable to those so probable.
_SURE, _EVEN, _HARDLY = 0.9, 0.5, 0.1
#: The Dice that is predicted compares outlines at these probabilities.
_STRICT, _GENEROUS = 0.8, 0.2
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
class Uncertainty:
    """How sure the model is of a region: the 90 % interval of its volume, and the Dice that it predicts.

    Either is None where cross-validation has not measured what it takes, ``dice`` also where nothing was
    found, or too little enhancing tumour to be labelled. Where a sequence is missing, ``dice`` is the mean
    of held-out cases without it.
    """

    range_ml: tuple[float, float] | None = None
    dice: float | None = None


def estimate_uncertainty(
    probabilities: Floats, settings: Settings, voxel_ml: float
) -> dict[Region, Uncertainty]:
    """Return how sure the model is of each region, from probabilities (region, x, y, z).

    ``voxel_ml`` is the volume of one of their voxels.
    """
    found, most = {}, math.inf
    for region, probability in nested(probabilities, settings):
        bar = _bar(probability, region, settings, voxel_ml)
        interval = _interval(probability, region, settings)
        if interval:
            most = min(most, interval[1])
            least = 0 if bar > _usual(region, settings) else min(interval[0], most)
            interval = (least, most)
        range_ml = (interval[0] * voxel_ml, interval[1] * voxel_ml) if interval else None
        found[region] = Uncertainty(range_ml, _predicted_dice(probability, region, settings, bar))
    return found


def _usual(region: Region, settings: Settings) -> float:
    return settings.segment.thresholds[settings.network.regions.index(region)]


def _bar(probability: Floats, region: Region, settings: Settings, voxel_ml: float) -> float:
    """Return above which probability a region is labelled: higher where there is little enhancing tumour."""
    usual = _usual(region, settings)
    if region is not Region.ET:
        return usual
    return enhancing_threshold(voxel_ml * float(probability[probability > usual].sum()), settings)


def _interval(probability: Floats, region: Region, settings: Settings) -> tuple[float, float] | None:
    """Return between which counts of voxels 90 % of true volumes are expected; None where not measured.

    With V voxels above a probability of 0.5 and v above 0.9 or 0.1, an end is V (v / V)^w: the model's own
    range, its logarithm w times as wide. With w, cross-validation held 90 % of the volumes that experts drew.
    """
    widths = settings.segment.volume_widths
    width = widths[settings.network.regions.index(region)] if widths else None
    if width is None:
        return None
    sure, even, hardly = (int(np.count_nonzero(probability > level)) for level in (_SURE, _EVEN, _HARDLY))
    if even == 0:
        return 0, hardly
    return even * (sure / even) ** width, even * (hardly / even) ** width


def _predicted_dice(probability: Floats, region: Region, settings: Settings, bar: float) -> float | None:
    """Return the Dice to expect: of a strict with a generous outline, put right by cross-validation's line.

    The more the two differ, the less certain the border is, and the less experts' borders are like it. None
    where nothing is above ``bar``.
    """
    channel = settings.network.regions.index(region)
    lines = settings.segment.dice_lines
    line = lines[channel] if lines else None
    if line is None or not (probability > bar).any():
        return None
    strict, generous = (int(np.count_nonzero(probability > level)) for level in (_STRICT, _GENEROUS))
    start, slope = line
    return min(1.0, max(0.0, start + slope * 2 * strict / (strict + generous)))


def _temperature(region: Region, settings: Settings) -> float:
    temperatures = settings.segment.temperatures
    return temperatures[settings.network.regions.index(region)] if temperatures else 1.0


def calibrate(probability: Floats, temperature: float) -> Floats:
    """Return probabilities whose logits are divided by ``temperature``."""
    p = np.clip(probability, 1e-7, 1 - 1e-7)
    return np.asarray(1 / (1 + ((1 - p) / p) ** (1 / temperature)), dtype=np.float32)


def uncertainty_maps(probabilities: Floats, settings: Settings) -> dict[str, npt.NDArray[np.generic]]:
    """Return maps (x, y, z) by name: each region's calibrated probability, 0 to 1, and its entropy, 0 to 100.

    A voxel is no more probable to be of a region than of the one around it. Entropy is that of one yes or
    no, in hundredths of a bit: 100 where the probability is a half. Both are what ``gliomaseg evaluate``
    scores with --probabilities and --uncertainty.
    """
    maps: dict[str, npt.NDArray[np.generic]] = {}
    outer = np.ones(probabilities.shape[1:], np.float32)
    for region, raw in nested(probabilities, settings):
        outer = probability = np.minimum(outer, calibrate(raw, _temperature(region, settings)))
        maps[PROBABILITY_NAMES[region]] = (probability * _STEPS).round() / np.float32(_STEPS)
        maps[UNCERTAINTY_NAMES[region]] = (100 * entropy(probability)).round().astype(np.uint8)
    return maps


def restored(probabilities: Floats, settings: Settings, restore: Callable[[Floats], Floats]) -> Floats:
    """Return nested probabilities (region, x, y, z) on another grid, to which ``restore`` brings a map."""
    found = {region: restore(probability) for region, probability in nested(probabilities, settings)}
    return np.stack([found[region] for region in settings.network.regions])


def entropy(probability: Floats) -> Floats:
    """Return the entropy of a yes or no of that probability, in bits."""
    p = np.clip(probability, 1e-7, 1 - 1e-7)
    return np.asarray(-(p * np.log2(p) + (1 - p) * np.log2(1 - p)), dtype=np.float32)
