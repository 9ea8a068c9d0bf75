"""A notebook's task: unet2d on slices of T1c and FLAIR with four classes, scored on held-out patients.

    python benchmarks/training/notebook.py ../shared/data/brats --run runs/notebook2d --hours 1

Trains (or goes on with) the run, exports it, segments the patients that it did not see, scores
them with `gliomaseg evaluate`, and writes the section of docs/training-speed.md.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import page

COMMAND = [sys.executable, "-m", "gliomaseg"]
SETTINGS = (
    "network.modalities=[t1c, t2f]",
    "training.target=classes",
    "training.loss=dice_ce",
    "training.batch=4",
    "training.validate_minutes=600",
)
PARTS = {"wt": "whole tumour", "tc": "core", "et": "enhancing", "ncr": "necrosis", "ed": "oedema"}


def run(*args: object) -> None:
    """Run gliomaseg; stop with its message when it fails."""
    done = subprocess.run([*COMMAND, *map(str, args)], check=False)
    if done.returncode:
        sys.exit(done.returncode)


def main() -> None:
    """Train, export, segment, score and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--run", type=Path, default=Path("runs/notebook2d"))
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--hours", type=float, default=1.0, help="0: score the run as it is")
    options = parser.parse_args()
    changes = [word for change in SETTINGS for word in ("--set", change)]
    cache = ("--cache", options.cache) if options.cache else ()
    if options.hours:
        budget = ("--fold", 0, "--hours", options.hours)
        run("train", options.data, "-o", options.run, *cache, "--preset", "unet2d", *budget, *changes)
    bundle = options.run / "bundle"
    shutil.rmtree(bundle, ignore_errors=True)
    run("export", options.run, "-o", bundle)
    with tempfile.TemporaryDirectory() as folder:
        out, scores = Path(folder, "out"), Path(folder, "scores")
        run("segment", options.data, "--model", bundle, "--held-out", "-o", out)
        run("evaluate", out, options.data, "--predicted-only", "-o", scores)
        summary = json.loads((scores / "summary.json").read_text(encoding="utf-8"))
    with (options.run / "history.csv").open(encoding="utf-8", newline="") as stream:
        last = list(csv.DictReader(stream))[-1]
    if summary["seen_in_training"]:
        sys.exit("a case of the training set was scored")
    mean, ends = summary["mean"], summary["interval_95"]
    rows = {f"Dice, {name}": f"dice_{part}" for part, name in PARTS.items()}
    rows["mean IoU with background"] = iou = "mean_iou_with_background"
    classes = sum(mean[f"dice_{part}"] for part in ("ncr", "ed", "et")) / 3
    hours = options.hours or float(last["minutes"]) / 60
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    command = "benchmarks/training/notebook.py ../shared/data/brats --run runs/notebook2d"
    lines = [
        f"`unet2d` on axial slices of T1c and FLAIR, softmax over background, necrosis, oedema and enhancing "
        f"tumour, Dice plus cross-entropy; {last['step']} steps of 4 slices, {float(last['minutes']):.0f} "
        f"minutes of steps with {threads} thread(s). Scored on the **{summary['n']} patients that were held "
        "out**, whole volumes, rules of BraTS 2020.",
        "",
        f"    python {command} --hours {hours:.1g}",
        "",
        page.machine(),
        "",
        "| | mean | 95 % interval |",
        "|---|---|---|",
        *(
            f"| {name} | {mean[key]:.3f} | {ends[key][0]:.3f} to {ends[key][1]:.3f} |"
            for name, key in rows.items()
        ),
        "",
        f"Mean Dice of the three classes: **{100 * classes:.1f} %**, mean IoU "
        f"**{100 * mean[iou]:.1f} %**. Notebooks with this set-up report 65.5 % and 81 %, on "
        "other cases, so that the figures are not of one kind.",
    ]
    page.write_section("A notebook's task", lines)
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
