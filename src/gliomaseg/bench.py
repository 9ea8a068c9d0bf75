"""``gliomaseg bench``: where the time of one case goes on this machine, and the least that it could be.

The command itself is run in fresh processes, so that start-up counts; what each stage took is in its
``run.json``.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gliomaseg import __version__
from gliomaseg.cases.case import Case
from gliomaseg.cases.standardise import standardise
from gliomaseg.errors import GliomasegError
from gliomaseg.imaging.nifti import inflate
from gliomaseg.imaging.prepare import prepare
from gliomaseg.inference import floor, hardware
from gliomaseg.inference.openvino_engine import OpenVinoEngine
from gliomaseg.segmenter import Segmenter
from gliomaseg.storage.result_folder import ResultFolder

START = "start-up"


@dataclass(frozen=True)
class Bench:
    """Medians over fresh processes: seconds per stage in order, and floors in seconds of some of them.

    ``processor`` is the time of all cores together, which other work on the machine hardly changes.
    """

    case: str
    seconds: dict[str, float]
    total: float
    least: float
    most: float
    processor: float
    floors: dict[str, float]
    peak_memory_mb: float | None
    machine: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values, for JSON."""
        return {"gliomaseg": __version__, **asdict(self)}

    def table(self) -> list[list[str]]:
        """Return seconds and floors per stage, under a header, as text."""
        rows = [
            [stage, f"{seconds:.3f}", f"{self.floors[stage]:.3f}" if stage in self.floors else ""]
            for stage, seconds in self.seconds.items()
        ]
        return [["stage", "seconds", "floor"], *rows, ["all", f"{self.total:.3f}", ""]]

    def notes(self) -> list[str]:
        """Return in words what the figures were measured on."""
        kernels = ", ".join(f"{name} ({count})" for name, count in self.machine["kernels"].items())
        features = " ".join(self.machine["features"])
        return [
            f"{self.machine['processor']}, {self.machine['cores']} cores, {features}",
            f"{self.machine['threads']} threads, {self.machine['precision']}; convolutions by {kernels}",
            f"least {self.least:.2f} s, most {self.most:.2f} s; {self.processor:.2f} s of processor time; "
            f"peak memory {self.peak_memory_mb} MB",
        ]


def bench(
    case: Case,
    *,
    runs: int = 5,
    options: Sequence[str] = (),
    progress: Callable[[float, str], None] = lambda _fraction, _text: None,
) -> Bench:
    """Segment ``case`` in ``runs`` fresh processes and one more to warm up the disk's cache.

    ``options`` are those of ``gliomaseg segment``, such as ``--threads 1``. Raises GliomasegError when the
    command fails.
    """
    runs_done = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(runs + 1):
            progress(number / (runs + 2), f"run {number} of {runs}")
            runs_done.append(_run(case, Path(folder), options))
    walls, processor, records = zip(*runs_done[1:], strict=True)
    progress(0.95, "measuring floors")
    stages = {name: [record["seconds"][name] for record in records] for name in records[0]["seconds"]}
    start = [wall - sum(r["seconds"].values()) for wall, r in zip(walls, records, strict=True)]
    segmenter = Segmenter.load(threads=records[0]["threads"], precision=records[0]["precision"])
    return Bench(
        case.id,
        {name: statistics.median(found) for name, found in {START: start, **stages}.items()},
        statistics.median(walls),
        min(walls),
        max(walls),
        statistics.median(processor),
        _floors(case, segmenter),
        max((r["peak_memory_mb"] for r in records if r["peak_memory_mb"]), default=None),
        _machine(segmenter),
    )


def _run(case: Case, folder: Path, options: Sequence[str]) -> tuple[float, float, dict[str, Any]]:
    """Return the wall and processor seconds of one fresh process, and its record."""
    command = [sys.executable, "-m", "gliomaseg", "segment", *_inputs(case), "--id", case.id]
    command += ["-o", str(folder), "--overwrite", *options]
    started, before = time.perf_counter(), os.times()
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (our own)
    wall, after = time.perf_counter() - started, os.times()
    spent = sum(after[2:4]) - sum(before[2:4])  # of the children
    if done.returncode:
        raise GliomasegError(
            "E-INTERNAL",
            f"gliomaseg segment failed: {done.stderr.strip()}",
            remedy="put right what it says, then repeat",
        )
    return wall, spent, ResultFolder(folder / case.id).read()


def _inputs(case: Case) -> list[str]:
    return [part for modality, path in case.images.items() for part in (f"--{modality}", str(path))]


def _floors(case: Case, segmenter: Segmenter) -> dict[str, float]:
    """Return the least seconds of reading on all cores, and of the network at the engine's peak."""
    sequences = segmenter.sequences(case)
    files = [case.images[m] for m in sequences]
    inflating = floor.fastest(lambda: [inflate(path) for path in files], 3)
    floors = {"read": inflating / min(hardware.cores(), len(files))}
    if isinstance(segmenter.engine, OpenVinoEngine) and segmenter.settings.network.dimensions == 3:
        settings = segmenter.settings
        volume = standardise(case, sequences).volume
        image = prepare(volume, settings.prepare, settings.network.modalities).image
        work = floor.operations(segmenter.engine, (1, *image.shape))
        floors["infer"] = work / floor.peak_rate(segmenter.engine)
    return floors


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
