"""From the records of cross_validation.py to what a bundle holds, and to docs/cross-validation.md.

    python benchmarks/model/summary.py docs/model/gliomaseg-seventh.json.gz

Writes docs/model/measured.json (for ``gliomaseg export --measured``) and docs/cross-validation.md.
choices.py says how each is chosen.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from choices import (
    ALL,
    LEAST_CORRELATION,
    Cases,
    best_processing,
    chosen_by_others,
    honest_means,
    int8_change,
    means,
    poor,
    processed,
    temperature,
    tried,
    uncertainty,
    unreliable,
    useful_line,
    volume_width,
)
from cross_validation import CHANGES, NONE, SHIPPED, UNREFINED

from gliomaseg.evaluation.statistics import bootstrap_interval
from gliomaseg.labels import MODALITY_TITLES, Modality, Region
from gliomaseg.measurement.quality import LEAST_DICE

Floats = npt.NDArray[np.float64]
ROOT = Path(__file__).parents[2]
PAGE, MEASURED = ROOT / "docs" / "cross-validation.md", ROOT / "docs" / "model" / "measured.json"
RECORD = "docs/model/gliomaseg-seventh.json.gz"
#: Settings that tell folds of one recipe apart.
OF_A_FOLD = {"training.fold", "training.init_from", "training.validate_minutes"}
#: Enhancing tumour up to so many voxels (1 ml) is little; tables have a row for it.
LITTLE_ET = 1000


def main() -> None:
    """Read, choose, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("record", type=Path)
    options = parser.parse_args()
    record = json.loads(gzip.decompress(options.record.read_bytes()))
    cases: Cases = record["cases"]
    best, processing = best_processing(cases), record["processing"]
    if best != processing:
        print(f"measured with: {processing}\nbest:          {best} (cross_validation.py --processing)")
    measured = {
        "segment": {
            **CHANGES[processing],
            "temperatures": [temperature(cases, r) for r in Region],
            "dice_lines": [useful_line(cases, r) for r in Region],
            "volume_widths": [volume_width(cases, r) for r in Region],
        },
        "expected": {
            "cases": len(cases),
            "dice": {s: means(cases, s) for s in tried(cases)} | {ALL: honest_means(cases)},
        },
        "int8": {"cases": len(cases), "dice_change": int8_change(cases)},
        "uncertainty": {"cases": len(cases), **{r.value: uncertainty(cases, r) for r in Region}},
    }
    MEASURED.parent.mkdir(exist_ok=True)
    MEASURED.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text("\n".join(page(record, cases, measured)) + "\n", encoding="utf-8")


def processing_table(cases: Cases) -> list[str]:
    """Return the best ways, what was before, and what choosing is worth on cases that had no say in it."""
    means = {name: processed(cases, name).mean(0) for name in CHANGES}
    ranked = sorted(means, key=lambda name: -float(means[name].mean()))
    lines = [
        "| weight of refine (0 if not given), minimum component fraction of WT, minimum ET in voxels "
        "| WT | TC | ET |",
        "|---|---|---|---|",
    ]
    alike = [name for name in ranked if name.startswith(SHIPPED.partition("et")[0])]  # but for the least ET
    shown = dict.fromkeys([*ranked[:5], *alike, UNREFINED, NONE, ranked[-1]])
    lines += [
        f"| {name.replace('parts', 'components')} | " + " | ".join(f"{v:.4f}" for v in means[name]) + " |"
        for name in shown
    ]
    honest = " | ".join(f"{v:.4f}" for v in chosen_by_others(cases).mean(0))
    return [*lines, f"| each case by the best for the others | {honest} |"]


def page(record: dict[str, Any], cases: Cases, measured: dict[str, Any]) -> list[str]:
    """Return the lines of the page."""
    return [
        "# Cross-validation of the shipped model's recipe",
        "",
        f"{len(cases)} patients, each segmented by a network that had not seen them in any way; Dice by the "
        "rules of BraTS 2020, int8, one pass unless said otherwise, with the post-processing of the shipped "
        "model. Written by",
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
        "Here, by tumour and case by case, each case has the post-processing that was best for the other "
        "cases. The other tables use what is best for all cases, which is slightly optimistic: compare "
        "within a table.",
        "",
        "## By tumour",
        "",
        *tumour_table(cases),
        "",
        "## Any subset of sequences",
        "",
        *subset_table(cases),
        "",
        "## Quality",
        "",
        *quality_table(cases, measured),
        "",
        *([f"Seconds of {record['seconds_on']}.", ""] if "seconds_on" in record else []),
        "`standard` runs a second pass on the part of the brain around what was found, `best` eight mirrored "
        "passes; the size of that part was compared on the same cases ([second pass](model/looks.md)).",
        "",
        "## Uncertainty",
        "",
        *uncertainty_table(measured),
        "",
        separation(cases),
        "",
        "## Post-processing",
        "",
        *processing_table(cases),
        "",
        gain_of_refine(cases),
        "",
        "## Every case",
        "",
        "| case | WT | TC | ET |",
        "|---|---|---|---|",
        *[
            f"| {name} | " + " | ".join(f"{v:.3f}" for v in dice) + " |"
            for name, dice in sorted(zip(cases, chosen_by_others(cases).tolist(), strict=True))
        ],
    ]


