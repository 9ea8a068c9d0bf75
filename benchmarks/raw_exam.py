"""A raw exam through ``gliomaseg segment``: seconds by stage, memory, and Dice with a reference elsewhere.

    python benchmarks/raw_exam.py ../shared/data/raw/TCGA-FG-6692 --times 3

The command runs in a process of its own, ``--times`` times. The reference, an automatic fusion of other
programs, lies on an atlas; the T1 it was drawn on is registered to the exam's T1, and our regions are
brought there. The load is printed: a busy machine has no figures.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from gliomaseg.cases.find import find_case
from gliomaseg.cases.standardise import Standardised
from gliomaseg.exams.register import register
from gliomaseg.imaging.nifti import Voxels, read_image, read_labels
from gliomaseg.imaging.resample import regrid
from gliomaseg.imaging.volume import Grid, Segmentation, Volume
from gliomaseg.labels import BRATS2021, Modality, Region
from gliomaseg.segmenter import Segmenter

#: What the prototype reached with HD-BET's network, and what is asked.
ASKED = {Region.WT: 0.85, Region.TC: 0.88, Region.ET: 0.82}


def run(exam: Path, out: Path, options: list[str]) -> dict[str, float]:
    """Segment once in a new process; return wall and CPU seconds, peak memory, and the stages of run.json."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "gliomaseg", "segment", str(exam), "-o", str(out), "--native", "all"]
    process = subprocess.Popen(
        [*command, "--keep-standardised", "--overwrite", *options], stdout=subprocess.DEVNULL
    )
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, _memory_of(process.pid))
        time.sleep(0.05)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        raise SystemExit(f"segment ended with {process.returncode}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    record = json.loads((out / exam.name / "run.json").read_text())
    return {"wall": wall, "cpu": cpu, "peak_gb": peak / 1e9, **record["seconds"]}


def _memory_of(pid: int) -> float:
    """Return the resident bytes of a process and its children (Linux)."""
    total = 0.0
    for each in (pid, *_children(pid)):
        try:
            total += int(Path(f"/proc/{each}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except OSError:
            continue
    return total


def _children(pid: int) -> list[int]:
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(c) for t in threads for c in (t / "children").read_text().split()]
    except OSError:
        return []


def in_the_space_of_the_reference(exam: Path, images: Volume, ours: Segmentation) -> dict[Region, float]:
    """Return the Dice of each region of our label map, on the grid of ``images``, with the reference."""
    reference = read_labels(exam / "reference" / "automatic_fusion_sri24.nii.gz", BRATS2021)
    atlas, atlas_grid = read_image(exam / "reference" / "t1n_sri24_stripped.nii.gz")
    t1 = images.array[images.channels.index(Modality.T1N)]
    rigid = register(Voxels(atlas, atlas_grid, ""), Voxels(t1, ours.grid, ""))
    placed = Grid(ours.grid.shape, np.linalg.inv(rigid.matrix) @ ours.grid.affine)
    found = {}
    for region in Region:
        mask, wanted = regrid(ours.mask(region), placed, reference.grid) >= 0.5, reference.mask(region)
        both, total = np.count_nonzero(mask & wanted), np.count_nonzero(mask) + np.count_nonzero(wanted)
        found[region] = 2 * both / total
    return found


def mask_agreement(exam: Path, found: Standardised) -> dict[Modality, float]:
    """Return the Dice of our brain mask with the reference mask of each sequence, on its own grid."""
    scores = {}
    for modality in found.natives:
        wanted, _ = read_image(exam / "reference" / f"{modality}_brain.nii.gz")
        mask = found.restore(np.asarray(found.brain, np.float32), modality) > 0.5
        both, total = np.count_nonzero(mask & (wanted > 0)), np.count_nonzero(mask) + np.count_nonzero(wanted)
        scores[modality] = 2 * both / total
    return scores


def main() -> None:
    """Print the seconds of each run, their medians, and the agreement with the reference."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("exam", type=Path)
    parser.add_argument("--times", type=int, default=3)
    given, options = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = []
        for _ in range(given.times):
            print("load", Path("/proc/loadavg").read_text().split()[0], end="  ")
            runs.append(run(given.exam, Path(folder), options))
            print("  ".join(f"{name} {value:.2f}" for name, value in runs[-1].items()))
        print("median", "  ".join(f"{name} {np.median([r[name] for r in runs]):.2f}" for name in runs[0]))
        result = Segmenter.load().segment(find_case(given.exam))
        found = in_the_space_of_the_reference(given.exam, result.images, result.standardised)
        for region, dice in found.items():
            print(f"{region}  Dice {dice:.3f} with the automatic fusion (asked {ASKED[region]})")
        for modality, dice in mask_agreement(given.exam, result.exam).items():
            print(f"brain mask on {modality}  Dice {dice:.3f} with HD-BET's")


if __name__ == "__main__":
    main()
