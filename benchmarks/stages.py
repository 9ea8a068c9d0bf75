"""Measure where the time of one case goes on this machine, and the least it could take (roofline.py).

    python benchmarks/stages.py CASE_FOLDER --runs 5 --threads 2

Runs ``gliomaseg segment`` in fresh processes, so that start-up counts; the seconds of each stage are in its
run.json. Prints JSON: median seconds per stage in order, their sum, ``processor`` (all cores together, which
other work on the machine hardly changes), rooflines in seconds, peak memory and the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import roofline
from gliomaseg import Segmenter, __version__, find_cases
from gliomaseg.cases.case import Case
from gliomaseg.cases.standardise import standardise
from gliomaseg.imaging.nifti import read_channels
from gliomaseg.imaging.prepare import prepare
from gliomaseg.inference import hardware
from gliomaseg.inference.openvino_engine import OpenVinoEngine
from gliomaseg.storage.result_folder import ResultFolder

START = "start-up"


def main() -> None:
    """Measure one case and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("case", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", default="0")
    parser.add_argument("--precision", default="auto")
    asked = parser.parse_args()
    options = ["--threads", asked.threads, "--precision", asked.precision]
    print(json.dumps(measure(find_cases(asked.case)[0], runs=asked.runs, options=options), indent=2))


def measure(case: Case, *, runs: int = 5, options: Sequence[str] = ()) -> dict[str, Any]:
    """Segment ``case`` in ``runs`` fresh processes, after one more that warms up the disk cache."""
    with tempfile.TemporaryDirectory() as folder:
        done = [_run(case, Path(folder), options) for _ in range(runs + 1)][1:]
    walls, processor, records = zip(*done, strict=True)
    stages = {name: [record["seconds"][name] for record in records] for name in records[0]["seconds"]}
    start = [wall - sum(r["seconds"].values()) for wall, r in zip(walls, records, strict=True)]
    segmenter = Segmenter.load(threads=records[0]["threads"], precision=records[0]["precision"])
    return {
        "gliomaseg": __version__,
        "case": case.id,
        "seconds": {name: statistics.median(found) for name, found in {START: start, **stages}.items()},
        "total": statistics.median(walls),
        "least": min(walls),
        "most": max(walls),
        "processor": statistics.median(processor),
        "rooflines": _rooflines(case, segmenter),
        "peak_memory_mb": max((r["peak_memory_mb"] for r in records if r["peak_memory_mb"]), default=None),
        "machine": _machine(segmenter),
    }


def _run(case: Case, folder: Path, options: Sequence[str]) -> tuple[float, float, dict[str, Any]]:
    """Return the wall and processor seconds of one fresh process, and its record."""
    command = [sys.executable, "-m", "gliomaseg", "segment", *_inputs(case), "--id", case.id]
    command += ["-o", str(folder), "--overwrite", *options]
    started, before = time.perf_counter(), os.times()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - started, os.times()
    spent = sum(after[2:4]) - sum(before[2:4])  # of the children
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return wall, spent, ResultFolder(folder / case.id).read()


def _inputs(case: Case) -> list[str]:
    return [part for modality, path in case.images.items() for part in (f"--{modality}", str(path))]


def _rooflines(case: Case, segmenter: Segmenter) -> dict[str, float]:
    """Return the least seconds of reading on all cores, and of the network at the engine's peak."""
    sequences = segmenter.sequences(case)
    files = [case.images[m] for m in sequences]
    inflating = roofline.fastest(lambda: [read_channels(path, [], [None]) for path in files], 3)
    rooflines = {"read": inflating / min(hardware.cores(), len(files))}
    if isinstance(segmenter.engine, OpenVinoEngine) and segmenter.settings.network.dimensions == 3:
        settings = segmenter.settings
        volume = standardise(case, sequences).volume
        image = prepare(volume, settings.prepare, settings.network.modalities).image
        work = roofline.operations(segmenter.engine, (1, *image.shape))
        rooflines["infer"] = work / roofline.peak_rate(segmenter.engine)
    return rooflines


def _machine(segmenter: Segmenter) -> dict[str, Any]:
    engine = segmenter.engine
    return {
        "processor": hardware.cpu_name(),
        "cores": hardware.cores(),
        "features": [name for name in hardware.FEATURES if name in hardware.cpu_flags()],
        "threads": segmenter.settings.inference.threads or hardware.cores(),
        "precision": engine.precision,
        "kernels": engine.kernels(),
    }


if __name__ == "__main__":
    main()
