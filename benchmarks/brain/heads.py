"""Real heads and their masks as cases for ``gliomaseg train --preset brain``.

    python benchmarks/brain/heads.py ../shared/data/heads -o runs/brain/cases --masks runs/brain/teacher/net0

Reads the images of the people in split.json, those held out too (the training validates on them), never those
for testing only. The mask of IMAGE.nii.gz is MASKS/PERSON__IMAGE.nii.gz where there is one, else
IMAGE_brain.nii.gz beside it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gliomaseg.exams.brain import head_volume
from gliomaseg.imaging.nifti import read_image, write_image
from gliomaseg.imaging.resample import regrid
from gliomaseg.imaging.volume import Grid, Volume, turned_grid, turned_like

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

#: The label that is WT and nothing else under BraTS 2021's scheme.
_BRAIN = 2
#: A case is stored in at least this many voxels along each axis, 0 beyond the image, so that any patch fits.
_ROOM = 112
#: The brightest voxel as stored.
_LEVELS = 30_000


class Head(NamedTuple):
    """One image of a head (x, y, z) at 2 mm, all of it above 0, and its brain."""

    name: str
    image: Floats
    brain: Mask
    grid: Grid


def people(kind: str) -> list[str]:
    """Return the people of one part of the split."""
    return list(json.loads((Path(__file__).parent / "split.json").read_text())[kind])


def read_heads(folder: Path, masks: Path, who: list[str]) -> Iterator[Head]:
    """Yield every image of some people that has a mask."""
    for person in who:
        for file in sorted((folder / person).glob("*.nii.gz")):
            mask = find_mask(file, masks)
            if mask is not None and not file.name.endswith("_brain.nii.gz"):
                name = f"{person}-{file.name.removesuffix('.nii.gz')}".replace("_", "-")
                yield read_head(name, file, mask)


def find_mask(file: Path, masks: Path) -> Path | None:
    """Return the mask of an image, a better one in ``masks`` before that of the data; None without any."""
    better = masks / f"{file.parent.name}__{file.name}"
    own = file.with_name(file.name.replace(".nii.gz", "_brain.nii.gz"))
    return next((path for path in (better, own) if path.exists()), None)


def read_head(name: str, file: Path, mask: Path) -> Head:
    """Return one image as the network sees it, with its mask."""
    array, grid = read_image(file)
    volume = head_volume(array, grid)
    inside = (read_image(mask)[0] > 0).astype(np.float32)
    turned = turned_grid(grid, volume.grid)
    share = regrid(turned_like(inside, grid, volume.grid), turned, volume.grid)
    return Head(name, volume.array[0].astype(np.float32), share >= 0.5, volume.grid)


def write_case(head: Head, folder: Path) -> None:
    """Write a head as a case of one sequence, named t1 whatever it is, with its brain as label."""
    # whole numbers from 1 on, no air of one value: nothing in the field of view counts as padding
    dither = np.random.default_rng(0).uniform(1, 30, head.image.shape)
    scaled = head.image * (_LEVELS / float(head.image.max())) + dither
    image = np.where(head.image > 0, scaled, 0).astype(np.int16)
    room = [(0, max(0, _ROOM - n)) for n in image.shape]
    x, y, z = (n + after for n, (_, after) in zip(image.shape, room, strict=True))
    grid = Grid((x, y, z), head.grid.affine)
    (folder / head.name).mkdir(parents=True, exist_ok=True)
    for name, array in (("t1", image), ("seg", _BRAIN * head.brain.astype(np.uint8))):
        write_image(folder / head.name / f"{name}.nii.gz", np.pad(array, room), grid)


def as_head(name: str, volume: Volume, brain: Mask) -> Head:
    """Return a volume of one channel as a head."""
    return Head(name, volume.array[0].astype(np.float32), brain, volume.grid)


def main() -> None:
    """Write the cases."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("heads", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--masks", type=Path, required=True)
    given = parser.parse_args()
    for head in read_heads(given.heads, given.masks, people("train") + people("held_out")):
        write_case(head, given.output)
        print(f"{head.name}: {head.image.shape}, brain {head.brain.sum() * head.grid.voxel_ml:.0f} ml")


if __name__ == "__main__":
    main()
