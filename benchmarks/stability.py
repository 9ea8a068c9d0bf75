"""Whether a case gets the same result however it is computed: precisions, windows, threads.

    python benchmarks/stability.py ../shared/data/brats --write docs/stability.md
    python benchmarks/stability.py ../shared/data/brats --only BraTS2021_00005 --variants int8 one-thread

Each case is segmented in fp32, the whole brain at once, with two threads; every other way of computing is
compared with that. Regions of 1 ml or more by their Dice; smaller ones by the difference of their volumes.
Finished variants are kept in runs/stability.json: the same command again goes on with the others.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gliomaseg import Segmenter, find_cases
from gliomaseg.cases.case import Case
from gliomaseg.evaluation.metrics import dice
from gliomaseg.imaging.volume import Segmentation
from gliomaseg.inference.openvino_engine import core
from gliomaseg.labels import Region
from gliomaseg.segmenter import ReadyCase

KEPT = Path("runs/stability.json")
#: From this volume on, in ml, a region is compared by its Dice.
LARGE_ML = 1.0


@dataclass(frozen=True)
class Way:
    """One way to compute a result; ``window`` in voxels, 0 for the whole brain at once."""

    precision: str = "fp32"
    window: int = 0
    threads: int = 2


WAYS = {
    "int8": Way("int8"),
    "bf16": Way("bf16"),
    "one thread": Way(threads=1),
    "two or three windows": Way(window=2_000_000),
    "windows of 0.9 million voxels": Way(window=96**3),
}


def main() -> None:
    """Compare, keep what was found, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="shipped")
    parser.add_argument("--only", nargs="+", help="Ids of cases.")
    parser.add_argument("--variants", nargs="+", choices=WAYS, metavar="NAME")
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    found: dict[str, Any] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    wanted = {name: WAYS[name] for name in options.variants or possible()}
    segmenters = {
        way: Segmenter.load(options.model, force=True, precision=way[0], threads=way[1])
        for way in {("fp32", 2), *((w.precision, w.threads) for w in wanted.values())}
    }
    for case in find_cases(options.data):
        lacking = {name: way for name, way in wanted.items() if name not in found.get(case.id, {})}
        if lacking and (not options.only or case.id in options.only):
            found.setdefault(case.id, {}).update(compared(case, segmenters, lacking))
            KEPT.parent.mkdir(exist_ok=True)
            KEPT.write_text(json.dumps(found))
            print(case.id, {name: found[case.id][name] for name in lacking}, flush=True)
    page = table(found)
    print(page)
    if options.write:
        options.write.write_text(_PAGE.format(cases=len(found), table=page), encoding="utf-8")


def possible() -> list[str]:
    """Return the ways of computing that this processor has."""
    short = "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return [name for name, way in WAYS.items() if short or way.precision != "bf16"]


def compared(
    case: Case, segmenters: dict[tuple[str, int], Segmenter], ways: dict[str, Way]
) -> dict[str, Any]:
    """Return for each way and region: ml in fp32, ml found, Dice."""
    first = segmenters["fp32", 2]
    ready = first.prepare(case)
    whole = labelled(first, ready, 0)
    return {
        name: {
            region.value: agreement(whole, other, region)
            for other in [labelled(segmenters[way.precision, way.threads], ready, way.window)]
            for region in Region
        }
        for name, way in ways.items()
    }


def labelled(segmenter: Segmenter, ready: ReadyCase, window: int) -> Segmentation:
    """Return the label map of a case in windows of so many voxels."""
    return segmenter.label(
        replace(ready, window=window or ready.prepared.image[0].size, seconds={})
    ).segmentation


def agreement(one: Segmentation, other: Segmentation, region: Region) -> list[float]:
    """Return the volume of a region in either, in ml, and the Dice of both."""
    masks = one.mask(region), other.mask(region)
    volumes = [float(np.count_nonzero(mask)) * one.grid.voxel_ml for mask in masks]
    return [*(round(v, 3) for v in volumes), round(dice(*masks), 5)]


def table(found: dict[str, Any]) -> str:
    """Return a table in Markdown: for each way the mean and the least Dice, and what is beyond the aims."""
    rows = ["| computed | region | cases | mean Dice | least Dice | smaller | difference, ml | misses |"]
    rows.append("|---|---|---|---|---|---|---|---|")
    for name in WAYS:
        cases = {case: ways[name] for case, ways in found.items() if name in ways}
        rows += [_row(name, region.value, cases) for region in Region if cases]
    return "\n".join(rows)


def _row(name: str, region: str, cases: dict[str, dict[str, list[float]]]) -> str:
    pairs = {case: values[region] for case, values in cases.items()}
    large = {case: v[2] for case, v in pairs.items() if max(v[:2]) >= LARGE_ML}
    small = {case: abs(v[0] - v[1]) for case, v in pairs.items() if max(v[:2]) < LARGE_ML}
    vanished = {case for case, v in pairs.items() if (v[0] == 0) != (v[1] == 0)}
    beyond = vanished | {c for c, d in large.items() if d < 0.97} | {c for c, d in small.items() if d > 0.05}
    scores = list(large.values()) or [float("nan")]
    cells = [
        f"{np.mean(scores):.4f}",
        f"{min(scores):.3f}",
        str(len(small)),
        f"{max(small.values(), default=0):.3f}",
    ]
    named = ", ".join(sorted(beyond)) or "-"
    return f"| {name} | {region.upper()} | {len(large)} | {' | '.join(cells)} | {named} |"


_PAGE = """# Stability: the same case, computed in different ways

Each of {cases} cases is segmented in fp32, the whole brain at once, with two threads, and in other ways: in
int8, in bf16 where the processor has it, in windows (as where memory is short), with one thread. Regions of
1 ml or more are compared by the Dice of the two results (aims: mean 0.99, least 0.97), smaller ones
(*smaller*: how many) by the largest difference of their volumes (aim: 0.05 ml); no region may appear or
vanish. *misses* names the cases that miss an aim. Written by

    python benchmarks/stability.py ../shared/data/brats --write docs/stability.md

{table}

In windows results don't reach the aims where the network is unsure of the core: a voxel can change
probabilities up to 89 voxels away ([speed](speed.md)). Fewer cases were compared, the hard ones among them.

Most of these cases were trained on: this page is about agreement, not accuracy.
A result that was computed in windows carries the note `W-WINDOW`, with the least Dice of its row, and
`run.json` says in which precision and windows it was computed. Not measured: bf16, which the processor of
these figures (AVX-512 with VNNI) does not have.
"""


if __name__ == "__main__":
    main()