def gain_of_refine(cases: Cases) -> str:
    """Return the gain of boundary refinement with the same networks, in words."""
    gain = 100 * (processed(cases, SHIPPED) - processed(cases, UNREFINED))
    error = gain.std(0, ddof=1) / math.sqrt(len(gain))
    each = [
        f"{r.upper()} {mean:+.2f} points (standard error {e:.2f}; better in {(own > 0).sum()}, worse in "
        f"{(own < 0).sum()} of {len(own)})"
        for r, mean, e, own in zip(Region, gain.mean(0), error, gain.T, strict=True)
    ]
    return f"Gain of refine with a weight of 1, with the same networks and rules: {', '.join(each)}."


def separation(cases: Cases) -> str:
    """Return how well the predicted Dice separates good cases from bad ones, in words."""
    found, bad = unreliable(cases), poor(cases)
    return (
        f"A predicted Dice below {LEAST_DICE} in some region makes a result `unreliable`: "
        f"{len(found)} of {len(cases)} cases, {len(found & bad)} of the {len(bad)} "
        "in which some region is below."
    )


def triple(dice: dict[str, float], digits: int = 3) -> str:
    """Return the Dice of the regions as cells."""
    return " | ".join(f"{dice[r]:.{digits}f}" for r in Region)


def runs_table(record: dict[str, Any]) -> list[str]:
    """Return what each network was trained with; A+B is A averaged with the weights of B."""
    lines = ["| run | steps | hours of steps | held out |", "|---|---|---|---|"]
    recipes: dict[str, list[str]] = {}
    for name, run in record["runs"].items():
        held_out = sum(case["run"] == name for case in record["cases"].values())
        changes = ", ".join(f"`{k}={v}`" for k, v in run["settings"].items() if k not in OF_A_FOLD)
        recipes.setdefault(f"`{run['preset']}`: {changes}", []).append(name)
        lines.append(f"| {name} | {run['steps']} | {run['hours']:.1f} | {held_out} |")
    said = [f"{', '.join(names)}: preset {recipe}." for recipe, names in recipes.items()]
    return [*lines, "", "\n\n".join(said)]


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


def tumour_table(cases: Cases) -> list[str]:
    """Return the means of cases by how much of their tumour enhances in the expert's label map."""
    volumes = np.array([case["regions"][Region.ET]["volume"] for case in cases.values()])
    kinds = {
        "no enhancement": volumes == 0,
        f"up to {LITTLE_ET / 1000:.0f} ml of it": (volumes > 0) & (volumes <= LITTLE_ET),
        "more": volumes > LITTLE_ET,
    }
    lines = ["| enhancing tumour (expert) | cases | WT | TC | ET |", "|---|---|---|---|---|"]
    for name, chosen in kinds.items():
        if chosen.any():
            mean = " | ".join(f"{v:.3f}" for v in chosen_by_others(cases)[chosen].mean(0))
            lines.append(f"| {name} | {chosen.sum()} | {mean} |")
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
    lines = ["| `--quality` | WT | TC | ET | seconds in the network, median |", "|---|---|---|---|---|"]
    for name in ("fast", "standard", "best"):
        mean = {r: np.mean([case["quality"][name][r] for case in cases.values()]) for r in Region}
        seconds = np.median([case["seconds"][name] for case in cases.values()])
        lines.append(f"| {name} | {triple(mean, 4)} | {seconds:.2f} |")
    change = ", ".join(f"{r.upper()} {100 * v:+.2f}" for r, v in measured["int8"]["dice_change"].items())
    return [*lines, "", f"int8 against fp32, in points of mean Dice: {change}."]


def uncertainty_table(measured: dict[str, Any]) -> list[str]:
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
        c = measured["uncertainty"][r]
        lines.append(
            f"| {r.upper()} | {t:.2f} | {c['ece_before']:.5f} | {c['ece_after']:.5f} "
            f"| {c['dice_correlation']:.2f} | {c['dice_error']:.3f} | {c['predicted']} "
            f"| {c['own_range_held']} of {c['cases']} | {width or '-'} | {c['interval_ratio'] or '-'} |"
        )
    count = measured["uncertainty"]["cases"]
    rank = math.ceil(0.9 * (count + 1))
    words = (
        "Each case by a fit to the others; where nothing was found, nothing is predicted. "
        "Dice is predicted by a line from the Dice of two masks, at probabilities of 0.8 and 0.2. "
        f"A region whose prediction correlates by less than {LEAST_CORRELATION} is not predicted in results. "
        "The ends of an interval are V (v / V)^width, with V voxels above a probability of 0.5 and v above "
        f"0.9 or 0.1. The width is the {rank}th smallest of those the {count} cases required: the interval "
        "covers a further case like them, segmented by a network like theirs, with a probability of 90 % or "
        "more. The model's own range has width 1."
    )
    return [*lines, "", words]


if __name__ == "__main__":
    main()
