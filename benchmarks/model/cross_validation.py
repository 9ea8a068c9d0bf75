"""What a recipe is worth on patients that its networks never saw, in every subset of sequences.

    python benchmarks/model/cross_validation.py ../shared/data/brats runs/recipe-fold* --write FILE.json.gz

Each run is exported and segments the cases that it held out, by the product's own steps. Writes one record
for each case: Dice by BraTS 2020's rule of each subset of sequences and each quality, with --processing,
the shipped model's if not given; and of all sequences what calibration, post-processing, volume intervals
and the prediction of Dice are chosen by (summary.py). With --quick without post-processing.
A+B is run A with the mean of its weights and those of run B (``gliomaseg export A --average-with B``).
Runs that FILE.json.gz has already are kept as they are: the same command again goes on with the others.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from truth import Mask, truth_of

from gliomaseg import Segmenter, find_cases
from gliomaseg.cases.case import Case
from gliomaseg.evaluation.metrics import dice
from gliomaseg.inference.boundaries import refine
from gliomaseg.inference.engine import Engine
from gliomaseg.inference.postprocess import label_regions
from gliomaseg.inference.predict import predict
from gliomaseg.labels import BRATS2021, Modality, Region
from gliomaseg.settings.loading import load_settings
from gliomaseg.settings.schema import Settings
from gliomaseg.training.cache import prepare_cases
from gliomaseg.training.export import export
from gliomaseg.training.run import Run, load_run

Floats = npt.NDArray[np.float32]
Truth = dict[Region, Mask]
SUBSETS = [s for n in range(4, 0, -1) for s in itertools.combinations(Modality, n)]
#: What may be done after the network, by name.
CHANGES: dict[str, dict[str, Any]] = {
    f"{f'refine {weight}, ' if weight else ''}parts >= {part}, et >= {least}": {
        "refine": weight,
        "min_component_fraction": part,
        "min_et_ml": least / 1000,
    }
    for weight in (0.0, 0.5, 1.0)
    for part in (0.0, 0.1)
    for least in (500, 300, 100)  # of equals the first: 200 to 500 is usual in the field
}
#: Nothing chosen; what else was chosen before refine; and what the shipped model does.
NONE = "parts >= 0.0, et >= 100"
UNREFINED = "parts >= 0.1, et >= 500"
SHIPPED = "refine 1.0, parts >= 0.1, et >= 500"
QUALITIES = ("fast", "standard", "best")
#: A large brain in voxels of 1 mm: what operations are counted for.
BRAIN = (160, 192, 144)
#: Edges of the bins of logits in which calibration is counted.
LOGITS = np.linspace(-8, 8, 65)
#: Levels of probability at which volumes are counted.
LEVELS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


def main() -> None:
    """Export, segment, measure; write what was found after each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    parser.add_argument(
        "--quick", action="store_true", help="Only the Dice with all sequences, without int8."
    )
    parser.add_argument("--processing", choices=CHANGES, default=SHIPPED, metavar="NAME")
    parser.add_argument("--write", type=Path, required=True)
    options = parser.parse_args()
    cases = {case.id: case for case in find_cases(options.data)}
    record: dict[str, Any] = {"processing": options.processing, "runs": {}, "cases": {}}
    if options.write.exists():
        record = json.loads(gzip.decompress(options.write.read_bytes()))
    for folders in options.runs:
        folder, *others = folders.split("+")
        run, name = load_run(Path(folder)), "+".join(Path(f).name for f in (folder, *others))
        if name in record["runs"]:
            continue
        prepare_cases(list(cases.values()), run.settings, options.cache, lambda _f, _t: None)
        with tempfile.TemporaryDirectory() as temporary:
            bundle = export(
                run,
                Path(temporary) / "model",
                average_with=others,
                int8=not options.quick,
                cache=options.cache,
            )
            precisions = ("fp32",) if options.quick else ("fp32", "int8")
            segmenters = {p: Segmenter.load(bundle.folder, precision=p) for p in precisions}
            record["runs"][name] = about(run, segmenters["fp32"])
            for case in bundle.about["held_out"]["cases"]:
                record["cases"][case] = {
                    "run": name,
                    **measure(cases[case], segmenters, record["processing"]),
                }
                sys.stdout.write(f"{case} {next(iter(record['cases'][case]['dice'].values()))}\n")
                sys.stdout.flush()
        options.write.write_bytes(gzip.compress(json.dumps(record).encode(), mtime=0))


