"""From the records of cross_validation.py to what a bundle is told, and to docs/cross-validation.md.

    python benchmarks/model/summary.py docs/model/gliomaseg-second.json

Writes docs/model/measured.json (for ``gliomaseg export --measured``) and docs/cross-validation.md.
Calibration and the prediction of Dice are judged case by case, each time fitted to the other cases.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from cross_validation import CHANGES, LOGITS

from gliomaseg.evaluation.statistics import bootstrap_interval
from gliomaseg.labels import MODALITY_TITLES, Modality, Region

Floats = npt.NDArray[np.float64]
ROOT = Path(__file__).parents[2]
PAGE, MEASURED = ROOT / "docs" / "cross-validation.md", ROOT / "docs" / "model" / "measured.json"
RECORD = "docs/model/gliomaseg-third.json"
#: Settings that tell folds of one recipe apart.
OF_A_FOLD = {"training.fold", "training.init_from", "training.validate_minutes"}
ALL = " ".join(Modality)
#: The middle of each bin of logits.
MIDDLE = np.concatenate([[LOGITS[0] - 1], (LOGITS[1:] + LOGITS[:-1]) / 2, [LOGITS[-1] + 1]])
TEMPERATURES = np.linspace(0.7, 4, 67)
#: A predicted Dice that goes with the true one less than this is not shown.
LEAST_CORRELATION = 0.5
#: What is done after the network when nothing was chosen.
NONE = "wt > 0.5, parts >= 0.0, et >= 100"
#: Bins of probability in which calibration is judged, as gliomaseg evaluate does.
BINS = 15

Cases = dict[str, dict[str, Any]]


def main() -> None:
    """Read, choose, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("record", type=Path)
    options = parser.parse_args()
    record = json.loads(options.record.read_text(encoding="utf-8"))
    cases: Cases = record["cases"]
    measured = {
        "segment": {
            **CHANGES[best_processing(cases)],
            "temperatures": [temperature(cases, r) for r in Region],
            "dice_lines": [useful_line(cases, r) for r in Region],
            "volume_widths": [volume_width(cases, r) for r in Region],
        },
        "expected": {
            "cases": len(cases),
            "dice": {s: means(cases, s) for s in tried(cases)} | {ALL: honest_means(cases)},
        },
        "int8": {"cases": len(cases), "dice_change": int8_change(cases)},
        "certainty": {"cases": len(cases), **{r.value: certainty(cases, r) for r in Region}},
    }
    MEASURED.parent.mkdir(exist_ok=True)
    MEASURED.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text("\n".join(page(record, cases, measured)) + "\n", encoding="utf-8")


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


def implied(case: dict[str, Any], region: str, t: float) -> float | None:
    """Return the Dice that calibrated probabilities imply; None where nothing was found."""
    p, found = probability(t), np.array(case["regions"][region]["bins"])
    inside, seen = MIDDLE > 0, p > 0.001
    count = found[inside].sum()
    return float(2 * (p * found)[inside].sum() / ((p * found)[seen].sum() + count)) if count else None


def line(cases: Cases, region: str, t: float) -> tuple[float, float]:
    """Return (a, b) of the least-squares line a + b implied."""
    pairs = [(implied(c, region, t), c["dice"][ALL][region]) for c in cases.values()]
    x, y = np.array([pair for pair in pairs if pair[0] is not None]).T
    slope, start = np.polyfit(x, y, 1)
    return round(float(start), 4), round(float(slope), 4)


def useful_line(cases: Cases, region: str) -> tuple[float, float] | None:
    """Return the line, or None where it does not tell good results from bad ones on cases not fitted to."""
    if certainty(cases, region)["dice_correlation"] < LEAST_CORRELATION:
        return None
    return line(cases, region, temperature(cases, region))


def certainty(cases: Cases, region: str) -> dict[str, Any]:
    """Return how well calibrated the network is, before and after, and how well it predicts its Dice."""
    others = {name: {k: v for k, v in cases.items() if k != name} for name in cases}
    fitted = {name: temperature(rest, region) for name, rest in others.items()}
    predicted, true = [], []
    for name, case in cases.items():
        value = implied(case, region, fitted[name])
        if value is not None:
            start, slope = line(others[name], region, fitted[name])
            predicted.append(min(1, max(0, start + slope * value)))
            true.append(case["dice"][ALL][region])
    return {
        "cases": len(cases),
        "own_range_held": own_range(cases, region),
        "interval_ratio": end_ratio(cases, region),
        "ece_before": round(calibration_error(cases, region, dict.fromkeys(cases, 1.0)), 5),
        "ece_after": round(calibration_error(cases, region, fitted), 5),
        "dice_correlation": round(float(np.corrcoef(predicted, true)[0, 1]), 3),
        "dice_error": round(float(np.mean(np.abs(np.subtract(predicted, true)))), 3),
        "predicted": len(predicted),
    }


def needed_width(case: dict[str, Any], region: str) -> float:
    """Return how far the model's own range must be widened to hold the true volume (certainty.py)."""
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


def processing_table(cases: Cases) -> list[str]:
    """Return the best ways, what was before, and what choosing is worth on cases that had no say in it."""
    means = {name: processed(cases, name).mean(0) for name in CHANGES}
    ranked = sorted(means, key=lambda name: -float(means[name].mean()))
    lines = ["| threshold of WT, least part of it, least ET in voxels | WT | TC | ET |", "|---|---|---|---|"]
    shown = dict.fromkeys([*ranked[:5], NONE, ranked[-1]])
    lines += [f"| {name} | " + " | ".join(f"{v:.4f}" for v in means[name]) + " |" for name in shown]
    honest = " | ".join(f"{v:.4f}" for v in chosen_by_others(cases).mean(0))
    return [*lines, f"| each case by what was best for the others | {honest} |"]


