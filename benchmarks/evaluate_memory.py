"""Show that evaluating needs no more memory for 1000 cases than for 50, and how long a full case takes.

    python benchmarks/evaluate_memory.py

Makes label maps of 60x60x40 voxels in a temporary folder and evaluates them in one process.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from gliomaseg.evaluation.evaluation import evaluate
from gliomaseg.imaging.nifti import write_image
from gliomaseg.imaging.volume import Grid

SHAPE = (60, 60, 40)


def make(folder: Path, count: int) -> None:
    """Write ``count`` pairs of label maps with three nested boxes, shifted at random."""
    grid = Grid(SHAPE, np.eye(4))
    random = np.random.default_rng(0)
    for name in ("predictions", "references"):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            labels = np.zeros(SHAPE, dtype=np.uint8)
            corner = random.integers(5, 15, 3)
            for inset, label in ((0, 2), (4, 4), (7, 1)):
                x, y, z = corner + inset
                labels[x : x + 20 - inset, y : y + 20 - inset, z : z + 18 - inset] = label
            write_image(folder / name / f"case{number:04}.nii.gz", labels, grid)


def main() -> None:
    """Evaluate 50, then 1000 cases."""
    for count in (50, 1000):
        with tempfile.TemporaryDirectory() as folder:
            make(Path(folder), count)
            started = time.perf_counter()
            evaluate(Path(folder) / "predictions", Path(folder) / "references", rules="brats2023", workers=1)
            seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
        sys.stdout.write(f"{count} cases: {seconds:.1f} s, peak memory {peak:.0f} MB\n")


if __name__ == "__main__":
    main()
