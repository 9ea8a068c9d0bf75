"""Our numbers against those of independent packages, recorded by benchmarks/oracles on the same pairs."""

from __future__ import annotations

import csv
import math
import runpy
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from gliomaseg.evaluation.mask_pair import MaskPair
from gliomaseg.evaluation.metrics import overlap
from gliomaseg.evaluation.rules import find_profile
from gliomaseg.evaluation.segmentation_pair import SegmentationPair
from gliomaseg.evaluation.surface import VOXEL_UNITS
from gliomaseg.imaging.volume import Grid, Segmentation
from gliomaseg.labels import BRATS2024, BRATS2024_PED, LabelScheme

HERE = Path(__file__).parent
ORACLES = HERE / "oracles"
PAIRS = runpy.run_path(str(HERE / "label_pairs.py"))["label_pairs"]()
VALUES = {"wt": (1, 2, 3), "tc": (1, 3), "et": (3,), "ncr": (1,), "ed": (2,), "rc": (4,)}
TOLERANCE = 1e-6


def read(name: str) -> list[dict[str, str]]:
    with (ORACLES / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def masks(row: dict[str, str]) -> tuple[np.ndarray, np.ndarray, tuple[float, float, float]]:
    pair = PAIRS[int(row["pair"])]
    prediction, reference = (np.isin(m, VALUES[row["region"]]) for m in (pair.prediction, pair.reference))
    return prediction, reference, pair.spacing


@cache
def comparison(number: int, scheme_name: str) -> SegmentationPair:
    schemes: dict[str, LabelScheme] = {s.name: s for s in (BRATS2024, BRATS2024_PED)}
    pair = PAIRS[number]
    grid = Grid(pair.reference.shape, np.diag([*pair.spacing, 1.0]))
    maps = [Segmentation(m, grid, schemes[scheme_name]) for m in (pair.prediction, pair.reference)]
    return SegmentationPair(*maps)


@cache
def scores(number: int, profile: str) -> dict[tuple[str, str], float]:
    scheme = "brats2024-ped" if profile == "brats2024-ped" else "brats2024"
    found = comparison(number, scheme).score(find_profile(profile))
    return {(column.region, column.metric): value for column, value in found.items()}


def agree(ours: float, theirs: float) -> bool:
    if math.isnan(theirs):
        return math.isnan(ours)
    return ours == theirs or abs(ours - theirs) <= TOLERANCE


def disagreements(found: list[tuple[dict[str, str], str, float, float]]) -> list[str]:
    assert len({row["pair"] for row, *_ in found}) >= 200
    return [
        f"{PAIRS[int(row['pair'])].name}, {row['region']}, {metric}: {ours}, not {theirs}"
        for row, metric, ours, theirs in found
        if not agree(ours, theirs)
    ]


def test_pairs_are_those_that_were_recorded() -> None:
    recorded = [(row["name"], row["checksum"]) for row in read("pairs")]
    assert recorded == [(pair.name, pair.checksum) for pair in PAIRS]
    assert len(recorded) >= 200


def test_voxel_surfaces_agree_with_medpy() -> None:
    found = []
    for row in read("medpy"):
        prediction, reference, spacing = masks(row)
        both, counts = MaskPair(prediction, reference, spacing), overlap(prediction, reference)
        ours = {
            "hd95_voxels": both.distances("voxels", VOXEL_UNITS).pooled_hd95,
            "hd95_mm": both.distances("voxels", spacing).pooled_hd95,
            "dice": counts.dice,
            "iou": counts.iou,
            "sensitivity": counts.sensitivity,
            "specificity": counts.specificity,
            "precision": counts.precision,
        }
        profile = scores(int(row["pair"]), "brats2020")
        ours |= {m: profile[row["region"], m] for m in ("dice", "sensitivity", "specificity", "precision")}
        assert profile[row["region"], "hd95"] == ours["hd95_voxels"]
        found += [(row, metric, value, float(row[metric])) for metric, value in ours.items()]
    assert disagreements(found) == []


def test_surface_elements_agree_with_deepmind() -> None:
    found = []
    for row in read("surface_distance"):
        prediction, reference, spacing = masks(row)
        distances = MaskPair(prediction, reference, spacing).distances("elements", spacing)
        if not distances.defined:
            assert row["hd95"] == "inf"
            assert math.isnan(distances.greater_hd95)
            continue
        ours = {
            "hd95": distances.greater_hd95,
            "to_reference": np.average(distances.from_prediction, weights=distances.prediction_weights),
            "to_prediction": np.average(distances.from_reference, weights=distances.reference_weights),
            "nsd_1": distances.dice(1.0),
            "nsd_2": distances.dice(2.0),
        }
        found += [(row, metric, float(value), float(row[metric])) for metric, value in ours.items()]
    assert disagreements(found) == []


@pytest.mark.parametrize("year", ["brats2023", "brats2024"])
def test_lesions_agree_with_a_plain_implementation(year: str) -> None:
    found = []
    for row in read(year):
        ours = scores(int(row["pair"]), f"{year}-{row['task']}")
        found += [
            (row, f"{row['task']} {metric}", ours[row["region"], metric], float(row[metric]))
            for metric in row.keys() - {"pair", "region", "task"}
        ]
    assert disagreements(found) == []


def test_lesions_agree_with_brats_evaluation() -> None:
    found = []
    for row in read("brats2026"):
        ours = scores(int(row["pair"]), "brats2026")
        for metric in row.keys() - {"pair", "region"}:
            name = "nsd_0.5voxels" if metric == "nsd" else metric
            theirs = min(float(row[metric]), 373.0) if metric.endswith("hd95") else float(row[metric])
            found.append((row, metric, ours[row["region"], name], theirs))
    assert disagreements(found) == []
