"""Measure how fast and how large gliomaseg is; write docs/speed.md, speed.json and speed-growth.png.

    python benchmarks/speed.py ../shared/data/brats                     # everything but the peers
    python benchmarks/speed.py ../shared/data/brats --only cold warm    # these anew, the others kept
    python benchmarks/speed.py ../shared/data/brats --only agreement --fold FOLD_BUNDLE
    python benchmarks/speed.py ../shared/data/brats --only peers mirrored    # after benchmarks/peers/setup.sh

Peak memory is the operating system's own account of a finished process.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

import speed_page
import stages
from gliomaseg import Segmenter, find_cases
from gliomaseg.cases.case import Case
from gliomaseg.cases.find import find_case
from gliomaseg.evaluation.metrics import dice
from gliomaseg.imaging.nifti import read_image, write_image
from gliomaseg.imaging.phantom import make_phantom, write_phantom
from gliomaseg.imaging.volume import Grid
from gliomaseg.labels import BRATS2021, Region
from gliomaseg.segmenter import ReadyCase

COMMAND = [sys.executable, "-m", "gliomaseg"]
PEERS = Path(__file__).parent / "peers"
CASE = "BraTS2021_00000"


#: Run in a small process of its own: a child begins with the peak memory of the process that starts it.
_TIMER = """
import os, subprocess, sys, time
started = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
process.returncode = 0
print(status, time.perf_counter() - started, usage.ru_maxrss)
"""


def timed(command: list[object]) -> tuple[float, float]:
    """Run a command to its end; return wall seconds and peak memory in MB."""
    timer = [sys.executable, "-S", "-c", _TIMER, *map(str, command)]
    done = subprocess.run(timer, capture_output=True, text=True, check=True)
    status, seconds, kilobytes = (float(word) for word in done.stdout.split())
    if status:
        sys.exit(done.stderr)
    return seconds, kilobytes * 1024 / 1e6


def cold(data: Path, runs: int) -> dict[str, Any]:
    """Return what stages.py measures, and the cost of starting."""
    found = stages.measure(find_cases(data / CASE)[0], runs=runs)
    for name, command in {
        "import": [sys.executable, "-c", "import gliomaseg"],
        "help": [*COMMAND, "-h"],
    }.items():
        found[name] = statistics.median(timed(list(command))[0] for _ in range(runs))
    return found


def warm(data: Path, runs: int) -> dict[str, Any]:
    """Return the seconds of a case in a loop: segmented, then saved with its picture."""
    segmenter, seconds = Segmenter.load(), []
    with tempfile.TemporaryDirectory() as folder:
        for case in islice(cycle(find_cases(data)), 4 * runs + 1):
            started = time.perf_counter()
            segmenter.segment(case).save(folder, overwrite=True)
            seconds.append(time.perf_counter() - started)
    return {"cases": len(seconds) - 1, "median": statistics.median(seconds[1:]), "all": seconds}


def cohort(data: Path, _: int) -> dict[str, Any]:
    """Return the seconds of all cases by one command, in a loop, and by a command for each."""
    cases = find_cases(data)
    with tempfile.TemporaryDirectory() as folder:
        together, _ = timed([*COMMAND, "segment", data, "-o", Path(folder, "a")])
        segmenter = Segmenter.load()
        started = time.perf_counter()
        for case in cases:
            segmenter.segment(case).save(Path(folder, "b"))
        loop = time.perf_counter() - started
        folders = [next(iter(case.images.values())).parent for case in cases]
        each = sum(timed([*COMMAND, "segment", one, "-o", Path(folder, "c")])[0] for one in folders)
    return {"cases": len(cases), "together": together, "loop": loop, "each": each}


def endurance(data: Path, _: int) -> dict[str, Any]:
    """Return the peak memory in MB of cohorts of 1, 5 and 100 cases: the same five again and again."""
    found = {}
    for count in (1, 5, 100):
        with tempfile.TemporaryDirectory() as folder:
            table = Path(folder) / "cases.csv"
            with table.open("w", newline="", encoding="utf-8") as stream:
                writer = csv.writer(stream)
                writer.writerow(["case", "t1n", "t1c", "t2w", "t2f"])
                for number, case in enumerate(islice(cycle(find_cases(data)[:5]), count)):
                    writer.writerow([f"case-{number}", *(case.images[m].resolve() for m in case.images)])
            found[str(count)] = timed([*COMMAND, "segment", table, "-o", Path(folder, "out")])[1]
    return found


def agreement(data: Path, _: int, model: str = "shipped") -> dict[str, Any]:
    """Return Dice between precisions, windows and numbers of threads, over the cases the model held out."""
    reference = Segmenter.load(model, precision="fp32")
    held_out = set(reference.bundle.about["held_out"]["cases"])
    cases = [case for case in find_cases(data) if case.id in held_out]
    ways: dict[str, tuple[Segmenter, int | None]] = {
        "fp32": (reference, None),
        "bf16": (Segmenter.load(model, precision="bf16"), None),
        "int8": (Segmenter.load(model, precision="int8"), None),
        "int8, 1 thread": (Segmenter.load(model, precision="int8", threads=1), None),
        "int8, windows of 2 million voxels": (Segmenter.load(model, precision="int8"), 2_000_000),
        "fp32, windows of 2 million voxels": (reference, 2_000_000),
    }
    pairs = [
        ("bf16", "fp32"), ("int8", "fp32"), ("int8", "bf16"), ("int8, 1 thread", "int8"),
        ("int8, windows of 2 million voxels", "int8"), ("fp32, windows of 2 million voxels", "fp32"),
    ]  # fmt: skip
    scores: dict[str, list[list[float]]] = {f"{a} and {b}": [] for a, b in pairs}
    for case in cases:
        labels = {name: _labels(segmenter, case, window) for name, (segmenter, window) in ways.items()}
        for a, b in pairs:
            masks = [[BRATS2021.mask(labels[name], region) for region in Region] for name in (a, b)]
            scores[f"{a} and {b}"].append([dice(*both) for both in zip(*masks, strict=True)])
    return {
        "cases": len(cases),
        "mean": {pair: np.mean(rows, axis=0).tolist() for pair, rows in scores.items()},
        "least": {pair: np.min(rows, axis=0).tolist() for pair, rows in scores.items()},
    }


def _labels(segmenter: Segmenter, case: Case, window: int | None) -> np.ndarray:
    ready = segmenter.prepare(case)
    if window:
        ready = ReadyCase(**{**vars(ready), "window": window})
    return segmenter.label(ready).segmentation.labels


def growth(data: Path, _: int) -> dict[str, Any]:
    """Return seconds and memory of volumes from 128^3 to 512^3 voxels, and with 1 to 4 threads."""
    sizes, threads = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        source = find_case(write_phantom(make_phantom("full"), Path(folder)))
        for side in (128, 192, 256, 320, 384, 512):
            made = _resampled(source, Path(folder) / f"cube-{side}", side)
            sizes[str(side)] = timed([*COMMAND, "segment", made, "--force", "-o", Path(folder, "out")])
        for count in (1, 2, 3, 4):
            options = ["--threads", count, "--overwrite", "-o", Path(folder, "out")]
            runs = [timed([*COMMAND, "segment", data / CASE, *options]) for _ in range(3)]
            threads[str(count)] = [statistics.median(column) for column in zip(*runs, strict=True)]
    return {"sizes": sizes, "threads": threads}


def _resampled(source: Case, folder: Path, side: int) -> Path:
    """Write the exam's nearest voxels on a cube of ``side`` voxels of 1 mm."""
    folder.mkdir()
    for modality, path in source.images.items():
        array, _ = read_image(path)
        places = [np.arange(side) * size // side for size in array.shape]
        name = folder / f"{folder.name}-{modality}.nii.gz"
        write_image(name, array[np.ix_(*places)], Grid((side, side, side), np.eye(4)))
    return folder


def peers(data: Path, _: int) -> dict[str, Any]:
    """Return the seconds and memory of nnU-Net, MONAI's bundle and gliomaseg on one case, two threads."""
    python, case = PEERS / ".venv" / "bin" / "python", data / CASE
    with tempfile.TemporaryDirectory() as folder:
        common = [case, Path(folder) / "out", "--threads", 2]
        ours = [*COMMAND, "segment", case, "--threads", 2, "--overwrite", "-o", Path(folder) / "ours"]
        return {
            "gliomaseg": [
                statistics.median(column) for column in zip(*[timed(ours) for _ in range(5)], strict=True)
            ],
            "MONAI's bundle": timed([python, PEERS / "monai_bundle.py", *common]),
            "nnU-Net without mirroring": timed([python, PEERS / "nnunet.py", *common]),
        }


def mirrored(data: Path, _: int) -> dict[str, Any]:
    """Return the seconds and memory of nnU-Net with its mirroring, two threads: ten minutes and more."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            PEERS / ".venv" / "bin" / "python",
            PEERS / "nnunet.py",
            data / CASE,
            folder,
            "--threads",
            2,
        ]
        return {"nnU-Net with mirroring": timed([*command, "--mirror"])}


SECTIONS: dict[str, Callable[..., dict[str, Any]]] = {
    f.__name__: f for f in (cold, warm, cohort, endurance, agreement, growth, peers, mirrored)
}


def main() -> None:
    """Measure the wanted sections, keep the others, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    usual = [s for s in SECTIONS if s not in ("peers", "mirrored")]
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=usual)
    parser.add_argument("--fold", default="shipped", help="bundle of a fold: its unseen cases for agreement")
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    options = parser.parse_args()
    store = options.docs / "speed.json"
    found = json.loads(store.read_text(encoding="utf-8")) if store.exists() else {}
    for name in options.only:
        load = os.getloadavg()[0]
        more = {"model": options.fold} if name == "agreement" else {}
        found[name] = SECTIONS[name](options.data, options.runs, **more)
        found[name]["measured"] = {
            "date": datetime.now(UTC).date().isoformat(),
            "load before": round(load, 1),
        }
        store.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        sys.stderr.write(f"{name} done\n")
    speed_page.write(found, options.docs)


if __name__ == "__main__":
    main()
