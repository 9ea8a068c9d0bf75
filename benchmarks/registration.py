"""How well sequences are registered, and whether failures and other people's sequences are noticed.

    python benchmarks/registration.py ../shared/data --write docs/registration.md

BraTS cases: T1, T2 and FLAIR are turned by 5 to 20 degrees, shifted by 5 to 30 mm, averaged to slices of 5 mm
and registered to the T1 with contrast at 1 mm; the truth is that movement (on the challenge's registration).
Heads: a sequence is registered to another of the same person as it is, and again after it is moved likewise,
in slices as thick as before; the truth is the first result moved likewise. Strangers: pairs of two people.
Goes on where it was stopped: what is known is kept in runs/registration.json.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from gliomaseg.errors import CaseError
from gliomaseg.exams.register import LEAST_ALIKE, register
from gliomaseg.imaging.nifti import Voxels, read_channels
from gliomaseg.imaging.resample import regrid
from gliomaseg.imaging.volume import Grid

Matrix = npt.NDArray[np.float64]
KEPT = Path("runs/registration.json")
#: How many cases, each with three trials; how many trials of heads, and pairs of strangers.
CASES, HEADS, STRANGERS = 10, 30, 20
#: An error of more mm, as a mean over the head, is a failure.
FAILED_MM = 2.0
#: Why it is done so: what was measured once, while it was made.
CHOICES = """\
## Choices

- **Resolution.** 24 trials on four BraTS cases, of the moved image or both in slices of 5 mm: stopping at 4
  mm (100x50x0), as the first version did, is off by 0.91 mm in the mean, biased, so that there and back
  agree on it; ten rounds at 2 mm halve that (0.50) at twice the time. What counts is how fine the images
  are, not how many voxels are compared: every second voxel along each axis of the fixed image is as exact
  (0.59 against 0.56 in 12 trials) in less than half the time. A mask of the head is worse.
- **One thread, one process per pair.** Greedy is no faster with two threads, differs then by up to 0.04 mm,
  and holds the interpreter's lock; a process of its own takes 0.2 s to start, and several run at once.
- **Likeness.** There and back alone refuse two thirds of pairs of two people (41 of 60). The others differ
  in how much mutual information they lose by a shift of 6 mm: at most 1.21 times, against 1.31 and more
  within a person.

## Limits

Stripped brains of two people have been aligned in outline by stripping, and are not always refused. Errors
below 0.5 mm are also those of the challenge's own registration. The limit of likeness was 1.35, set on
other pairs, until one pair of heads above (1.31) was refused. Pathology that deforms the brain between
two sequences (surgery) was not tried.
""".splitlines()


class Trial(NamedTuple):
    """A pair to be registered: its name, a function that loads it, and the true matrix."""

    name: str
    load: Callable[[], tuple[Voxels, Voxels, Matrix | None]]


def main() -> None:
    """Run every trial that is not known yet, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    known = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
    for group, trials in (
        ("cases", cases(options.data)),
        ("heads", heads(options.data)),
        ("strangers", strangers(options.data)),
    ):
        for trial in trials:
            if trial.name not in known:
                known[trial.name] = {"group": group, **measured(trial)}
                KEPT.parent.mkdir(exist_ok=True)
                KEPT.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
                sys.stdout.write(f"{trial.name} {known[trial.name]}\n")
                sys.stdout.flush()
    if options.write:
        options.write.write_text("\n".join(page(known)) + "\n", encoding="utf-8")


def measured(trial: Trial) -> dict[str, Any]:
    """Return what became of a trial: its error in mm over the head, likeness and seconds, or E-REGISTER."""
    fixed, moving, truth = trial.load()
    before, start = cpu_seconds(), time.perf_counter()
    try:
        found = register(fixed, moving)
    except CaseError as error:
        record: dict[str, Any] = {"refused": error.what}
    else:
        record = {"there_and_back": round(found.there_and_back_mm, 3), "likeness": found.likeness}
        if truth is not None:
            wrong = apart(found.matrix, truth, fixed)
            record |= {"mean": round(float(wrong.mean()), 3), "max": round(float(wrong.max()), 3)}
    seconds = {"cpu_s": cpu_seconds() - before, "s": time.perf_counter() - start}
    return record | {name: round(value, 2) for name, value in seconds.items()}


