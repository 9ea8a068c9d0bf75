"""What changes the mask: the held-out heads with other air, noise, coil, pose, slices and field of view.

    python benchmarks/brain/robust.py ../shared/data --masks runs/brain/teacher/net0

Prints the Dice of our mask with the teacher's for each change, the mean and the least over the heads.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from heads import Head, people, read_heads
from scipy import ndimage
from vary import Rng, add_noise, rotate, shade, thicken

from gliomaseg.exams.brain import brain_model, extract_brain
from gliomaseg.imaging.volume import Grid

Change = Callable[[Head, Rng], Head]
#: Air is darker than this share of the head's 95th percentile, and connected with the image's border.
_AIR = 0.1


def _no_air(head: Head, _: Rng) -> Head:
    """Return the head with its air set to the darkest value, as by a scanner that masks it."""
    dark = np.pad(head.image < _AIR * np.percentile(head.image, 95), 1, constant_values=True)
    air = ndimage.label(dark)[0][1:-1, 1:-1, 1:-1] == 1
    return head._replace(image=np.where(air, head.image.min(), head.image))


def _cut(axis: int, low: float, high: float) -> Change:
    """Return a function that keeps the field of view between two shares of an axis."""

    def change(head: Head, _: Rng) -> Head:
        size = head.image.shape[axis]
        kept = tuple(
            slice(round(low * size), round(high * size)) if a == axis else slice(None) for a in range(3)
        )
        x, y, z = (image := head.image[kept]).shape
        return Head(head.name, image, head.brain[kept], Grid((x, y, z), head.grid.affine))

    return change


def _turned(degrees: float) -> Change:
    """Return a function that rotates about all three axes."""

    def change(head: Head, _: Rng) -> Head:
        image, brain = rotate(head.image, head.brain, np.full(3, degrees))
        image = np.where(image > 0, image, head.image.min())
        return head._replace(image=image, brain=brain)

    return change


CHANGES: dict[str, Change] = {
    "none": lambda head, _: head,
    "air set to one dark value": _no_air,
    "noise": lambda head, rng: head._replace(image=add_noise(head.image, rng)),
    "brightness of a coil, up to a factor of 2": lambda head, rng: head._replace(
        image=shade(head.image, rng)
    ),
    "slices of 3 to 7 mm along any axis": lambda head, rng: head._replace(
        image=thicken(head.image, head.grid.spacing, rng)
    ),
    "turned by 10 degrees about each axis": _turned(10),
    "turned by 20 degrees about each axis": _turned(20),
    "mirrored left and right": lambda head, _: head._replace(image=head.image[::-1], brain=head.brain[::-1]),
    "lowest third cut away": _cut(2, 0.33, 1),
    "highest quarter cut away": _cut(2, 0, 0.75),
    "a tenth of each side cut away": _cut(0, 0.1, 0.9),
}


def main() -> None:
    """Print a line for each change."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--masks", type=Path, required=True)
    parser.add_argument("--model", type=Path, default=brain_model())
    given = parser.parse_args()
    heads = list(read_heads(given.data / "heads", given.masks, people("held_out")))
    print(f"{len(heads)} heads: {', '.join(head.name for head in heads)}\n")
    print("| change | mean Dice | least |\n|---|---|---|")
    for name, change in CHANGES.items():
        scores = []
        for number, head in enumerate(heads):
            made = change(head, np.random.default_rng(number))
            mask = extract_brain(made.image, made.grid, model=given.model).mask
            both = np.count_nonzero(mask & made.brain)
            scores.append(2 * both / (np.count_nonzero(mask) + np.count_nonzero(made.brain)))
        print(f"| {name} | {np.mean(scores):.3f} | {np.min(scores):.3f} |", flush=True)


if __name__ == "__main__":
    main()
