"""How far the outline of held-out cases depends on their brightness: every sequence shifted by as much.

    python benchmarks/model/brightness.py ../shared/data/brats FOLD... --write docs/model/brightness.md

FOLD: a bundle of each fold. The best shift of a case is known from its answer, so that column is no accuracy:
it says what could be gained at most by calibrating each case. One look, without post-processing.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
from truth import truth_of

from gliomaseg import Segmenter, find_cases
from gliomaseg.cases.case import Case
from gliomaseg.evaluation.metrics import dice
from gliomaseg.inference.window import infer
from gliomaseg.labels import Region

Table = npt.NDArray[np.float64]

#: What is added to every voxel of the brain, in standard deviations.
SHIFTS = (-0.3, -0.15, 0.0, 0.15, 0.3)


def main() -> None:
    """Segment every held-out case at every brightness, write the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("bundles", nargs="+")
    parser.add_argument("--write", type=Path, required=True)
    options = parser.parse_args()
    cases = find_cases(options.data)
    folds = []
    for bundle in options.bundles:
        segmenter = Segmenter.load(bundle, quality="fast")
        folds.append(np.array([measure(case, segmenter) for case in segmenter.bundle.held_out(cases)]))
    options.write.write_text("\n".join(page(folds)) + "\n", encoding="utf-8")


def measure(case: Case, segmenter: Segmenter) -> Table:
    """Return the Dice (shift, region) of one case."""
    ready = segmenter.prepare(case)
    image, valid = ready.prepared.image, ready.prepared.valid
    truth = truth_of(case, ready)
    found = []
    for shift in SHIFTS:
        shifted = np.where(image != 0, image + np.float32(shift), 0)
        probabilities = infer(shifted, segmenter.engine, segmenter.settings)[(slice(None), *valid)]
        pairs = zip(probabilities, truth.values(), strict=True)
        found.append([dice(probability > 0.5, mask) for probability, mask in pairs])
    return np.array(found)


def page(folds: list[Table]) -> list[str]:
    """Return the means over cases as lines of Markdown."""
    shifts = [f"{shift:+.2f}" if shift else "as it is" for shift in SHIFTS]
    lines = [
        "# Brightness and the extent of the whole tumour",
        "",
        "Mean Dice of held-out cases, every sequence brighter or darker by so many standard deviations of "
        "the brain: one pass, no post-processing, the bundle's own precision.",
        "",
        "| region | fold | cases | " + " | ".join(shifts) + " | best for each case |",
        "|---" * (4 + len(SHIFTS)) + "|",
    ]
    parts = [*((str(number), fold) for number, fold in enumerate(folds)), ("all", np.concatenate(folds))]
    for index, region in enumerate(Region):
        for name, part in parts:
            each = part[..., index]
            values = " | ".join(f"{value:.3f}" for value in (*each.mean(0), each.max(1).mean()))
            lines.append(f"| {region.name} | {name} | {len(each)} | {values} |")
    return [
        *lines,
        "",
        "**best for each case** is known from its answer: no accuracy, but what calibrating each case could "
        "give at most.",
        "",
        "Written by `python benchmarks/model/brightness.py DATA FOLD... --write docs/model/brightness.md`.",
    ]


if __name__ == "__main__":
    main()
