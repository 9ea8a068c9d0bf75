"""What it costs to fade small components and little enhancing tumour out; with --int8 what int8 costs, too.

    python benchmarks/model/folds.py take benchmarks/model/folds runs
    python benchmarks/model/fading.py ../shared/data/brats runs/seventh-* --write docs/model/fading.md

Each case is segmented by a network that has not seen it: in fp32 with hard limits in place of faded ones
(components of less than ``segment.min_component_fraction`` of the largest, and enhancing tumour of less than
``segment.min_et_ml``, dropped), in fp32 as it is, and in int8 as it is. What is known of each case is kept in
runs/fading.json: the same command again goes on.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from truth import truth_of

from gliomaseg import Segmenter, find_cases
from gliomaseg.evaluation.metrics import dice
from gliomaseg.inference import postprocess
from gliomaseg.inference.boundaries import refine
from gliomaseg.inference.bundle import Bundle
from gliomaseg.inference.postprocess import label_regions
from gliomaseg.inference.window import infer
from gliomaseg.labels import BRATS2021, Region
from gliomaseg.training.cache import prepare_cases
from gliomaseg.training.export import export
from gliomaseg.training.run import load_run

KEPT = Path("runs/fading.json")
WAYS = ("fp32, hard limits", "fp32", "int8")
#: Limits so near to each other that what lies between them is nothing: as hard as they were in 0.1.0.
HARD = {"_COMPONENTS": (1 - 1e-9, 1.0), "_ENHANCING": (1 - 1e-9, 1.0)}


def main() -> None:
    """Segment, keep what was found, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    parser.add_argument(
        "--int8", action="store_true", help="Calibrate and measure int8 too: 3 minutes a run."
    )
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    found: dict[str, Any] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    cases = {case.id: case for case in find_cases(options.data)}
    for folder in options.runs:
        run = load_run(folder)
        held_out = [case for case in run.read_split().validation if case not in found]
        if not held_out:
            continue
        if options.int8:
            prepare_cases(list(cases.values()), run.settings, options.cache, lambda _fraction, _text: None)
        with tempfile.TemporaryDirectory() as temporary:
            more = {"int8": True, "cache": options.cache} if options.int8 else {}
            bundle = export(run, Path(temporary) / "model", **more)
            precisions = ("fp32", "int8") if options.int8 else ("fp32",)
            segmenters = {p: Segmenter.load(bundle.folder, precision=p, force=True) for p in precisions}
            for case in held_out:
                found[case] = scored(cases[case], segmenters)
                KEPT.write_text(json.dumps(found))
                print(case, found[case], flush=True)
    page = table(found)
    print(page)
    if options.write:
        options.write.write_text(_PAGE.format(cases=len(found), table=page), encoding="utf-8")


def scored(case: Any, segmenters: dict[str, Segmenter]) -> dict[str, list[float]]:
    """Return the Dice of each region, by way."""
    ready = segmenters["fp32"].prepare(case)
    image, valid = ready.prepared.image, (slice(None), *ready.prepared.valid)
    truth, scores = truth_of(case, ready), {}
    for precision, segmenter in segmenters.items():
        settings = segmenter.settings.model_copy(update={"segment": Bundle.load().settings.segment})
        raw = infer(image, segmenter.engine, settings)
        for way in (way for way in WAYS if way.startswith(precision)):
            probabilities = raw.copy()
            limits = HARD if "hard" in way else {name: getattr(postprocess, name) for name in HARD}
            with mock.patch.multiple(postprocess, **limits):
                refine(probabilities, image, settings)
                labels = label_regions(probabilities[valid], settings, BRATS2021)
            scores[way] = [round(float(dice(BRATS2021.mask(labels, r), truth[r])), 5) for r in Region]
    return scores


def table(found: dict[str, dict[str, list[float]]]) -> str:
    """Return the mean Dice of each way, and the difference from the way before, in Markdown."""
    rows = ["| computed | WT | TC | ET |", "|---|---|---|---|"]
    ways = [way for way in WAYS if all(way in case for case in found.values())]
    for way in ways:
        means = np.mean([case[way] for case in found.values()], axis=0)
        rows.append(f"| {way} | " + " | ".join(f"{mean:.4f}" for mean in means) + " |")
    for one, other in pairwise(ways):
        differences = 100 * np.array([np.subtract(c[other], c[one]) for c in found.values()])
        errors = differences.std(axis=0, ddof=1) / np.sqrt(len(differences))
        cells = [f"{m:+.2f} ({e:.2f})" for m, e in zip(differences.mean(axis=0), errors, strict=True)]
        rows.append(f"| {other}, against {one}: points (standard error) | " + " | ".join(cells) + " |")
        largest = np.abs(differences).max(axis=0)
        rows.append("| largest difference of one case | " + " | ".join(f"{d:.1f}" for d in largest) + " |")
    return "\n".join(rows)


_PAGE = """# What fading costs

Mean Dice (BraTS 2020's rule) over {cases} cases, each segmented by a network of the shipped model's recipe
that had not seen it, with the shipped post-processing. *Hard limits*: as in 0.1.0, components of less than a
tenth of the largest and enhancing tumour of less than 0.5 ml dropped whole. Since then they fade out, so that
a result doesn't jump with the last digits of a computation ([stability](../stability.md)). Written by

    python benchmarks/model/fading.py ../shared/data/brats runs/seventh-* --write docs/model/fading.md

{table}
"""


if __name__ == "__main__":
    main()
