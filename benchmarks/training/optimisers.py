"""The same short training with AdamW and with Muon, judged on whole cases that were held out.

python benchmarks/training/optimisers.py ../shared/data/brats --cache runs/cache
"""

from __future__ import annotations

import argparse
import csv
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import page

STEPS, LAST = 400, 100


def measure(data: Path, cache: Path, optimiser: str) -> list[str]:
    """Train from fresh weights; return the cells of a row."""
    with tempfile.TemporaryDirectory() as folder:
        settings = (f"steps={STEPS}", "patch=[64,64,64]", f"optimiser={optimiser}", "validate_minutes=600")
        command = [sys.executable, "-m", "gliomaseg", "train", data, "-o", folder, "--fold", "1"]
        for setting in settings:
            command += ["--set", f"training.{setting}"]
        subprocess.run([*command, "--cache", cache], check=True, stdout=subprocess.DEVNULL)
        with (Path(folder) / "history.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    losses = [float(row["loss"]) for row in rows if row["loss"] and int(row["step"]) > STEPS - LAST]
    whole = next(row for row in reversed(rows) if row["dice_wt"])
    dice = [f"{float(whole[f'dice_{region}']):.3f}" for region in ("wt", "tc", "et")]
    return [f"{float(rows[-1]['minutes']):.1f}", f"{statistics.mean(losses):.3f}", *dice]


def main() -> None:
    """Measure, print and write the page's section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--cache", type=Path, required=True)
    options = parser.parse_args()
    rows = {name: measure(options.data.resolve(), options.cache, name) for name in ("adamw", "muon")}
    lines = [
        f"`gliomaseg train DATA --fold 1 --set training.patch=[64,64,64] --set training.steps={STEPS} "
        "--set training.optimiser=...` with unet3d, from fresh weights; each at its own rate. Dice of whole "
        "cases of the 13 patients held out, rules of BraTS 2020, no post-processing.",
        "",
        "    python benchmarks/training/optimisers.py ../shared/data/brats --cache runs/cache",
        "",
        page.machine(),
        "",
        f"| optimiser | minutes | loss, last {LAST} steps | WT | TC | ET |",
        "|---|---|---|---|---|---|",
        *(f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()),
    ]
    page.write_section("Optimisers", lines)
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
