"""How the sequences of a raw exam were brought together, in words."""

from __future__ import annotations

from collections.abc import Iterator

from gliomaseg.report.pages import TITLES
from gliomaseg.storage.record import Standardisation

#: Notes on the images that ``sentences`` covers.
IN_WORDS = frozenset({"W-MOVED"})


def sentences(found: Standardisation) -> Iterator[str]:
    """Yield how far each sequence was moved, and what was taken as brain."""
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


def _listed(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
