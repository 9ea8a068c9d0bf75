"""Whether a result should be reviewed first, and the reasons.

Rules compare the measurements with 51 expert label maps of BraTS 2018 to 2021 (docs/measurements.md). No rule
knows the truth: a result without a reason can be wrong, and an unusual one right.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gliomaseg.errors import Note
from gliomaseg.imaging.volume import Segmentation
from gliomaseg.labels import Region
from gliomaseg.measurement.measurements import Measurements, RegionSize

#: Whole tumour in ml (14.8 to 263.8) and its lesions of 0.05 ml or more, in the 51 expert label maps.
EXPERT_WT_ML = (14, 264)
EXPERT_LESIONS = 3
#: Less whole tumour than this may be a false positive: the experts' smallest one is fourteen times that.
LEAST_WT_ML = 1
#: Of 51 expert label maps, 10 have less enhancing tumour than this share of the whole one; the core is 30 to
#: 83 % of the tumour in eight of them, 2 % in two.
LITTLE_ENHANCING = 0.02
#: The interval of a volume is wide when its upper end exceeds this multiple of the lower one: not even the
#: order of magnitude is known. In 4 of 51 held-out cases for TC, with a Dice of 0.01 to 0.35.
WIDE_RANGE = 30
#: Voxels longer than this are noted; those of the training data are 1 mm.
THICK_MM = 2.0
#: A predicted Dice below this makes a result unreliable: the lowest mean Dice between experts (BraTS: Menze
#: et al. 2015, table 4: 0.74 to 0.85), rounded down.
LEAST_DICE = 0.7
#: Notes on the images that make a result unreliable.
GRAVE = frozenset({"W-FORCED", "W-ALIGN", "W-UNLIKE", "W-COARSE"})
#: Notes that are no reason to look: registration is checked there and back.
_SETTLED = frozenset({"W-MOVED"})

#: A note that begins with the case, which its report need not repeat.
_OF_CASE = re.compile(r"case (?:\S+ has |.*?: )(?P<what>.+)", re.DOTALL)


@dataclass(frozen=True)
class Quality:
    """``reasons`` to review a result before its numbers are used; a grave one makes it ``unreliable``."""

    reasons: tuple[str, ...]
    unreliable: bool = False

    @property
    def name(self) -> str:
        """Return ``pass`` without any reason, else ``review``, or ``unreliable`` for a grave one."""
        return "unreliable" if self.unreliable else "review" if self.reasons else "pass"

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {"quality": self.name, "reasons": list(self.reasons)}


def judge(segmentation: Segmentation, sizes: Measurements, notes: Sequence[Note] = ()) -> Quality:
    """Return the reasons to review a segmentation with the measurements ``sizes``.

    ``notes`` are those on the images. The result is unreliable without any tumour, with a poor predicted
    Dice, and with a note of GRAVE.
    """
    is_mean = any(note.code == "W-MISSING" for note in notes)
    poor = list(_poor(sizes, is_mean=is_mean))
    has_tumour = sizes.volume_ml(Region.WT) > 0
    found = ["No tumour was found. The model was made for scans that show one."]
    if has_tumour:
        found = [*_volume(sizes), *_lesions(sizes), *_edges(segmentation), *_ranges(sizes)]
        if not (is_mean and _is_poor(sizes.region(Region.ET))):  # unknown without the T1 contrast sequence
            found += _enhancement(sizes)
    noted = [sentence(note) for note in notes if not is_settled(note)]
    unreliable = not has_tumour or bool(poor) or any(note.code in GRAVE for note in notes)
    return Quality((*found, *poor, *_grid(segmentation), *noted), unreliable)


def is_settled(note: Note) -> bool:
    """Return whether a note on the images is no reason to review a result."""
    return note.code in _SETTLED


def sentence(note: Note) -> str:
    """Return a note as a sentence without the name of the case."""
    found = _OF_CASE.fullmatch(note.what)
    what = found["what"] if found else note.what
    return f"{what[:1].upper()}{what[1:]}; {note.remedy}."


def _volume(sizes: Measurements) -> Iterator[str]:
    (low, high), volume = EXPERT_WT_ML, sizes.volume_ml(Region.WT)
    if volume < LEAST_WT_ML:
        yield f"Almost no tumour was found: {volume:.2g} ml. The model was made for scans that show one."
    elif not low <= volume <= high:
        size = "small" if volume < low else "large"
        outlined = f"experts outlined {low} to {high} ml in 51 cases"
        yield f"The whole tumour is unusually {size}: {volume:.1f} ml; {outlined}."


def _lesions(sizes: Measurements) -> Iterator[str]:
    lesions = sizes.region(Region.WT).lesions
    if lesions > EXPERT_LESIONS:
        outlined = f"experts outlined at most {EXPERT_LESIONS} in 51 cases"
        yield f"The whole tumour has {lesions} separate lesions; {outlined}."
    if sizes.side and sizes.side.name == "both" and not sizes.side.crosses_symmetry_plane:
        yield "There is tumour on both sides of the brain mask's symmetry plane, and no lesion crosses it."


def _enhancement(sizes: Measurements) -> Iterator[str]:
    if not sizes.enhancing:
        yield "Nothing enhances: this was so in 4 of 51 cases that experts outlined."
    elif sizes.volume_ml(Region.ET) < LITTLE_ENHANCING * sizes.volume_ml(Region.WT):
        yield "Less than 2 % of the tumour enhances: the boundary of its core is then a matter of opinion."


def _edges(segmentation: Segmentation) -> Iterator[str]:
    labels = segmentation.labels
    if any(face.any() for end in (0, -1) for face in (labels[end], labels[:, end], labels[:, :, end])):
        yield "The tumour reaches the edge of the image and may be cut off."


def _ranges(sizes: Measurements) -> Iterator[str]:
    for size in sizes.regions:
        low, high = size.range_ml or (0.0, 0.0)
        if size.volume_ml > 0 and high > WIDE_RANGE * max(low, 1e-6):
            volume = f"{size.volume_ml:.1f} ml, 90 % interval {low:.1f} to {high:.1f} ml"
            yield f"The volume of {size.region.upper()} is uncertain: {volume}."


def _poor(sizes: Measurements, *, is_mean: bool) -> Iterator[str]:
    for size in filter(_is_poor, sizes.regions):
        region, dice = size.region.upper(), f"{size.predicted_dice:.2f}"
        yield (
            f"With these sequences the model is often wrong about {region}: its mean Dice on unseen cases "
            f"was {dice}."
            if is_mean
            else f"The model is probably wrong about {region}: it predicts a Dice of {dice}."
        )


def _is_poor(size: RegionSize) -> bool:
    return size.predicted_dice is not None and size.predicted_dice < LEAST_DICE


def _grid(segmentation: Segmentation) -> Iterator[str]:
    spacing = segmentation.grid.spacing
    if max(spacing) > THICK_MM:
        size = " x ".join(f"{length:.3g}" for length in spacing)
        yield f"Voxels measure {size} mm; the model was made for 1 mm."