def about(run: Run, segmenter: Segmenter) -> dict[str, Any]:
    """Return what tells a run from others: how it departs from its preset, its length, what it costs."""
    preset = load_settings(run.settings.preset).model_dump(mode="json")
    mine = run.settings.model_dump(mode="json")
    changed = {
        f"{section}.{name}": value
        for section in ("network", "augment", "training")
        for name, value in mine[section].items()
        if value != preset[section][name]
    }
    modalities, bundle = mine["network"]["modalities"], segmenter.bundle.about
    return {
        "preset": run.settings.preset,
        "modalities": modalities,
        "settings": changed,
        **{key: bundle[key] for key in ("steps", "hours", "parameters")},
    }


def measure(case: Case, segmenters: dict[str, Segmenter], processing: str) -> dict[str, Any]:
    """Return everything about one case, with one of CHANGES as its post-processing."""
    segmenter = segmenters.get("int8", segmenters["fp32"])
    ready = segmenter.prepare(case)
    image, valid = ready.prepared.image, ready.prepared.valid
    settings = changed(segmenter.settings, processing)
    truth = truth_of(case, ready)
    found: dict[str, Any] = {"dice": {}, "quality": {}, "seconds": {}}

    def look(given: Floats, engine: Engine, settings: Settings) -> Floats:
        return predict(given, engine, settings)[(slice(None), *valid)]

    plain = look(image, segmenter.engine, changed(settings, NONE))
    found["processed"] = processed(plain, image[(slice(None), *valid)], truth, settings)
    if len(segmenters) == 1:
        key = " ".join(settings.network.modalities)
        return {"dice": {key: found["processed"][NONE]}, "processed": found["processed"]}
    for subset in subsets(segmenter):
        left = np.array([m in subset for m in settings.network.modalities], np.float32)
        part = np.ascontiguousarray(image * left[:, None, None, None])
        probabilities = look(part, segmenter.engine, settings)
        found["dice"][" ".join(subset)] = scores(probabilities, settings, truth)
        if left.all():
            found |= of_probabilities(probabilities, truth)
    found["fp32"] = scores(look(image, segmenters["fp32"].engine, settings), settings, truth)
    for quality in QUALITIES:
        inference = settings.inference.model_copy(update={"quality": quality})
        wanted = settings.model_copy(update={"inference": inference})
        started = time.monotonic()
        probabilities = look(image, segmenter.engine, wanted)
        found["seconds"][quality] = round(time.monotonic() - started, 3)
        found["quality"][quality] = scores(probabilities, wanted, truth)
    return found


def changed(settings: Settings, name: str) -> Settings:
    """Return settings with one of CHANGES."""
    return settings.model_copy(update={"segment": settings.segment.model_copy(update=CHANGES[name])})


def subsets(segmenter: Segmenter) -> list[tuple[Modality, ...]]:
    """Return which sequences a network is to be tried with, all of its own first."""
    known = segmenter.settings.network.modalities
    return (
        [s for s in SUBSETS if set(s) <= set(known)]
        if segmenter.bundle.supports_missing_sequences
        else [known]
    )


def processed(plain: Floats, image: Floats, truth: Truth, settings: Settings) -> dict[str, dict[str, float]]:
    """Return the Dice of each region after each of CHANGES, from what came out of the network."""
    found, refined = {}, {}
    for name in CHANGES:
        wanted = changed(settings, name)
        key = wanted.segment.refine, wanted.segment.min_component_fraction
        if key not in refined:
            refined[key] = plain.copy()
            refine(refined[key], image, wanted)
        found[name] = scores(refined[key], wanted, truth)
    return found


def scores(probabilities: Floats, settings: Settings, truth: Truth) -> dict[str, float]:
    """Return the Dice of each region, once labelled."""
    labels = label_regions(probabilities, settings, BRATS2021)
    return {r.value: round(dice(BRATS2021.mask(labels, r), truth[r]), 5) for r in Region}


def of_probabilities(probabilities: Floats, truth: Truth) -> dict[str, Any]:
    """Return what choices after the network depend on, for each region, nested: counts of voxels (1 mm3)."""
    found: dict[str, Any] = {}
    nested = np.ones(probabilities.shape[1:], np.float32)
    for channel, region in enumerate(Region):
        nested = np.minimum(nested, probabilities[channel])
        inside = np.clip(nested, 1e-6, 1 - 1e-6)
        logits = np.log(inside / (1 - inside))
        bins = np.digitize(logits, LOGITS).ravel()
        size = len(LOGITS) + 1
        true = truth[region]
        found[region.value] = {
            "bins": np.bincount(bins, minlength=size).tolist(),
            "true": np.bincount(bins, true.ravel(), minlength=size).astype(int).tolist(),
            "volume": int(true.sum()),
            "at": {str(level): int(np.count_nonzero(nested > level)) for level in LEVELS},
            "dice_at": {str(level): round(dice(nested > level, true), 5) for level in LEVELS[2:9]},
        }
    return {"regions": found}


if __name__ == "__main__":
    main()
