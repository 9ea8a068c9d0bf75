"""Is any tumour lost? Brains with tumours, not trained on, inside synthetic and held-out real heads.

    python benchmarks/brain/tumours.py ../shared/data --masks runs/brain/teacher/net0

Prints, for each sequence and kind of head, Dice of the brain and the ml of tumour outside the mask: all of
it, and what is more than 3 mm below the surface of the brain (a bite, not the border).
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from heads import Head, Mask, people, read_heads
from make import KINDS
from scipy import ndimage
from transplant import SEQUENCES, Brain, put_in_shell, put_inside

from gliomaseg.exams.brain import brain_model, extract_brain
from gliomaseg.inference.hardware import cores, cpu_name

#: What is deeper below the brain's surface than this, in mm, is not its border.
_DEEP_MM = 3.0


def trials(data: Path, masks: Path) -> Iterator[tuple[str, str, Head, Mask]]:
    """Yield (sequence, kind of head, head, tumour): all in real heads, every other in a synthetic one."""
    heads = list(read_heads(data / "heads", masks, people("held_out")))
    for number, name in enumerate(people("tumours_held_out")):
        brain = Brain(data / "brats" / name)
        for sequence in SEQUENCES:
            rng = np.random.default_rng([9, number])
            if (number + SEQUENCES.index(sequence)) % 2 == 0:  # drawing a head takes two seconds
                yield sequence, "synthetic", *put_in_shell(brain, sequence, rng)
            fitting = [h for h in heads if re.search(KINDS[sequence], h.name.lower().split("-", 1)[1])]
            yield sequence, "real", *put_inside(brain, sequence, fitting[number % len(fitting)], rng)


def main() -> None:
    """Print a line for each sequence and kind of head."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--masks", type=Path, required=True)
    parser.add_argument("--model", type=Path, default=brain_model())
    parser.add_argument("--threads", type=int, default=0)
    given = parser.parse_args()
    found: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    for sequence, kind, head, tumour in trials(given.data, given.masks):
        mask = extract_brain(head.image, head.grid, threads=given.threads, model=given.model).mask
        dice = (
            2 * np.count_nonzero(mask & head.brain) / (np.count_nonzero(mask) + np.count_nonzero(head.brain))
        )
        deep = ndimage.distance_transform_edt(head.brain, head.grid.spacing) > _DEEP_MM
        lost = [np.count_nonzero(part & ~mask) * head.grid.voxel_ml for part in (tumour, tumour & deep)]
        found.setdefault((kind, sequence), []).append((dice, lost[0], lost[1]))
    print(f"{cpu_name()}, {cores()} cores, load {os.getloadavg()[0]:.1f}\n")
    print("| head | sequence | cases | mean Dice | least | tumour lost, ml: mean | most | deep: most |")
    print("|---|---|---|---|---|---|---|---|")
    for (kind, sequence), rows in sorted(found.items()):
        dice, lost, bite = np.array(rows).T
        figures = (
            f"{dice.mean():.3f} | {dice.min():.3f} | {lost.mean():.2f} | {lost.max():.2f} | {bite.max():.2f}"
        )
        print(f"| {kind} | {sequence} | {len(rows)} | {figures} |")


if __name__ == "__main__":
    main()
