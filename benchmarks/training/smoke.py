"""Wall time of ``gliomaseg train DATA --preset smoke`` and the export of its run, each a new process.

python benchmarks/training/smoke.py ../shared/data/brats
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import page

from gliomaseg import find_cases


def measure(data: Path) -> tuple[float, float]:
    """Return the seconds of training and of exporting, in a new folder."""
    with tempfile.TemporaryDirectory() as folder:
        run, model = Path(folder, "run"), Path(folder, "model")
        return (
            _seconds("train", data, "-o", run, "--preset", "smoke"),
            _seconds("export", run, "-o", model, "--cache", run / "cache"),
        )


def _seconds(*words: str | Path) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "gliomaseg", *words], check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    """Measure, print and write the page's section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    found = [measure(options.data.resolve()) for _ in range(options.repeats)]
    trained, exported = zip(*found, strict=True)
    total = [sum(seconds) for seconds in found]
    cases = len(find_cases(options.data))
    lines = [
        f"`gliomaseg train DATA --preset smoke` on a folder of {cases} cases, of which it uses 4, and "
        "`gliomaseg export` of its run: the whole commands, as a user starts them. "
        f"Medians of {options.repeats} (least to most).",
        "",
        "    python benchmarks/training/smoke.py ../shared/data/brats",
        "",
        page.machine(),
        "",
        "| | seconds |",
        "|---|---|",
        f"| train: prepare, plan, 8 steps, validate | {page.spread(trained, 1)} |",
        f"| export | {page.spread(exported, 1)} |",
        "",
        f"**{statistics.median(total):.0f} seconds** (aim: 60 or less).",
    ]
    page.write_section("Smoke test", lines)
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
