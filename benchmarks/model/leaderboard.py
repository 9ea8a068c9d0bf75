"""Every recipe that was tried, the best first: docs/leaderboard.md from the records of cross_validation.py.

    python benchmarks/model/leaderboard.py

Each record in docs/model/ is a row, and docs/model/NAME.txt a sentence about it. Rows of fewer folds are of
fewer patients: the second table compares each with the shipped model's recipe on the patients of both.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from cross_validation import NONE

from gliomaseg.evaluation.statistics import bootstrap_interval
from gliomaseg.inference.bundle import Bundle
from gliomaseg.labels import Region

ROOT = Path(__file__).parents[2]
RECORDS, PAGE = ROOT / "docs" / "model", ROOT / "docs" / "leaderboard.md"

Record = dict[str, Any]


def main() -> None:
    """Read every record, write the page."""
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in RECORDS.glob("*.json")}
    records = {name: record for name, record in found.items() if "runs" in record}
    order = sorted(records, key=lambda name: (-len(records[name]["cases"]), -mean(records[name])))
    PAGE.write_text("\n".join(page({name: records[name] for name in order})) + "\n", encoding="utf-8")


def dice(record: Record, cases: list[str] | None = None) -> np.ndarray[Any, Any]:
    """Return the Dice (case, region) with all sequences that the network knows."""
    names = cases or list(record["cases"])
    key = " ".join(next(iter(record["runs"].values()))["modalities"])
    found = [plain(record["cases"][name], key) for name in names]
    return np.array([[one[r] for r in Region] for one in found])


def plain(case: dict[str, Any], key: str) -> dict[str, float]:
    """Return the Dice of each region without post-processing, as records without any have it."""
    plain: dict[str, float] = case.get("processed", {}).get(NONE, case["dice"][key])
    return plain


def mean(record: Record) -> float:
    """Return the mean over regions and cases."""
    return float(dice(record).mean())


def page(records: dict[str, Record]) -> list[str]:
    """Return the lines of the page."""
    lines = [
        "# Leaderboard",
        "",
        "Recipes that were tried, each network on patients that it had not seen; mean Dice by the rules of "
        "BraTS 2020 with 95 % intervals (bootstrap over patients), one pass, no post-processing "
        "but that fewer than 100 voxels of enhancing tumour count as core. Written by "
        "`python benchmarks/model/leaderboard.py` from the records in [model](model/).",
        "",
        "| recipe | preset | sequences | patients (folds) | steps | hours | million parameters "
        "| GFLOP a brain | WT | TC | ET |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [row(name, record) for name, record in records.items()]
    lines += [
        "",
        "GFLOP: the convolutions of a brain of 160x192x144 voxels. Hours: of steps, over all folds.",
        "",
    ]
    for name in records:
        note = RECORDS / f"{name}.txt"
        if note.exists():
            lines.append(f"- **{name}**: {note.read_text(encoding='utf-8').strip()}")
    return [*lines, "", *against_shipped(records)]


def row(name: str, record: Record) -> str:
    """Return the row of a recipe."""
    runs = list(record["runs"].values())
    values = dice(record)
    low, high = bootstrap_interval(values)
    cells = [
        name,
        f"`{runs[0]['preset']}`",
        ", ".join(runs[0]["modalities"]),
        f"{len(values)} ({len(runs)})",
        f"{round(float(np.mean([r['steps'] for r in runs])))}",
        f"{sum(r['hours'] for r in runs):.1f}",
        f"{runs[0]['parameters'] / 1e6:.1f}",
        f"{runs[0]['gflops']:.0f}",
        *[f"{v:.3f} ({a:.3f} to {b:.3f})" for v, a, b in zip(values.mean(0), low, high, strict=True)],
    ]
    return f"| {' | '.join(cells)} |"


def against_shipped(records: dict[str, Record]) -> list[str]:
    """Return a table of differences, patient by patient, from the shipped model's recipe."""
    shipped = Bundle.load().name
    ours = records[shipped]
    lines = [
        f"## On the same patients as {shipped}",
        "",
        f"Mean difference in Dice, {shipped} minus the other, with 95 % intervals.",
        "",
        "| other | patients | WT | TC | ET |",
        "|---|---|---|---|---|",
    ]
    for name, record in records.items():
        common = sorted(set(ours["cases"]) & set(record["cases"]))
        if name == shipped or not common:
            continue
        gain = dice(ours, common) - dice(record, common)
        low, high = bootstrap_interval(gain)
        cells = [f"{v:+.3f} ({a:+.3f} to {b:+.3f})" for v, a, b in zip(gain.mean(0), low, high, strict=True)]
        lines.append(f"| {name} | {len(common)} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    main()
