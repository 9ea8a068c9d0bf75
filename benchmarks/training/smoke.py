"""Wall time of ``gliomaseg train DATA --smoke``: a new process and a new folder each time.

python benchmarks/training/smoke.py ../shared/data/brats
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import page


def measure(data: Path, preset: str) -> tuple[float, list[dict[str, str | float]]]:
    """Return the seconds of the whole command, and what it says of its steps."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "gliomaseg", "train", data, "-o", folder]
        started = time.perf_counter()
        found = subprocess.run(
            [*command, "--preset", preset, "--smoke", "--json"], check=True, capture_output=True, text=True
        )
        return time.perf_counter() - started, json.loads(found.stdout)["steps"]


def main() -> None:
    """Measure, print and write the page's section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--preset", default="unet3d")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    found = [measure(options.data.resolve(), options.preset) for _ in range(options.repeats)]
    steps = [step["name"] for step in found[0][1]]
    seconds = {
        name: [float(step["seconds"]) for _, run in found for step in run if step["name"] == name]
        for name in steps
    }
    total = [whole for whole, _ in found]
    cases = sum(1 for path in options.data.iterdir() if path.is_dir())
    lines = [
        f"`gliomaseg train DATA --smoke` with {options.preset} on a folder of {cases} cases, of "
        f"which it takes 4: the whole command, as a user starts it. "
        f"Medians of {options.repeats} (least to most).",
        "",
        "    python benchmarks/training/smoke.py ../shared/data/brats",
        "",
        page.machine(),
        "",
        "| | seconds |",
        "|---|---|",
        *(f"| {name} | {page.spread(values, 1)} |" for name, values in seconds.items()),
        f"| the whole command | {page.spread(total, 1)} |",
        "",
        f"**{statistics.median(total):.0f} seconds** (aim: 60 or less).",
    ]
    page.write_section("Smoke test", lines)
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
