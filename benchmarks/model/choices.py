"""What cross-validation chooses and tells: post-processing, calibration, predicted Dice, volume intervals.

From the records of cross_validation.py, one for each case. What is judged case by case was fitted to the
other cases.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from cross_validation import CHANGES, LOGITS

from gliomaseg.labels import Modality, Region
from gliomaseg.measurement.quality import LEAST_DICE

Floats = npt.NDArray[np.float64]
ALL = " ".join(Modality)
#: The middle of each bin of logits.
MIDDLE = np.concatenate([[LOGITS[0] - 1], (LOGITS[1:] + LOGITS[:-1]) / 2, [LOGITS[-1] + 1]])
TEMPERATURES = np.linspace(0.7, 4, 67)
#: Less enhancing tumour than this is not labelled (the same in all that was best for some of the cases).
LEAST_ET = 500
#: A predicted Dice that goes with the true one less than this is not shown.
LEAST_CORRELATION = 0.5
#: Bins of probability in which calibration is judged, as gliomaseg evaluate does.
BINS = 15

Cases = dict[str, dict[str, Any]]


def tried(cases: Cases) -> list[str]:
    """Return the subsets of sequences that were tried, all of them first."""
    return list(next(iter(cases.values()))["dice"])


def means(cases: Cases, subset: str) -> dict[str, float]:
    """Return the mean Dice of each region with a subset of sequences."""
    return {r.value: round(float(np.mean([c["dice"][subset][r] for c in cases.values()])), 4) for r in Region}


def honest_means(cases: Cases) -> dict[str, float]:
    """Return the mean Dice of each region with all sequences, processed by what was best for other cases."""
    return dict(
        zip((r.value for r in Region), chosen_by_others(cases).mean(0).round(4).tolist(), strict=True)
    )


def int8_change(cases: Cases) -> dict[str, float]:
    """Return how far the mean Dice in int8 is from that in fp32."""
    return {
        r.value: round(float(np.mean([c["dice"][ALL][r] - c["fp32"][r] for c in cases.values()])), 5)
        for r in Region
    }


def temperature(cases: Cases, region: str) -> float:
    """Return what the logits are to be divided by for the likelihood of the reference to be greatest."""
    count = np.sum([c["regions"][region]["bins"] for c in cases.values()], axis=0)
    true = np.sum([c["regions"][region]["true"] for c in cases.values()], axis=0)

    def loss(t: float) -> float:
        p = probability(t)
        return float(-(true * np.log(p) + (count - true) * np.log(1 - p)).sum())

    return round(float(min(TEMPERATURES, key=loss)), 3)


def probability(t: float) -> Floats:
    """Return the probability of each bin at a temperature."""
    return np.asarray(1 / (1 + np.exp(-MIDDLE / t)))


def calibration_error(cases: Cases, region: str, temperatures: dict[str, float]) -> float:
    """Return the expected calibration error over all voxels, each case at its own temperature."""
    counts, sums, true = (np.zeros(BINS) for _ in range(3))
    for name, case in cases.items():
        found, p = case["regions"][region], probability(temperatures[name])
        bins = np.minimum((p * BINS).astype(int), BINS - 1)
        counts += np.bincount(bins, found["bins"], BINS)
        sums += np.bincount(bins, p * found["bins"], BINS)
        true += np.bincount(bins, found["true"], BINS)
    return float(np.abs(sums - true).sum() / counts.sum())


def likeness(case: dict[str, Any], region: str) -> float | None:
    """Return the Dice of a strict and a generous outline; None where too little was found to be labelled."""
    at = case["regions"][region]["at"]
    if at["0.5"] < (LEAST_ET if region == Region.ET else 1):
        return None
    return float(2 * at["0.8"] / (at["0.8"] + at["0.2"]))


def line(cases: Cases, region: str) -> tuple[float, float]:
    """Return (a, b) of the least-squares line a + b likeness."""
    pairs = [(likeness(c, region), c["dice"][ALL][region]) for c in cases.values()]
    x, y = np.array([pair for pair in pairs if pair[0] is not None]).T
    slope, start = np.polyfit(x, y, 1)
    return round(float(start), 4), round(float(slope), 4)


def useful_line(cases: Cases, region: str) -> tuple[float, float] | None:
    """Return the line, or None where it does not tell good results from bad ones on cases not fitted to."""
    if uncertainty(cases, region)["dice_correlation"] < LEAST_CORRELATION:
        return None
    return line(cases, region)


def predictions(cases: Cases, region: str) -> dict[str, float]:
    """Return the Dice predicted for each case with anything found, by what was fitted to the others."""
    found = {}
    for name, case in cases.items():
        value = likeness(case, region)
        if value is not None:
            start, slope = line({k: v for k, v in cases.items() if k != name}, region)
            found[name] = min(1.0, max(0.0, start + slope * value))
    return found


def unreliable(cases: Cases) -> set[str]:
    """Return the cases for which a Dice below LEAST_DICE is predicted in some region."""
    each = [predictions(cases, r).items() for r in Region if useful_line(cases, r)]
    return {name for found in each for name, dice in found if dice < LEAST_DICE}


def poor(cases: Cases) -> set[str]:
    """Return the cases in which the Dice of some region is below LEAST_DICE."""
    return {name for name, case in cases.items() if min(case["dice"][ALL].values()) < LEAST_DICE}


def uncertainty(cases: Cases, region: str) -> dict[str, Any]:
    """Return how well calibrated the network is, before and after, and how well it predicts its Dice."""
    fitted = {name: temperature({k: v for k, v in cases.items() if k != name}, region) for name in cases}
    predicted = predictions(cases, region)
    true = [cases[name]["dice"][ALL][region] for name in predicted]
    told = list(predicted.values())
    return {
        "cases": len(cases),
        "own_range_held": own_range(cases, region),
        "interval_ratio": end_ratio(cases, region),
        "ece_before": round(calibration_error(cases, region, dict.fromkeys(cases, 1.0)), 5),
        "ece_after": round(calibration_error(cases, region, fitted), 5),
        "dice_correlation": round(float(np.corrcoef(told, true)[0, 1]), 3),
        "dice_error": round(float(np.mean(np.abs(np.subtract(told, true)))), 3),
        "predicted": len(predicted),
    }


def needed_width(case: dict[str, Any], region: str) -> float:
    """Return how far the model's own range must be widened to hold the true volume (uncertainty.py)."""
    found = case["regions"][region]
    true, sure, even, hardly = found["volume"], *(found["at"][level] for level in ("0.9", "0.5", "0.1"))
    if even == 0:
        return 0.0 if true <= hardly else math.inf
    end = hardly if true > even else sure
    if true == even or end == 0:
        return 0.0
    return math.log(true / even) / math.log(end / even) if true and end != even else math.inf


