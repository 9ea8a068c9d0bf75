"""Segment the cases that models were not trained on, score them, and write docs/accuracy.md.

    python benchmarks/accuracy.py ../shared/data/brats --models FOLD0 FOLD1 --write docs/accuracy.md

FOLD0 and FOLD1 are bundles (``gliomaseg export``) of folds of one recipe: each segments the cases that it has
not seen. Uses the product's own commands: `segment --held-out`, then `evaluate --predicted-only`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from gliomaseg.inference.bundle import Bundle

COMMAND = [sys.executable, "-m", "gliomaseg"]
PRECISIONS = ("auto", "int8", "bf16", "fp32")
PARTS = ("wt", "tc", "et", "ncr", "ed")


def run(*args: object) -> None:
    """Run gliomaseg; stop with its message when it fails."""
    done = subprocess.run([*COMMAND, *map(str, args)], stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        sys.exit(done.returncode)


def main() -> None:
    """Segment, score and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--models", nargs="+", required=True)
    parser.add_argument("--write", type=Path)
    parser.add_argument(
        "--precisions", nargs="*", choices=PRECISIONS[1:], default=PRECISIONS[1:], metavar="NAME"
    )
    options = parser.parse_args()
    others = options.precisions
    found = {precision: measure(options.data, options.models, precision) for precision in ("auto", *others)}
    text = "\n".join(
        [*report(*found["auto"]), *(compare({p: found[p][0] for p in others}) if others else [])]
    )
    sys.stdout.write(text)
    if options.write:
        options.write.write_text(text, encoding="utf-8")


def measure(data: Path, models: list[str], precision: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the summary of the scores of the held-out cases, and the record of one of them."""
    with tempfile.TemporaryDirectory() as folder:
        out, scores = Path(folder) / "out", Path(folder) / "scores"
        for model in models:
            run("segment", data, "--model", model, "--held-out", "--precision", precision, "-o", out)
        run("evaluate", out, data, "--predicted-only", "-o", scores)
        summary = json.loads((scores / "summary.json").read_text(encoding="utf-8"))
        record = json.loads(next(out.rglob("run.json")).read_text(encoding="utf-8"))
    if summary["seen_in_training"]:
        sys.exit("a case of the training set was scored")
    return summary, record


def shipped() -> str:
    """Return what the shipped network has seen."""
    bundle = Bundle.load()
    return f"The shipped network, `{bundle.name}`, was trained on {len(bundle.about['trained_on'])} cases."


def compare(summaries: dict[str, dict[str, Any]]) -> list[str]:
    """Return the lines about precisions."""
    rows = [
        f"| {precision} | " + " | ".join(f"{s['mean'][f'dice_{part}']:.4f}" for part in PARTS[:3]) + " |"
        for precision, s in summaries.items()
    ]
    return [
        "## Precisions",
        "",
        "Mean Dice of the same cases in each precision; above, each network has the one that its bundle uses "
        "unasked: int8, or bf16 where int8 loses more than 0.2 points in a region. "
        "How far their label maps agree with each other is in [speed](speed.md).",
        "",
        "| precision | WT | TC | ET |",
        "|---|---|---|---|",
        *rows,
        "",
    ]


def report(summary: dict[str, dict[str, dict[str, float]]], record: dict[str, dict[str, str]]) -> list[str]:
    """Return the page's lines."""
    mean, median, ends = summary["mean"], summary["median"], summary["interval_95"]
    recipe = record["model"]["name"].split("-fold")[0]
    head = [
        "# Accuracy",
        "",
        f"Of the shipped model's recipe (`{recipe}`), on **{summary['n']} cases, each segmented by a network "
        f"that had not seen it** (split by patient, before training). {shipped()} "
        "Rules: BraTS 2020 (both empty counts 1, one empty 0). "
        f"The precision is {record['precision']}; int8 is in "
        "[cross-validation](cross-validation.md), where post-processing is chosen without the case that is "
        "judged.",
        "",
        "    python benchmarks/accuracy.py ../shared/data/brats --models FOLD... --write docs/accuracy.md",
        "",
        "| Dice | mean | 95 % interval | median |",
        "|---|---|---|---|",
    ]
    names = {p: f"dice_{p}" for p in PARTS} | {"mean IoU with background": "mean_iou_with_background"}
    rows = [
        f"| {p.upper() if len(p) < 4 else p} | {mean[k]:.3f} | {ends[k][0]:.3f} to {ends[k][1]:.3f} "
        f"| {median[k]:.3f} |"
        for p, k in names.items()
    ]
    cases = ["", "| case | WT | TC | ET |", "|---|---|---|---|"]
    cases += [
        f"| {name} | {s['dice_wt']:.3f} | {s['dice_tc']:.3f} | {s['dice_et']:.3f} |"
        for name, s in summary["cases"].items()
    ]
    tail = [
        "",
        f"{summary['n']} cases are few: the interval (bootstrap over cases) says how far the mean depends on "
        "them. How these scores were used in making the model is in its [card](model-card.md).",
        "",
    ]
    return head + rows + cases + tail


if __name__ == "__main__":
    main()
