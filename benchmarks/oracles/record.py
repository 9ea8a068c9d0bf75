"""Record what independent packages say about the pairs of tests/evaluation/label_pairs.py.

Runs in an environment of its own (README.md); gliomaseg is neither needed nor imported.

    python benchmarks/oracles/record.py [medpy surface_distance brats2023 brats2024 brats2026]
"""

from __future__ import annotations

import contextlib
import csv
import io
import sys
import warnings
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path

import numpy as np
import plain_rules
import surface_distance
from medpy.metric import binary
from panoptica import Panoptica_Evaluator

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "tests" / "results" / "oracles"
sys.path.insert(0, str(ROOT / "tests" / "results"))

from label_pairs import LabelPair, label_pairs  # noqa: E402

REGIONS = {"wt": (1, 2, 3), "tc": (1, 3), "et": (3,), "ncr": (1,), "ed": (2,), "rc": (4,)}
RULES_2023 = {"gli": (3, 50), "men": (1, 50), "met": (1, 2)}
Row = dict[str, object]


def masks(pair: LabelPair, region: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the boolean masks of a region, prediction first."""
    return np.isin(pair.prediction, REGIONS[region]), np.isin(pair.reference, REGIONS[region])


def record_medpy(pair: LabelPair) -> Iterator[Row]:
    """Yield MedPy's HD95 in voxels and in mm, where neither mask is empty."""
    for region in ("wt", "et", "ed"):
        prediction, reference = masks(pair, region)
        if prediction.any() and reference.any():
            in_mm = binary.hd95(prediction, reference, voxelspacing=pair.spacing)
            yield {
                "region": region,
                "hd95_voxels": binary.hd95(reference, prediction),
                "hd95_mm": in_mm,
                "dice": binary.dc(prediction, reference),
                "iou": binary.jc(prediction, reference),
                "sensitivity": binary.sensitivity(prediction, reference),
                "specificity": binary.specificity(prediction, reference),
                "precision": binary.precision(prediction, reference),
            }


def record_surface_distance(pair: LabelPair) -> Iterator[Row]:
    """Yield DeepMind's HD95, both average distances and NSD at 1 and 2 mm; infinite HD95 if one is empty."""
    for region in ("wt", "et", "ed"):
        prediction, reference = masks(pair, region)
        found = surface_distance.compute_surface_distances(reference, prediction, pair.spacing)
        hd95 = surface_distance.compute_robust_hausdorff(found, 95)
        row = {
            "region": region,
            "hd95": hd95,
            "to_prediction": "",
            "to_reference": "",
            "nsd_1": "",
            "nsd_2": "",
        }
        if np.isfinite(hd95):
            averages = surface_distance.compute_average_surface_distance(found)
            row |= {"to_prediction": averages[0], "to_reference": averages[1]}
            row |= {f"nsd_{t}": surface_distance.compute_surface_dice_at_tolerance(found, t) for t in (1, 2)}
        yield row


def record_brats2023(pair: LabelPair) -> Iterator[Row]:
    """Yield our plain second implementation of the rules of 2023."""
    for task, (dilation, threshold) in RULES_2023.items():
        for region in ("wt", "et"):
            prediction, reference = masks(pair, region)
            yield {
                "region": region,
                "task": task,
                **plain_rules.score_2023(prediction, reference, pair.spacing, dilation, threshold),
            }


def record_brats2024(pair: LabelPair) -> Iterator[Row]:
    """Yield our plain second implementation of the rules of 2024."""
    parts = {"gli": REGIONS, "ped": ("wt", "tc", "cc"), "ssa": ("wt", "et"), "met": ("wt", "et")}
    for task, regions in parts.items():
        found = plain_rules.score_2024(pair.prediction, pair.reference, pair.spacing, task)
        yield from ({"region": region, "task": task, **found[region]} for region in regions)


def make_brats2026() -> Callable[[LabelPair], Iterator[Row]]:
    """Return a function that yields what brats-evaluation's own configuration gives by panoptica."""
    with contextlib.redirect_stdout(io.StringIO()):
        config = files("brats_evaluation").joinpath("configs", "config_gli.yaml")
        evaluator = Panoptica_Evaluator.load_from_config(str(config))

    def record(pair: LabelPair) -> Iterator[Row]:
        with contextlib.redirect_stdout(io.StringIO()):
            found = evaluator.evaluate(
                pair.prediction.copy(), pair.reference.copy(), voxelspacing=pair.spacing, verbose=False
            )
        for region, result in found.items():
            scores = result.to_dict(True)
            yield {
                "region": {"netc": "ncr", "snfh": "ed"}.get(region, region),
                "dice": scores["global_bin_dsc"],
                "hd95": scores["global_bin_hd95"],
                "nsd": scores["global_bin_nsd"],
                "lesion_dice": scores["sq_dsc"],
                "lesion_hd95": scores["sq_hd95"],
                "lesion_nsd": scores["sq_nsd"],
                "lesion_tp": scores["tp"],
                "lesion_fp": scores["fp"],
                "lesion_fn": scores["fn"],
            }

    return record


def write(name: str, pairs: list[LabelPair], record: Callable[[LabelPair], Iterator[Row]]) -> None:
    """Write the rows of every pair with twelve digits; parts empty in both only of the first pair."""
    rows = [
        {"pair": i, **row}
        for i, pair in enumerate(pairs)
        for row in record(pair)
        if not i or not _is_empty(pair, row)
    ]
    with (FOLDER / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow(
                {k: v if isinstance(v, (str, int)) else f"{float(v):.12g}" for k, v in row.items()}
            )
    print(f"{name}: {len(rows)} rows of {len({row['pair'] for row in rows})} pairs")


def _is_empty(pair: LabelPair, row: Row) -> bool:
    parts = plain_rules.TASKS_2024["ped"]["parts"] if row.get("task") == "ped" else REGIONS
    values = parts[str(row["region"])]
    return not np.isin(pair.prediction, values).any() and not np.isin(pair.reference, values).any()


def main() -> None:
    """Record the oracles named on the command line, all of them without a name."""
    warnings.simplefilter("ignore")
    plain_rules.prepare_surface_distance()
    pairs = label_pairs()
    with (FOLDER / "pairs.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["pair", "name", "checksum"])
        writer.writerows((i, pair.name, pair.checksum) for i, pair in enumerate(pairs))
    oracles = {
        "medpy": record_medpy,
        "surface_distance": record_surface_distance,
        "brats2023": record_brats2023,
        "brats2024": record_brats2024,
        "brats2026": make_brats2026(),
    }
    for name in sys.argv[1:] or oracles:
        write(name, pairs, oracles[name])


if __name__ == "__main__":
    main()
