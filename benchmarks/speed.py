"""Time the command line from a cold start, and write docs/speed.md.

    python benchmarks/speed.py ../shared/data/brats/BraTS2021_00000 --write docs/speed.md

Every figure is the median of --runs fresh processes, in one run on one machine. Peak memory is the
operating system's own account of the finished process.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

IMPORT = [sys.executable, "-c", "import gliomaseg"]
COMMAND = [sys.executable, "-m", "gliomaseg"]


def timed(command: list[str]) -> tuple[float, float]:
    """Run a command to its end; return wall seconds and peak memory in MB."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    if status:
        sys.exit(process.stderr.read().decode() if process.stderr else f"{command} failed")
    if process.stderr:
        process.stderr.close()
    process.returncode = 0
    return seconds, usage.ru_maxrss * 1024 / 1e6


def median(command: list[str], runs: int) -> tuple[float, float, float, float]:
    """Return the median, least and most seconds, and the largest memory, after one run to warm up."""
    timed(command)
    results = [timed(command) for _ in range(runs)]
    seconds = [s for s, _ in results]
    return statistics.median(seconds), min(seconds), max(seconds), max(m for _, m in results)


def cpu_name() -> str:
    """Return the processor's name."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in text.splitlines() if "model name" in line), "")


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("case", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "out"
        segment = [*COMMAND, "segment", str(options.case), "-o", str(output), "--overwrite"]
        rows = {
            "`import gliomaseg`": median(IMPORT, options.runs),
            "`gliomaseg --help`": median([*COMMAND, "--help"], options.runs),
            "`gliomaseg segment`, one case, cold": median(segment, options.runs),
        }
        record = json.loads(next(output.rglob("run.json")).read_text(encoding="utf-8"))
    lines = [
        "# Speed",
        "",
        f"Medians of {options.runs} fresh processes (least to most), from the command to the files written, "
        "picture included.",
        f"{cpu_name()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"OpenVINO {record['libraries']['openvino']}, {record['precision']}; "
        f"case `{record['case']}`, 240x240x155 voxels.",
        "",
        "    python benchmarks/speed.py ../shared/data/brats/BraTS2021_00000 --write docs/speed.md",
        "",
        "| what | seconds | peak memory |",
        "|---|---|---|",
        *(f"| {k} | {m:.2f} ({a:.2f} to {b:.2f}) | {mb:.0f} MB |" for k, (m, a, b, mb) in rows.items()),
        "",
        "Seconds per stage of the last run: "
        + ", ".join(f"{stage} {seconds:.2f}" for stage, seconds in record["seconds"].items())
        + ". The rest is starting Python and importing.",
        "",
    ]
    sys.stdout.write("\n".join(lines))
    if options.write:
        options.write.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