def volume_width(cases: Cases, region: str) -> float | None:
    """Return the width that holds a further true volume with a chance of 90 % or more (conformal prediction).

    It is the ceil(0.9 (n + 1))-th of the n widths that were needed; None if that is infinite, or n below 9.
    """
    needed = sorted(needed_width(case, region) for case in cases.values())
    rank = math.ceil(0.9 * (len(needed) + 1))
    if rank > len(needed) or needed[rank - 1] == math.inf:
        return None
    return math.ceil(100 * max(needed[rank - 1], 0.1)) / 100


def own_range(cases: Cases, region: str) -> int:
    """Return how many true volumes the model's own range holds."""
    return sum(needed_width(case, region) <= 1 for case in cases.values())


def end_ratio(cases: Cases, region: str) -> float | None:
    """Return the upper end of the interval divided by the lower end, the median of the cases."""
    width, at = volume_width(cases, region), [case["regions"][region]["at"] for case in cases.values()]
    ratios = [(a["0.1"] / a["0.9"]) ** (width or 0) if a["0.9"] else math.inf for a in at]
    middle = float(np.median(ratios))
    return round(middle, 2) if width and middle < math.inf else None


def best_processing(cases: Cases) -> str:
    """Return the name of what, done after the network, gives the best mean Dice over regions and cases."""
    return max(CHANGES, key=lambda name: float(processed(cases, name).mean()))


def processed(cases: Cases, name: str) -> Floats:
    """Return the Dice (case, region) after one way of processing."""
    return np.array([[c["processed"][name][r] for r in Region] for c in cases.values()])


def chosen_by_others(cases: Cases) -> Floats:
    """Return the Dice (case, region) of each case after what was best for the other cases."""
    best = [best_processing({k: v for k, v in cases.items() if k != name}) for name in cases]
    pairs = zip(cases.items(), best, strict=True)
    return np.array([processed({name: case}, way)[0] for (name, case), way in pairs])
