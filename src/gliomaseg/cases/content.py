"""What the images of a case show: a brain alone, each sequence in its place, the reference on its side.

Headers can't tell that. Every limit was measured on 51 BraTS cases and on copies of them that were spoilt
on purpose: docs/content-checks.md has the ranges. Ignorant of files.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gliomaseg.cases.alignment import alignment, groups
from gliomaseg.cases.appearance import likeness, pair_features, similarity
from gliomaseg.cases.coverage import cover, edge_notes
from gliomaseg.cases.intensities import is_wrapped
from gliomaseg.errors import CaseError, GliomasegError, Note
from gliomaseg.imaging.volume import Grid, Segmentation, Volume
from gliomaseg.labels import Modality, Region

#: Images are looked at in steps of about this many mm.
_STEP_MM = 3.0
#: Voxels that are not 0, in ml, and the part of their bounding box that they fill: real ones 1172 to
#: 1747 and 0.38 to 0.49.
_BRAIN_ML = (500.0, 2200.0)
_LARGEST_FILL = 0.7
#: A sequence with fewer different numbers than this looks like labels. Real ones have 64 or more.
_LEAST_LEVELS = 16
#: ``similarity`` of two sequences: real at most 0.956 (T1 and T1c), else 0.743; 0.996 with 15 % of noise.
_SAME, _SAME_T1 = 0.975, 0.998
#: Distance from real sequences (of each from the others: 0.2 to 1.84) beyond which a case is unlike them, and
#: beyond which it is no brain; and by which another order of so many must be nearer.
_UNLIKE, _NO_BRAIN, _BETTER_ORDER = 2.0, 4.0, {4: 0.6, 3: 1.0, 2: 2.0}
#: Least ratio of ``alignment`` by which all four hang together: real at least 1.39. And with fewer, which
#: have less to lean on: docs/content-checks.md has the pairs.
_LEAST_ALIGNED, _LEAST_OF_FEW = 1.15, 0.95
#: Least part of a reference that lies in the brain: real at least 0.998.
_LEAST_INSIDE = 0.9
#: How much darker (in quartile distances) T2 and FLAIR are in a reference than in its mirror image before it
#: is taken for mirrored: real ones are brighter, by 0.4 at least.
_DARKER, _FEWEST = 0.3, 30


class _Look(NamedTuple):
    """Every few voxels of a case: ``channels`` (t1n, t1c, t2w, t2f; x, y, z) on their coarse ``grid``."""

    case_id: str
    channels: npt.NDArray[np.generic]
    grid: Grid

    @property
    def brain(self) -> npt.NDArray[np.bool_]:
        return np.asarray(np.any(self.channels != 0, axis=0))


def check_content(volume: Volume, case_id: str, *, force: bool = False) -> Volume:
    """Return ``volume`` with what was noticed added to its notes, and padding within the brain taken out.

    Raises CaseError (E-SKULL, E-NOTBRAIN, E-WRAPPED, E-DUPLICATE, E-MODALITY-ORDER); with ``force`` these
    become notes. The fewer sequences there are, the less can be told.
    """
    look, covered = _look(volume, case_id), cover(volume, case_id)
    notes = _forced(lambda: _check_head(look), force)
    notes += _forced(lambda: _check_each(look, volume.channels), force)
    notes += _forced(lambda: _check_wrapped(look, volume), force)
    notes += _forced(lambda: _check_copies(volume, case_id), force)
    if len(volume.channels) > 1:
        notes += _forced(lambda: _check_order(look, volume.channels), force)
        notes += _forced(lambda: _check_places(look, volume.channels), force)
    return replace(covered, notes=(*covered.notes, *notes, *edge_notes(volume, case_id)))


def check_reference_content(
    volume: Volume, reference: Segmentation, case_id: str, *, force: bool = False
) -> tuple[Note, ...]:
    """Return what is odd about a reference.

    Raises CaseError (E-FLIP) if its mirror image fits better; with ``force`` that becomes a note.
    """
    mask = reference.mask(Region.WT)
    if not mask.any():
        return (Note("W-EMPTYREF", f"the reference of case {case_id} is empty", "it counts as no tumour"),)
    look = _look(volume, case_id)
    coarse = mask[tuple(_steps(volume.grid))]
    notes = _forced(lambda: _check_side(volume, look, coarse), force)
    inside = int(np.count_nonzero(coarse & look.brain)) / max(1, int(np.count_nonzero(coarse)))
    if coarse.any() and inside < _LEAST_INSIDE:
        what = f"{1 - inside:.0%} of the reference of case {case_id} lies outside the brain"
        notes.append(Note("W-OUTSIDE", what, "compare it with its images in a viewer"))
    return tuple(notes)


def _forced(check: Callable[[], list[Note]], force: bool) -> list[Note]:
    """Return what ``check`` notes; with ``force`` a refusal is a note too."""
    try:
        return check()
    except GliomasegError as error:
        if not force:
            raise
        return [Note("W-FORCED", f"{error.code}: {error.what}", "the work went on all the same")]


def _check_side(volume: Volume, look: _Look, mask: npt.NDArray[np.bool_]) -> list[Note]:
    for axis, gain in enumerate(_mirror_gains(volume, look, mask)):
        if gain > _DARKER:
            direction = ("left-right", "front-back", "top-bottom")[volume.grid.world_axis(axis)]
            raise CaseError(
                "E-FLIP",
                f"the reference of case {look.case_id} seems to be mirrored {direction}: T2 and FLAIR are "
                f"brighter in its mirror image by {gain:.1f} quartile distances",
                expected="a reference that lies on the lesion",
                remedy="compare it with its images in a viewer; mirror it back, or leave the case out",
            )
    return []


def _steps(grid: Grid) -> list[slice]:
    steps = [max(1, round(_STEP_MM / spacing)) for spacing in grid.spacing]
    return [slice((step - 1) // 2, None, step) for step in steps]


def _look(volume: Volume, case_id: str) -> _Look:
    steps = _steps(volume.grid)
    channels = np.ascontiguousarray(volume.array[(slice(None), *steps)])
    affine = volume.grid.affine.copy()
    affine[:3, :3] *= [step.step for step in steps]
    x, y, z = channels.shape[1:]
    return _Look(case_id, channels, Grid((x, y, z), affine))


def _check_head(look: _Look) -> list[Note]:
    brain = look.brain
    ml = np.count_nonzero(brain) * look.grid.voxel_ml
    spans = [np.flatnonzero(brain.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    box = math.prod(int(s[-1] - s[0]) + 1 if s.size else 0 for s in spans)
    fill = int(np.count_nonzero(brain)) / max(1, box)
    if ml < _BRAIN_ML[0]:
        raise CaseError(
            "E-NOTBRAIN",
            f"case {look.case_id} shows {ml:,.0f} ml that are not 0",
            expected=f"a human brain of at least {_BRAIN_ML[0]:,.0f} ml, whole",
            remedy="check which files were given and their voxel size, or go on with --force",
        )
    if ml > _BRAIN_ML[1] or fill > _LARGEST_FILL:
        raise CaseError(
            "E-SKULL",
            f"case {look.case_id} shows {ml:,.0f} ml that are not 0, {fill:.0%} of their box",
            expected=f"a skull-stripped brain on a background of 0: at most {_BRAIN_ML[1]:,.0f} ml, "
            f"{_LARGEST_FILL:.0%} of its box",
            remedy="remove the skull first, for example with HD-BET or SynthStrip; if that is done, set what "
            "is outside the brain to 0 and check the voxel size; or go on with --force",
        )
    return []


def _check_each(look: _Look, names: Sequence[str]) -> list[Note]:
    for name, channel in zip(names, look.channels, strict=True):
        count = len(np.unique(channel[channel != 0]))
        if count < _LEAST_LEVELS:
            raise CaseError(
                "E-NOTBRAIN",
                f"case {look.case_id}: {name} has only {count} different numbers, as labels have",
                expected=f"an image with {_LEAST_LEVELS} or more",
                remedy="check which files were given, or go on with --force",
            )
    return []


def _check_wrapped(look: _Look, volume: Volume) -> list[Note]:
    for name, coarse, image in zip(volume.channels, look.channels, volume.array, strict=True):
        if name in volume.wrapped or (coarse.min() < 0 and is_wrapped(image)):
            raise CaseError(
                "E-WRAPPED",
                f"case {look.case_id}: {name} has black islands of negative numbers (down to "
                f"{image.min():g}) in its brightest tissue",
                expected="intensities that fit their integer type",
                remedy="convert it from its source again, as float32; or add 65536 to its negative voxels if "
                "it was int16; or go on with --force",
            )
    return []


def _check_copies(volume: Volume, case_id: str) -> list[Note]:
    alike, names = similarity(volume.array, volume.grid.spacing), volume.channels
    for one, other in zip(*np.triu_indices(len(names), 1), strict=True):
        are_t1 = {names[one], names[other]} == {Modality.T1N, Modality.T1C}
        if alike[one, other] > (_SAME_T1 if are_t1 else _SAME):
            raise CaseError(
                "E-DUPLICATE",
                f"case {case_id}: {names[one]} and {names[other]} are the same image, but for scale or noise",
                expected="a different sequence in each file",
                remedy="check which files were given, or go on with --force",
            )
        if alike[one, other] > _SAME:
            what = f"case {case_id}: t1c is nearly the image that t1n is"
            return [Note("W-CONTRAST", what, "without contrast agent, enhancing tumour is not reliable")]
    return []


def _check_order(look: _Look, names: Sequence[str]) -> list[Note]:
    if not np.all(look.channels != 0, axis=0).any():
        raise CaseError(
            "E-NOTBRAIN",
            f"case {look.case_id}: its images share no voxel that is not 0",
            expected="sequences of one brain, registered to each other",
            remedy="check which files were given, or go on with --force",
        )
    known = list(Modality)
    found = likeness(pair_features(look.channels), tuple(known.index(Modality(name)) for name in names))
    if len(names) == len(known) and found.best > _NO_BRAIN:
        raise CaseError(
            "E-NOTBRAIN",
            f"case {look.case_id} is unlike a brain's sequences: distance {found.best:.1f}, real cases 1",
            expected=f"T1, T1 with contrast, T2 and FLAIR of a brain (distance at most {_NO_BRAIN:g})",
            remedy="check which files were given, or go on with --force",
        )
    if found.as_given - found.best > _BETTER_ORDER[len(names)]:
        swaps = [f"{names[given]} looks like {names[k]}" for k, given in enumerate(found.order) if given != k]
        raise CaseError(
            "E-MODALITY-ORDER",
            f"case {look.case_id}: the sequences seem to be swapped: {', '.join(swaps)}",
            expected="each sequence under its own name",
            remedy="rename the files or name them with --t1n --t1c --t2w --t2f, or go on with --force",
        )
    return _unlike(look, found.best) if len(names) == len(known) else []


def _unlike(look: _Look, distance: float) -> list[Note]:
    if distance <= _UNLIKE:
        return []
    what = f"case {look.case_id} is unlike 51 BraTS cases: distance {distance:.1f}, theirs 0.2 to 1.8"
    return [Note("W-UNLIKE", what, "the model may not know such images: look at the result closely")]


def _check_places(look: _Look, names: Sequence[str]) -> list[Note]:
    ratios = alignment(look.channels, look.grid)
    together = groups(ratios, _LEAST_ALIGNED if len(names) == len(Modality) else _LEAST_OF_FEW)
    if len(names) == len(Modality) == len(together):
        raise CaseError(
            "E-NOTBRAIN",
            f"case {look.case_id}: no two of its images have anything in common",
            expected="four sequences of one brain, registered to each other",
            remedy="check which files were given, or go on with --force",
        )
    notes = []
    for group in together[1:]:
        others = [k for k in range(len(names)) if k not in group]
        whole = " and ".join(names[k] for k in group) + (" seem" if len(group) > 1 else " seems")
        ratio = ratios[np.ix_(group, others)].max()
        what = f"case {look.case_id}: {whole} not to lie on the other sequences (ratio {ratio:.2f})"
        notes.append(
            Note("W-ALIGN", what, "compare them in a viewer; if they lie apart, register them first")
        )
    return notes


def _mirror_gains(volume: Volume, look: _Look, mask: npt.NDArray[np.bool_]) -> list[float]:
    """Return for each axis how much brighter T2 and FLAIR are where only the mirrored reference lies."""
    wanted = [m for m in (Modality.T2F, Modality.T2W) if m in volume.channels]
    brain = np.all(look.channels != 0, axis=0)
    bright = np.zeros(mask.shape)
    for modality, weight in zip(wanted, (1.0, 0.5), strict=False):
        image = look.channels[volume.channels.index(modality)].astype(np.float32)
        low, middle, high = np.percentile(image[brain], (25, 50, 75)) if brain.any() else (0, 0, 1)
        bright += weight * np.clip((image - middle) / (high - low + 1e-6), -5, 5)
    gains = []
    for axis in range(3):
        mirrored = np.flip(mask, axis)
        here, there = mask & ~mirrored & brain, mirrored & ~mask & brain
        few = min(np.count_nonzero(here), np.count_nonzero(there)) < _FEWEST
        gains.append(0.0 if few else float(bright[there].mean() - bright[here].mean()))
    return gains
