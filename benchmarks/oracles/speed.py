"""Time all profiles of one case of 240 x 240 x 155 voxels, and the plain lesion-wise procedure of 2023.

    PYTHONPATH=src /tmp/oracles/bin/python benchmarks/oracles/speed.py

The plain procedure is ``plain_rules.py``: our own, uncropped, as the official one, which is written alike.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np  # noqa: E402
import plain_rules  # noqa: E402
from scipy import ndimage  # noqa: E402

from gliomaseg.evaluation.rules import PROFILES, find_profile  # noqa: E402
from gliomaseg.evaluation.segmentation_pair import SegmentationPair  # noqa: E402
from gliomaseg.imaging.volume import Grid, Segmentation  # noqa: E402
from gliomaseg.labels import BRATS2024, REGION_TISSUES, Region  # noqa: E402

SHAPE = (240, 240, 155)
SPACING = (1.0, 1.0, 1.0)
REPEATS = 3


def make_case(seed: int) -> np.ndarray:
    """Return a tumour of about 130 ml in three layers, a cavity, two satellites and a few specks."""
    labels = np.zeros(SHAPE, dtype=np.uint8)
    grid = np.indices(SHAPE, dtype=np.float32)
    rough = ndimage.zoom(np.random.default_rng(1).normal(size=(13, 13, 9)), [20, 20, 20], order=1)
    own = ndimage.zoom(np.random.default_rng(seed).normal(size=(25, 25, 17)), [10, 10, 10], order=1)
    for centre, radii in (
        ((100, 130, 80), (36, 24, 15)),
        ((150, 90, 60), (9, 6, 3)),
        ((60, 160, 100), (6, 4, 0)),
    ):
        distance = np.sqrt(sum((axis - c) ** 2 for axis, c in zip(grid, centre, strict=True)))
        distance += 4 * rough[:240, :240, :155] + 1.5 * own[:240, :240, :155]
        for radius, label in zip(radii, (2, 3, 1), strict=True):
            labels[distance < radius] = label
    labels[95:105, 125:135, 75:80][labels[95:105, 125:135, 75:80] == 1] = 4
    random = np.random.default_rng(seed + 100)
    for _ in range(6):
        x, y, z = random.integers(20, 130, size=3)
        labels[x : x + 2, y : y + 2, z : z + 1] = random.integers(1, 4)
    return labels


def fastest(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """Return the shortest of a few times in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Print the times."""
    warnings.simplefilter("ignore")
    plain_rules.prepare_surface_distance()
    grid = Grid(SHAPE, np.eye(4))
    prediction, reference = (Segmentation(make_case(seed), grid, BRATS2024) for seed in (2, 3))
    for region in Region:
        print(region, *(int(m.mask(region).sum()) for m in (prediction, reference)), "voxels")

    def ours(*names: str) -> None:
        comparison = SegmentationPair(prediction, reference)
        for name in names:
            comparison.score(find_profile(name))

    def plain() -> None:
        for region in REGION_TISSUES:
            plain_rules.score_2023(prediction.mask(region), reference.mask(region), SPACING, 3, 50)

    for name in PROFILES:
        print(f"{name:14} {fastest(lambda name=name: ours(name)):7.2f} s")
    print(f"all profiles   {fastest(lambda: ours(*PROFILES)):7.2f} s")
    print(f"plain 2023     {fastest(plain, 1):7.2f} s")


if __name__ == "__main__":
    main()
