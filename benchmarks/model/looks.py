"""How large the part should be that is looked at again: the sizes in gliomaseg.inference.second_pass.

    python benchmarks/model/looks.py ../shared/data/brats FOLD0 FOLD1 ... --write docs/model/looks.md

FOLD0 and FOLD1 are bundles (``gliomaseg export``) of folds of one recipe: each segments the cases that it
has not seen, with its own post-processing but for ``segment.refine``. Writes the mean Dice of one look, and
of two by the least size of the part and by the margin around what was found.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from unittest.mock import patch

import numpy as np
from cross_validation import scores
from truth import truth_of

from gliomaseg import Segmenter, find_cases
from gliomaseg.cases.case import Case
from gliomaseg.inference import second_pass
from gliomaseg.inference.window import Array, infer
from gliomaseg.settings.schema import Settings

#: Least size and margin in voxels.
SIZES = ((80, 16), (96, 8), (96, 16), (96, 24), (112, 8), (112, 16), (112, 24), (128, 16), (144, 16))


def main() -> None:
    """Segment the held-out cases of every bundle in every way, write the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("bundles", type=Path, nargs="+")
    parser.add_argument("--precision", choices=("int8", "bf16", "fp32"), default="int8")
    parser.add_argument("--write", type=Path, required=True)
    options = parser.parse_args()
    cases, found = find_cases(options.data), []
    for bundle in options.bundles:
        segmenter = Segmenter.load(bundle, precision=options.precision, quality="standard")
        found += [measure(case, segmenter) for case in segmenter.bundle.held_out(cases)]
    of = f"{', '.join(bundle.name for bundle in options.bundles)}, {options.precision}"
    options.write.write_text("\n".join(table(found, of)) + "\n", encoding="utf-8")


def measure(case: Case, segmenter: Segmenter) -> list[list[float]]:
    """Return the Dice of each region after one look, then after two by each of SIZES."""
    ready, settings = segmenter.prepare(case), segmenter.settings
    image, valid = ready.prepared.image, ready.prepared.valid
    truth = truth_of(case, ready)
    first = infer(image, segmenter.engine, settings)

    def judged(probabilities: Array, settings: Settings) -> list[float]:
        inside = probabilities[(slice(None), *valid)]
        return list(scores(inside, settings, truth).values())

    found = [judged(first, settings)]
    for least, margin in SIZES:
        second = first.copy()
        with patch.multiple(second_pass, LEAST=least, MARGIN=margin):
            second_pass.second_pass(second, image, segmenter.engine, settings)
        found.append(judged(second, settings))
    return found


def table(found: list[list[list[float]]], of: str) -> list[str]:
    """Return the means over the cases of what ``of`` names as lines of Markdown."""
    names = ["one look", *(f"two: at least {least} voxels, {margin} around" for least, margin in SIZES)]
    lines = ["| passes | WT | TC | ET | mean |", "|---|---|---|---|---|"]
    for name, means in zip(names, np.mean(found, axis=0), strict=True):
        lines.append(f"| {name} | " + " | ".join(f"{v:.4f}" for v in (*means, means.mean())) + " |")
    return [
        "# Size of the second pass",
        "",
        *lines,
        "",
        f"Mean Dice of {len(found)} held-out cases by BraTS 2020's rule ({of}), before borders follow the "
        "case. The intervals are about 0.025 (WT), 0.05 (TC) and 0.06 (ET) each way; the cases are those "
        "that chose; the order is a hint. Written by "
        "`python benchmarks/model/looks.py DATA FOLD... --write docs/model/looks.md`.",
    ]


if __name__ == "__main__":
    main()
