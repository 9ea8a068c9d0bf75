"""Whether a result should be reviewed first, and why, in words. Ignorant of files and pictures.

Rules compare what was measured with 51 expert label maps of BraTS 2018 to 2021 (docs/measurements.md). No
rule looks at the truth: a result without a reason can be wrong, and a strange one right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gliomaseg.errors import Note
from gliomaseg.imaging.planes import OBLIQUE_DEGREES, obliquity_degrees
from gliomaseg.imaging.volume import Segmentation
from gliomaseg.labels import Region
from gliomaseg.measurement.measurements import Measurements, RegionSize

#: Whole tumour in ml (14.8 to 263.8) and its lesions of 0.05 ml or more, in the 51 expert label maps.
EXPERT_WT_ML = (14, 264)
EXPERT_LESIONS = 3
#: Less whole tumour than this may well be none: no expert outlined as little as fourteen times that.
NEXT_TO_NOTHING_ML = 1
#: Of 51 expert label maps, 10 have less enhancing tumour than this share of the whole one; the core is 30 to
#: 83 % of the tumour in eight of them, 2 % in two.
LITTLE_ENHANCING = 0.02
#: The interval of a volume is wide when its upper end is so many times the lower one: not even the order of
#: magnitude is known. In 4 of 51 held-out cases for TC, with a Dice of 0.01 to 0.35.
WIDE_RANGE = 30
#: Thicker voxels than in the training data (1 mm) by more than this are said.
THICK_MM = 2.0


#: A predicted Dice below this is a grave reason: the least mean Dice between experts (BraTS: Menze et al.
#: 2015, table 4: 0.74 to 0.85), rounded down.
LEAST_DICE = 0.7
#: Notes about the images with which hardly any result can be right.
GRAVE = frozenset({"W-FORCED", "W-ALIGN", "W-UNLIKE", "W-COARSE"})


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
    """Return the reasons to look at a segmentation whose measurements are ``sizes``.

    ``notes`` are what was odd about the images. It is unreliable without any tumour, with a
    poor predicted Dice, and with one of GRAVE.
    """
    volume = sizes.volume_ml(Region.WT)
    is_mean = any(note.code == "W-MISSING" for note in notes)
    if volume == 0:
        found = ["No tumour was found. The model was made for scans that show one."]
    else:
        found = [*_volume(volume), *_parts(sizes), *_edges(segmentation), *_ranges(sizes)]
        if not (is_mean and _is_poor(sizes.region(Region.ET))):  # without T1 contrast it can't be told
            found += _enhancement(sizes)
    poor, said = _poor(sizes, is_mean=is_mean), [f"{note.what}; {note.remedy}." for note in notes]
    unreliable = volume == 0 or bool(poor) or any(note.code in GRAVE for note in notes)
    return Quality((*found, *poor, *_grid(segmentation), *said), unreliable)


def _volume(volume: float) -> list[str]:
    low, high = EXPERT_WT_ML
    if volume < NEXT_TO_NOTHING_ML:
        return [f"Next to no tumour was found: {volume:.2g} ml. The model was made for scans that show one."]
    if low <= volume <= high:
        return []
    size = "small" if volume < low else "large"
    return [
        f"The whole tumour is unusually {size}: {volume:.1f} ml; "
        f"experts outlined {low} to {high} ml in 51 cases."
    ]


def _parts(sizes: Measurements) -> list[str]:
    reasons = []
    lesions = sizes.region(Region.WT).lesions
    if lesions > EXPERT_LESIONS:
        reasons.append(
            f"The whole tumour is in {lesions} separate parts; "
            f"experts outlined at most {EXPERT_LESIONS} in 51 cases."
        )
    if sizes.side and sizes.side.name == "both" and not sizes.side.crosses_symmetry_plane:
        reasons.append(
            "There is tumour on both sides of the brain mask's symmetry plane, and no lesion crosses it."
        )
    return reasons


def _enhancement(sizes: Measurements) -> list[str]:
    if not sizes.enhancing:
        return ["Nothing enhances: of 51 cases experts outlined, 4 were so."]
    if sizes.volume_ml(Region.ET) < LITTLE_ENHANCING * sizes.volume_ml(Region.WT):
        return ["Hardly any of the tumour enhances: where its core ends is then a matter of opinion."]
    return []


def _edges(segmentation: Segmentation) -> list[str]:
    labels = segmentation.labels
    faces = [face.any() for end in (0, -1) for face in (labels[end], labels[:, end], labels[:, :, end])]
    return ["The tumour reaches the edge of the image: a part may be cut off."] if any(faces) else []


def _ranges(sizes: Measurements) -> list[str]:
    reasons = []
    for size in sizes.regions:
        if (
            size.range_ml
            and size.volume_ml > 0
            and size.range_ml[1] > WIDE_RANGE * max(size.range_ml[0], 1e-6)
        ):
            low, high = size.range_ml
            reasons.append(
                f"The model is unsure of {size.region.upper()}: "
                f"{size.volume_ml:.1f} ml, and anything from {low:.1f} to {high:.1f} ml would not surprise."
            )
    return reasons


def _poor(sizes: Measurements, *, is_mean: bool) -> list[str]:
    said = (
        "With these sequences the model is often wrong about {}: its mean Dice on unseen cases was {:.2f}."
        if is_mean
        else "The model expects to be wrong about {}: it predicts a Dice of {:.2f}."
    )
    return [said.format(size.region.upper(), size.predicted_dice) for size in sizes.regions if _is_poor(size)]


def _is_poor(size: RegionSize) -> bool:
    return size.predicted_dice is not None and size.predicted_dice < LEAST_DICE


def _grid(segmentation: Segmentation) -> list[str]:
    reasons, spacing = [], segmentation.grid.spacing
    if max(spacing) > THICK_MM:
        size = " x ".join(f"{length:.3g}" for length in spacing)
        reasons.append(f"Voxels measure {size} mm; the model was made for 1 mm.")
    degrees = obliquity_degrees(segmentation.grid)
    if degrees >= OBLIQUE_DEGREES:
        reasons.append(
            f"The scan is tilted by {degrees:.0f} degrees: letters at the edges name the nearest direction."
        )
    return reasons