def cpu_seconds() -> float:
    """Return the seconds that this process and its ended children have computed."""
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, who))


def apart(found: Matrix, truth: Matrix, image: Voxels) -> Matrix:
    """Return how many mm apart two matrices place each bright voxel of ``image`` (some of them)."""
    some = image.array[::4, ::4, :: 4 if image.grid.spacing[2] < 2 else 1]
    steps = np.array([4, 4, 4 if image.grid.spacing[2] < 2 else 1])
    places = np.argwhere(some > 0.1 * np.percentile(some, 99.5)) * steps
    points = image.grid.affine @ np.c_[places, np.ones(len(places))].T
    return np.asarray(np.linalg.norm(((found - truth) @ points)[:3], axis=0))


def movement(random: np.random.Generator, centre: Matrix) -> Matrix:
    """Return a turn about ``centre`` by 5 to 20 degrees, and a shift by 5 to 30 mm, in any direction."""
    axis, way = random.normal(size=(2, 3))
    matrix = np.eye(4)
    turn = np.radians(random.uniform(5, 20)) * axis / np.linalg.norm(axis)
    matrix[:3, :3] = Rotation.from_rotvec(turn).as_matrix()
    matrix[:3, 3] = random.uniform(5, 30) * way / np.linalg.norm(way) + centre - matrix[:3, :3] @ centre
    return matrix


def middle(grid: Grid) -> Matrix:
    """Return the centre of a field of view in RAS mm."""
    return np.asarray((grid.affine @ [*(np.array(grid.shape) - 1) / 2, 1])[:3])


