"""Where the error lies that more training does not take away: the shipped model on its own training cases.

    python benchmarks/model/limits.py ../shared/data/brats --write docs/model/limits.md

No accuracy: the model has seen these cases. What it can't fit there, it can't be expected to know elsewhere.
One look, without post-processing.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from truth import Mask, truth_of

from gliomaseg import Segmenter, find_cases
from gliomaseg.cases.case import Case
from gliomaseg.evaluation.metrics import dice
from gliomaseg.inference.window import infer
from gliomaseg.labels import Region

#: Probabilities at which a region may be cut, and how near to the experts' border, in voxels of 1 mm.
CUTS = np.linspace(0.05, 0.95, 19)
NEAR = 2
COLUMNS = ("seen cases", "best threshold per case", f"error within {NEAR} voxels", "dilated by one voxel")


def main() -> None:
    """Segment every case that the model was trained on, write the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="shipped")
    parser.add_argument("--write", type=Path, required=True)
    options = parser.parse_args()
    segmenter = Segmenter.load(options.model, quality="fast")
    seen = set(segmenter.bundle.about["trained_on"])
    cases = [case for case in find_cases(options.data) if case.id in seen]
    found = np.array([measure(case, segmenter) for case in cases])
    options.write.write_text("\n".join(page(found, segmenter.bundle.name)) + "\n", encoding="utf-8")


def measure(case: Case, segmenter: Segmenter) -> list[list[float]]:
    """Return a row of COLUMNS for each region; NaN where an expert drew nothing."""
    ready = segmenter.prepare(case)
    valid = ready.prepared.valid
    probabilities = infer(ready.prepared.image, segmenter.engine, segmenter.settings)[(slice(None), *valid)]
    return [
        compare(probability, mask)
        for probability, mask in zip(probabilities, truth_of(case, ready).values(), strict=True)
    ]


def compare(probability: npt.NDArray[np.float32], truth: Mask) -> list[float]:
    """Return COLUMNS: the widened outline reaches the 6 neighbours."""
    if not truth.any():
        return [np.nan] * len(COLUMNS)
    wrong = (probability > 0.5) != truth
    near = ndimage.distance_transform_edt(truth) + ndimage.distance_transform_edt(~truth) <= NEAR
    return [
        dice(probability > 0.5, truth),
        max(dice(probability > cut, truth) for cut in CUTS),
        np.count_nonzero(wrong & near) / max(1, np.count_nonzero(wrong)),
        dice(ndimage.binary_dilation(truth), truth),
    ]


def page(found: npt.NDArray[np.float64], name: str) -> list[str]:
    """Return the means over cases as lines of Markdown."""
    lines = ["| region | cases | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 2) + "|"]
    for index, region in enumerate(Region):
        rows = found[:, index]
        rows = rows[~np.isnan(rows[:, 0])]
        values = " | ".join(f"{value:.3f}" for value in rows.mean(axis=0))
        lines.append(f"| {region.name} | {len(rows)} | {values} |")
    return [
        "# Errors that more training does not remove",
        "",
        f"{name} on the cases it was **trained on**: nothing here is a measure of accuracy: one look, no "
        "post-processing, means over cases in which the expert reference has the region.",
        "",
        *lines,
        "",
        "- **seen cases**: Dice at a probability of 0.5. Cases that the model never saw are in "
        "[cross-validation](../cross-validation.md).",
        "- **best threshold per case**: the same with the threshold that is best for each case, known from "
        "its answer: some experts draw generously, some strictly.",
        f"- **error within {NEAR} voxels**: the share of wrong voxels that lie at most {NEAR} voxels from "
        "the experts' border.",
        "- **dilated by one voxel**: Dice of the expert's own region, dilated by one voxel, with itself.",
        "",
        "Written by `python benchmarks/model/limits.py DATA --write docs/model/limits.md`.",
    ]


if __name__ == "__main__":
    main()
