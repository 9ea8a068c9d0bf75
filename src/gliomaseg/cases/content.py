"""Check what the images show: only the brain, each sequence under its name, the reference on its side.

Headers can't reveal that. Add a new content check to ``check_content``. Every limit was measured on 51 BraTS
cases and on deliberately corrupted copies of them; docs/content-checks.md has the ranges.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gliomaseg.cases.alignment import check_alignment
from gliomaseg.cases.appearance import check_copies, check_order, not_brain
from gliomaseg.cases.coverage import check_coverage
from gliomaseg.cases.intensities import is_wrapped
from gliomaseg.errors import CaseError, GliomasegError, Note
from gliomaseg.imaging.volume import Grid, Segmentation, Volume, filled_box
from gliomaseg.labels import Modality, Region

#: Images are sampled in steps of about this many mm.
_STEP_MM = 3.0
#: Nonzero voxels, in ml, and the share of their bounding box that they fill: real cases 1172 to 1747 and
#: 0.38 to 0.49.
_BRAIN_ML = (500.0, 2200.0)
_LARGEST_FILL = 0.7
#: A sequence with fewer different values than this looks like labels. Real ones have 64 or more.
_LEAST_LEVELS = 16
#: Least share of a reference that is inside the brain: real at least 0.998.
_LEAST_INSIDE = 0.9
#: How much darker (in quartile distances) T2 and FLAIR must be in a reference than in its mirror image before
#: it counts as mirrored (real ones are at least 0.4 brighter), and the fewest voxels to compare.
_DARKER, _FEWEST = 0.3, 30


class _Coarse(NamedTuple):
    """Every few voxels of a case: ``channels`` (channel, x, y, z) on their coarse ``grid``."""

    case_id: str
    channels: npt.NDArray[np.generic]
    grid: Grid

    @property
    def brain(self) -> npt.NDArray[np.bool_]:
        return np.asarray(np.any(self.channels != 0, axis=0))


def shows_head(image: npt.NDArray[np.generic], grid: Grid) -> bool:
    """Return whether an image (x, y, z) shows more than a brain on a background of 0."""
    few = np.ascontiguousarray(image[tuple(_steps(grid))]) != 0
    steps = math.prod(step.step for step in _steps(grid))
    ml, fill = _extent(few, grid.voxel_ml * steps)
    return ml > _BRAIN_ML[1] or fill > _LARGEST_FILL


def _extent(filled: npt.NDArray[np.bool_], voxel_ml: float) -> tuple[float, float]:
    """Return the ml of the filled voxels (x, y, z), and the share of their bounding box that they fill."""
    count, box = int(np.count_nonzero(filled)), filled_box(filled)
    return count * voxel_ml, count / math.prod(side.stop - side.start for side in box) if box else 0.0


def check_content(volume: Volume, case_id: str, *, force: bool = False) -> Volume:
    """Return ``volume`` without padding inside the brain, and with the findings added to its notes.

    Raises CaseError (E-SKULL, E-NOTBRAIN, E-WRAPPED, E-DUPLICATE, E-MODALITY-ORDER); with ``force`` these
    become notes. Fewer sequences allow fewer checks.
    """
    coarse, names = _sample(volume, case_id), volume.channels
    notes = _forced(lambda: _check_head(coarse), force)
    notes += _forced(lambda: _check_levels(coarse, names), force)
    notes += _forced(lambda: _check_wrapped(coarse, volume), force)
    notes += _forced(lambda: check_copies(volume, case_id), force)
    if len(names) > 1:
        notes += _forced(lambda: check_order(coarse.channels, names, case_id), force)
        notes += _forced(lambda: check_alignment(coarse.channels, coarse.grid, names, case_id), force)
    covered = check_coverage(volume, case_id)
    return replace(covered, notes=(*covered.notes, *notes))


def check_reference_content(
    volume: Volume, reference: Segmentation, case_id: str, *, force: bool = False
) -> tuple[Note, ...]:
    """Return the notes of a reference on the grid of ``volume``.

    Raises CaseError (E-FLIP) if its mirror image fits better; with ``force`` that becomes a note.
    """
    mask = reference.mask(Region.WT)
    if not mask.any():
        return (
            Note(
                "W-EMPTYREF",
                f"the reference of case {case_id} is empty",
                "it counts as no tumour",
            ),
        )
    coarse = _sample(volume, case_id)
    few = mask[tuple(_steps(volume.grid))]
    notes = _forced(lambda: _check_side(volume, coarse, few), force)
    inside = int(np.count_nonzero(few & coarse.brain)) / max(1, int(np.count_nonzero(few)))
    if few.any() and inside < _LEAST_INSIDE:
        what = f"{1 - inside:.0%} of the reference of case {case_id} is outside the brain"
        notes.append(Note("W-OUTSIDE", what, "compare it with its images in a viewer"))
    return tuple(notes)


def _forced(check: Callable[[], list[Note]], force: bool) -> list[Note]:
    """Return the notes of ``check``; with ``force``, a refusal becomes a note."""
    try:
        return check()
    except GliomasegError as error:
        if not force:
            raise
        return [Note("W-FORCED", f"{error.code}: {error.what}", "the case was used anyway")]


def _steps(grid: Grid) -> list[slice]:
    steps = [max(1, round(_STEP_MM / spacing)) for spacing in grid.spacing]
    return [slice((step - 1) // 2, None, step) for step in steps]


def _sample(volume: Volume, case_id: str) -> _Coarse:
    steps = _steps(volume.grid)
    channels = np.ascontiguousarray(volume.array[(slice(None), *steps)])
    affine = volume.grid.affine.copy()
    affine[:3, :3] *= [step.step for step in steps]
    x, y, z = channels.shape[1:]
    return _Coarse(case_id, channels, Grid((x, y, z), affine))


def _check_head(coarse: _Coarse) -> list[Note]:
    ml, fill = _extent(coarse.brain, coarse.grid.voxel_ml)
    if ml < _BRAIN_ML[0]:
        raise not_brain(
            f"case {coarse.case_id} has only {ml:,.0f} ml of nonzero voxels",
            f"a whole human brain of at least {_BRAIN_ML[0]:,.0f} ml",
            "check which files were given and their voxel size, or continue with --force",
        )
    if ml > _BRAIN_ML[1] or fill > _LARGEST_FILL:
        raise CaseError(
            "E-SKULL",
            f"case {coarse.case_id} has {ml:,.0f} ml of nonzero voxels, which fill {fill:.0%} of their box",
            expected=f"a skull-stripped brain on a background of 0: at most {_BRAIN_ML[1]:,.0f} ml, "
            f"{_LARGEST_FILL:.0%} of its box",
            remedy="extract the brain with: gliomaseg standardise EXAM -o prepared; if the images show the "
            "brain alone, set the voxels outside to 0 and check the voxel size; or continue with --force",
        )
    return []


def _check_levels(coarse: _Coarse, names: Sequence[str]) -> list[Note]:
    for name, channel in zip(names, coarse.channels, strict=True):
        count = len(np.unique(channel[channel != 0]))
        if count < _LEAST_LEVELS:
            raise not_brain(
                f"case {coarse.case_id}: {name} has only {count} different values, like a label map",
                f"an image with {_LEAST_LEVELS} or more",
            )
    return []


def _check_wrapped(coarse: _Coarse, volume: Volume) -> list[Note]:
    for name, few, image in zip(volume.channels, coarse.channels, volume.array, strict=True):
        if name in volume.wrapped or (few.min() < 0 and is_wrapped(image)):
            raise CaseError(
                "E-WRAPPED",
                f"case {coarse.case_id}: {name} has black islands of negative values (down to "
                f"{image.min():g}) in its brightest tissue",
                expected="intensities that fit their integer type",
                remedy="convert it from its source again, as float32; or add 65536 to its negative voxels if "
                "it was int16; or continue with --force",
            )
    return []


def _check_side(volume: Volume, coarse: _Coarse, mask: npt.NDArray[np.bool_]) -> list[Note]:
    """Compare T2 and FLAIR in the reference and in its mirror image along each axis."""
    wanted = [m for m in (Modality.T2F, Modality.T2W) if m in volume.channels]
    brain = np.all(coarse.channels != 0, axis=0)
    bright = np.zeros(mask.shape)
    for modality, weight in zip(wanted, (1.0, 0.5), strict=False):
        image = coarse.channels[volume.channels.index(modality)].astype(np.float32)
        low, middle, high = np.percentile(image[brain], (25, 50, 75)) if brain.any() else (0, 0, 1)
        bright += weight * np.clip((image - middle) / (high - low + 1e-6), -5, 5)
    for axis in range(3):
        mirrored = np.flip(mask, axis)
        here, there = mask & ~mirrored & brain, mirrored & ~mask & brain
        if min(np.count_nonzero(here), np.count_nonzero(there)) < _FEWEST:
            continue
        gain = float(bright[there].mean() - bright[here].mean())
        if gain > _DARKER:
            direction = ("left-right", "front-back", "top-bottom")[volume.grid.world_axis(axis)]
            raise CaseError(
                "E-FLIP",
                f"the reference of case {coarse.case_id} seems to be mirrored {direction}: T2 and FLAIR are "
                f"brighter in its mirror image by {gain:.1f} quartile distances",
                expected="a reference that covers the lesion",
                remedy="compare it with its images in a viewer; mirror it back, or leave the case out",
            )
    return []