def thick(image: Voxels, matrix: Matrix, slices_mm: int = 5) -> Voxels:
    """Return ``image`` as it is acquired after ``matrix`` moved the patient: the means of ``slices_mm``."""
    half = np.array([110, 120, 100])
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    affine[:3, 3] = middle(image.grid) - affine[:3, :3] @ (half - 0.5)
    x, y, z = (2 * int(n) for n in half)
    fine = regrid(image.array, image.grid, Grid((x, y, z), np.linalg.inv(matrix) @ affine))
    slabs = affine @ np.diag([1.0, 1.0, slices_mm, 1.0])
    slabs[2, 3] += (slices_mm - 1) / 2
    grid = Grid((x, y, z // slices_mm), slabs)
    return Voxels(regrid(fine, Grid((x, y, z), affine), grid), grid, "")


def turned(image: Voxels, matrix: Matrix) -> Voxels:
    """Return ``image`` in its own slices after ``matrix`` moved the patient; nothing is cut off."""
    grid = image.grid
    wide = np.ceil(30 / np.array(grid.spacing)).astype(int)
    affine = grid.affine.copy()
    affine[:3, 3] -= affine[:3, :3] @ wide
    x, y, z = (int(n) for n in np.array(grid.shape) + 2 * wide)
    there = Grid((x, y, z), np.linalg.inv(matrix) @ affine)
    return Voxels(regrid(image.array, grid, there), Grid((x, y, z), affine), "")


def read(path: Path) -> Voxels:
    """Return the image of a file."""
    return read_channels(path, [], [None])[0]


def cases(data: Path) -> Iterator[Trial]:
    """Yield three trials of each of some BraTS cases."""
    folders = sorted(path for path in (data / "brats").iterdir() if path.is_dir())
    chosen = np.random.default_rng(0).choice(len(folders), CASES, replace=False)
    for folder, name in itertools.product([folders[k] for k in chosen], ("t1", "t2", "flair")):
        label = f"{folder.name} {name}"

        def load(
            folder: Path = folder, name: str = name, label: str = label
        ) -> tuple[Voxels, Voxels, Matrix]:
            fixed, moving = (read(folder / f"{folder.name}_{n}.nii.gz") for n in ("t1ce", name))
            truth = movement(np.random.default_rng(list(label.encode())), middle(moving.grid))
            return fixed, thick(moving, truth), truth

        yield Trial(label, load)


def people(data: Path) -> dict[str, list[Path]]:
    """Return the head images of each person."""
    found: dict[str, list[Path]] = {}
    for path in sorted([*data.glob("heads/*/*.nii.gz"), *data.glob("raw/*/*.nii.gz")]):
        if not path.name.endswith("_brain.nii.gz"):
            several = path.name.split("_")[0] if path.parent.name == "niivue" else ""
            found.setdefault(path.parent.name + several, []).append(path)
    return found


def heads(data: Path) -> Iterator[Trial]:
    """Yield trials of pairs of sequences of one person; the first pairs twice."""
    pairs = [pair for paths in people(data).values() for pair in itertools.combinations(paths, 2)]
    for count, (one, other) in enumerate((pairs * 2)[:HEADS]):
        label = f"{one.parent.name} {one.name} {other.name} {count // len(pairs)}"

        def load(one: Path = one, other: Path = other, label: str = label) -> tuple[Voxels, Voxels, Matrix]:
            fixed, moving = read(one), read(other)
            moved = movement(np.random.default_rng(list(label.encode())), middle(moving.grid))
            truth = moved @ register(fixed, moving).matrix
            return fixed, turned(moving, moved), truth

        yield Trial(label, load)


def strangers(data: Path) -> Iterator[Trial]:
    """Yield pairs of images of two people."""
    known, random = people(data), np.random.default_rng(2)
    for count in range(STRANGERS):
        one, other = (known[name] for name in random.choice(sorted(known), 2, replace=False))
        pair = one[random.integers(len(one))], other[random.integers(len(other))]
        names = " / ".join(f"{path.parent.name} {path.name}" for path in pair)
        yield Trial(f"strangers {count}: {names}", lambda pair=pair: (read(pair[0]), read(pair[1]), None))


def page(known: dict[str, Any]) -> list[str]:
    """Return the page."""
    lines = [
        "# Registration",
        "",
        "Written by",
        "",
        "    python benchmarks/registration.py ../shared/data --write docs/registration.md",
        "",
        f"on {os.cpu_count()} {platform.machine()} cores beside other work (load {os.getloadavg()[2]:.0f}). "
        "Errors are in mm over the head. BraTS cases: T1, T2 and FLAIR in slices of 5 mm onto T1 with "
        "contrast, turned by 5 to 20 degrees and shifted by 5 to 30 mm; the truth is that movement. Heads: "
        "two sequences of one person, before and after such a movement: repeatability. A failure is "
        f"E-REGISTER, or a mean above {FAILED_MM:g} mm, which is unnoticed.",
        "",
        "| images | trials | mean | worst mean | worst | there and back | failures | unnoticed | CPU s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for group in ("cases", "heads"):
        rows = [row for row in known.values() if row["group"] == group]
        done = [row for row in rows if "mean" in row]
        bad = [row for row in done if row["mean"] > FAILED_MM]
        worst = [max(row[key] for row in done) for key in ("mean", "max", "there_and_back")]
        cells = [
            group,
            len(rows),
            *(f"{value:.2f}" for value in (np.mean([r["mean"] for r in done]), *worst)),
        ]
        cells += [len(rows) - len(done) + len(bad), len(bad), f"{np.median([r['cpu_s'] for r in rows]):.1f}"]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    rows = [row for row in known.values() if row["group"] == "strangers"]
    refused = [row for row in rows if "refused" in row]
    alike = [row for row in refused if "another head" in row["refused"]]
    least = min(row["likeness"] for row in known.values() if "mean" in row and row["likeness"])
    return [
        *lines,
        "",
        f"Sequences of two people: {len(refused)} of {len(rows)} refused (E-REGISTER), {len(alike)} of them "
        "because they are not alike, the others because there and back differ. The least likeness in the "
        f"trials above is {least:.2f}; the limit, {LEAST_ALIKE:g}, is not blind: see Limits.",
        "",
        *CHOICES,
    ]


if __name__ == "__main__":
    main()