def page(record: dict[str, Any], cases: Cases, measured: dict[str, Any]) -> list[str]:
    """Return the lines of the page."""
    return [
        "# Cross-validation of the shipped model's recipe",
        "",
        f"{len(cases)} patients, each segmented by a network that had not seen them in any way; Dice by the "
        "rules of BraTS 2020, int8, one pass unless said otherwise. Written by",
        "",
        f"    python benchmarks/model/cross_validation.py ../shared/data/brats RUN... --write {RECORD}",
        f"    python benchmarks/model/summary.py {RECORD}",
        "",
        *runs_table(record),
        "",
        "## Accuracy",
        "",
        *accuracy_table(cases),
        "",
        "Each case after the post-processing that was best for the other cases; below, without any choice.",
        "",
        "## Any subset of sequences",
        "",
        *subset_table(cases),
        "",
        "## Quality",
        "",
        *quality_table(cases, measured),
        "",
        "## How sure it is",
        "",
        *certainty_table(measured),
        "",
        "## Post-processing",
        "",
        *processing_table(cases),
        "",
        "## Every case",
        "",
        "| case | WT | TC | ET |",
        "|---|---|---|---|",
        *[f"| {name} | " + triple(case["dice"][ALL]) + " |" for name, case in sorted(cases.items())],
    ]


def triple(dice: dict[str, float], digits: int = 3) -> str:
    """Return the Dice of the regions as cells."""
    return " | ".join(f"{dice[r]:.{digits}f}" for r in Region)


def runs_table(record: dict[str, Any]) -> list[str]:
    """Return what each network was trained with."""
    lines = ["| run | preset | steps | hours of steps | held out |", "|---|---|---|---|---|"]
    for name, run in record["runs"].items():
        held_out = sum(case["run"] == name for case in record["cases"].values())
        lines.append(f"| {name} | `{run['preset']}` | {run['steps']} | {run['hours']:.1f} | {held_out} |")
    settings = next(iter(record["runs"].values()))["settings"]
    changes = ", ".join(f"`{k}={v}`" for k, v in settings.items() if k not in OF_A_FOLD)
    return [*lines, "", f"Departs from the preset in: {changes}."]


def accuracy_table(cases: Cases) -> list[str]:
    """Return mean, interval and median."""
    lines = ["| Dice | mean | 95 % interval | median | lowest quarter |", "|---|---|---|---|---|"]
    for r, values in zip(Region, chosen_by_others(cases).T, strict=True):
        low, high = (float(end[0]) for end in bootstrap_interval(values[:, None]))
        middle, quarter = np.median(values), np.quantile(values, 0.25)
        lines.append(
            f"| {r.upper()} | {values.mean():.3f} | {low:.3f} to {high:.3f} | {middle:.3f} | {quarter:.3f} |"
        )
    return lines


def subset_table(cases: Cases) -> list[str]:
    """Return the mean Dice of each subset."""
    lines = ["| sequences | WT | TC | ET |", "|---|---|---|---|"]
    for subset in tried(cases):
        names = ", ".join(MODALITY_TITLES[Modality(m)] for m in subset.split())
        lines.append(f"| {names} | " + triple(means(cases, subset)) + " |")
    return lines


def quality_table(cases: Cases, measured: dict[str, Any]) -> list[str]:
    """Return the mean Dice of each quality, and of int8 against fp32."""
    lines = ["| `--quality` | passes | WT | TC | ET |", "|---|---|---|---|---|"]
    lines.append("| fast | 1 | " + triple(means(cases, ALL), 4) + " |")
    for name, passes in (("standard", 2), ("best", 8)):
        mean = {r: np.mean([case["quality"][name][r] for case in cases.values()]) for r in Region}
        lines.append(f"| {name} | {passes} | " + triple(mean, 4) + " |")
    change = ", ".join(f"{r.upper()} {100 * v:+.2f}" for r, v in measured["int8"]["dice_change"].items())
    return [*lines, "", f"int8 against fp32, in points of mean Dice: {change}."]


def certainty_table(measured: dict[str, Any]) -> list[str]:
    """Return calibration and the prediction of Dice."""
    lines = [
        "| region | temperature | calibration error before | after | predicted and true Dice: correlation "
        "| mean error | cases "
        "| true volumes in the model's own range "
        "| width of the 90 % interval | its upper end / lower end, median |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    chosen = measured["segment"]
    for r, t, width in zip(Region, chosen["temperatures"], chosen["volume_widths"], strict=True):
        c = measured["certainty"][r]
        lines.append(
            f"| {r.upper()} | {t:.2f} | {c['ece_before']:.5f} | {c['ece_after']:.5f} "
            f"| {c['dice_correlation']:.2f} | {c['dice_error']:.3f} | {c['predicted']} "
            f"| {c['own_range_held']} of {c['cases']} | {width or '-'} | {c['interval_ratio'] or '-'} |"
        )
    count = measured["certainty"]["cases"]
    rank = math.ceil(0.9 * (count + 1))
    words = (
        "Each case by what was fitted to the others; cases in which nothing was found predict nothing. "
        f"A region whose prediction correlates by less than {LEAST_CORRELATION} is not predicted in results. "
        "The ends of an interval are V (v / V)^width, with V voxels above a probability of 0.5 and v above "
        f"0.9 or 0.1. The width is the {rank}th smallest that the {count} cases needed: a further case "
        "like them, segmented by a network like theirs, is held with a chance of 90 % or more; how much more "
        "is uncertain with few cases. The model's own range has the width 1."
    )
    return [*lines, "", words]


if __name__ == "__main__":
    main()
