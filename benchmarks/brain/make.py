"""Make the cases that the brain network is trained on: real heads, variants of them, tumours inside them.

    python benchmarks/brain/make.py ../shared/data -o runs/brain/cases --masks runs/brain/teacher/mean

Then: gliomaseg train runs/brain/cases -o runs/brain/run --preset brain --set "training.held_out=[...]" with
the names that this prints last. Every case depends only on its number, so that more can be added.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from heads import Head, people, read_heads, write_case
from transplant import Brain, put_in_shell, put_inside
from vary import vary

#: Kinds of sequences of the heads, by their names, that a brain's sequence is put into.
KINDS = {"t1": r"t1", "t1ce": r"t1", "t2": r"t2|pd", "flair": r"flair"}
#: Chance of a head of any other kind; of a composite, of another contrast.
_ANY_HEAD, _RECOLOURS = 0.2, 0.35


def varied(number: int, heads: list[Head]) -> Head:
    """Return a variant of one of the heads."""
    rng = np.random.default_rng([1, number])
    return vary(heads[number % len(heads)], f"varied-{number:04}", rng)


def composite(number: int, heads: list[Head], folders: list[Path]) -> Head:
    """Return a variant of a brain with a tumour inside one of the heads."""
    rng = np.random.default_rng([2, number])
    sequence = list(KINDS)[number % len(KINDS)]
    brain = Brain(folders[number // len(KINDS) % len(folders)], (sequence,))
    fitting = [head for head in heads if re.search(KINDS[sequence], head.name.lower().split("-", 1)[1])]
    among = heads if rng.random() < _ANY_HEAD else fitting
    whole, _ = put_inside(brain, sequence, among[rng.integers(len(among))], rng)
    return vary(whole, f"tumour-{number:04}", rng, recolours=_RECOLOURS)


def shell(number: int, folders: list[Path]) -> Head:
    """Return a variant of a brain with a tumour inside a synthetic head."""
    rng = np.random.default_rng([3, number])
    sequence = list(KINDS)[number % len(KINDS)]
    brain = Brain(folders[number // len(KINDS) % len(folders)], (sequence,))
    whole, _ = put_in_shell(brain, sequence, rng)
    return vary(whole, f"shell-{number:04}", rng, recolours=_RECOLOURS)


def write_new(folder: Path, name: str, make: Callable[[], Head]) -> None:
    """Write a case unless it is there."""
    if not (folder / name / "seg.nii.gz").exists():
        write_case(make(), folder)


def main() -> None:
    """Write the cases."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with heads/ and brats/")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--masks", type=Path, required=True)
    parser.add_argument("--varied", type=int, default=160)
    parser.add_argument("--tumours", type=int, default=216)
    parser.add_argument("--shells", type=int, default=120)
    given = parser.parse_args()
    heads = list(read_heads(given.data / "heads", given.masks, people("train")))
    held_out = list(read_heads(given.data / "heads", given.masks, people("held_out")))
    for head in heads + held_out:
        write_case(head, given.output)
    for number in range(given.varied):
        write_new(given.output, f"varied-{number:04}", partial(varied, number, heads))
    known = people("tumours_held_out")
    folders = sorted(f for f in (given.data / "brats").iterdir() if f.is_dir() and f.name not in known)
    for number in range(given.tumours):
        write_new(given.output, f"tumour-{number:04}", partial(composite, number, heads, folders))
    for number in range(given.shells):
        write_new(given.output, f"shell-{number:04}", partial(shell, number, folders))
    print(",".join(head.name for head in held_out))


if __name__ == "__main__":
    main()
