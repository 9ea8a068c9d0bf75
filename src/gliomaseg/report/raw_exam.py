"""How the sequences of a raw exam were brought together, in words."""

from __future__ import annotations

from collections.abc import Iterator

from gliomaseg.cases.headers import COST_OF_THICK
from gliomaseg.report.pages import TITLES
from gliomaseg.storage.record import Standardisation

#: Notes on the images that ``sentences`` covers.
IN_WORDS = frozenset({"W-MOVED", "W-THICK", "W-SPACING"})
#: Slices that are farther apart are thick.
_THICK_MM = 3.0


def sentences(found: Standardisation) -> Iterator[str]:
    """Yield how far each sequence was moved, what was taken as brain, and which slices are thick."""
    frame = TITLES.get(found.frame, found.frame)
    moved = [
        f"{TITLES.get(name, name)} moved {placed.moved_mm:.0f} mm"
        for name, placed in found.sequences.items()
        if name != found.frame
    ]
    if moved:
        yield f"Registered: {_listed(moved)} to lie on {frame}."
    if found.brain_ml is not None:
        yield (
            f"The brain was cut out of the head: {found.brain_ml:.0f} ml. Check its outline in the pictures: "
            "tumour outside it is not found."
        )
    thick = [
        f"{TITLES.get(name, name)} {max(placed.voxel_mm):.3g} mm"
        for name, placed in found.sequences.items()
        if max(placed.voxel_mm) > _THICK_MM
    ]
    if thick:
        yield f"Thick slices: {_listed(thick)}. Segmented at 1 mm; 5 mm slices cost {COST_OF_THICK}."


def _listed(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
