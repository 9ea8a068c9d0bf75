"""Is a brain mask plausible, and did it cut a tumour away? The border hardly matters; a bite out of it does.

Shape and volume are checked on the mask alone. A tumour that was cut is looked for in FLAIR: bright tissue
that goes on across the border of the mask. Bright tissue outside alone is no sign of it: fat, eyes and mucous
membranes lie within 6 mm of many brains (up to 46 ml in 16 heads with sound masks).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from gliomaseg.errors import CaseError, Note
from gliomaseg.exams.brain import BrainMask
from gliomaseg.imaging.volume import Box, filled_box, widened

Mask = npt.NDArray[np.bool_]

#: Volumes in ml that no brain has, and those that a whole one of an adult or child has: BraTS 1172 to 1747.
_IMPOSSIBLE_ML, _USUAL_ML = (500.0, 2200.0), (900.0, 2000.0)
#: Least share of the network's brain voxels in one piece.
_ONE_PIECE, _SCATTERED = 0.9, 0.6
#: Most unsure voxels, as a share of the brain's: real heads 0.19 to 0.26, knees and noise at least 0.8.
_MOST_UNSURE = 0.35
#: Least spread of the brain's intensities (5th to 95th percentile of means over 3 voxels, as a share of the
#: median) in at least one sequence: 0.25 and more in 34 real heads, 0.03 in a bottle of water.
_LEAST_SPREAD = 0.1
#: Voxels of the mask's rim that don't count for it.
_RIM = 2
#: Largest area of the last plane of a mask inside the field of view, in mm2 for each mm of its thickness:
#: brains that end by themselves have at most 400.
_FLAT_MM2 = 800.0
#: FLAIR is bright above this many standard deviations over the brain's mean; how far from the border, in mm.
_BRIGHT, _NEAR_MM = 2.0, 6.0
#: The part outside, or twice the part inside, of one bright component across the border, in ml: in 16 heads
#: with sound masks and 6 tumours in heads at most 1.0; with 5 to 7 ml of a tumour cut off 1.0 to 3.6.
_CUT_ML, _INSIDE = 1.5, 2.0
_NOWHERE = (slice(0, 1), slice(0, 1), slice(0, 1))
_SIDES = ("first", "last")


def check_brain(found: BrainMask, case_id: str) -> tuple[Note, ...]:
    """Return the notes (W-STRIP) of a brain mask of unusual volume or shape.

    Raises CaseError (E-STRIP) for a volume that no brain has, and for a mask that is scattered or unsure. An
    empty mask has a volume of 0.
    """
    ml, share = found.volume_ml, found.largest_share
    low, high = _IMPOSSIBLE_ML
    if not low <= ml <= high:
        raise _implausible(
            f"the brain found in case {case_id} has {ml:,.0f} ml", f"{low:,.0f} to {high:,.0f} ml"
        )
    if share < _SCATTERED:
        what = f"what looks like brain in case {case_id} is in pieces, the largest {share:.0%} of it"
        raise _implausible(what, "a brain in one piece")
    if found.unsure > _MOST_UNSURE:
        what = f"what looks like brain in case {case_id} is unlike any: {found.unsure:.0%} of it is unsure"
        raise _implausible(what, f"at most {_MOST_UNSURE:.0%}")
    notes = []
    if not _USUAL_ML[0] <= ml <= _USUAL_ML[1]:
        low, high = _USUAL_ML
        notes.append(
            _doubt(f"the brain found in case {case_id} has {ml:,.0f} ml, not {low:,.0f} to {high:,.0f}")
        )
    if share < _ONE_PIECE:
        what = f"{1 - share:.0%} of what looks like brain in case {case_id} was apart and left out"
        notes.append(_doubt(what))
    notes += [
        _doubt(f"the brain mask of case {case_id} ends in a plane, the {side} along axis {axis}")
        for axis, side in flat_faces(found)
    ]
    return tuple(notes)


def check_contrast(found: BrainMask, images: Iterable[npt.NDArray[np.generic]], case_id: str) -> None:
    """Raise CaseError (E-STRIP) if none of ``images`` (x, y, z) on the mask's grid shows tissues in it."""
    if all(spread(found, image) < _LEAST_SPREAD for image in images):
        what = f"what looks like brain in case {case_id} is as even as water"
        raise _implausible(what, "grey and white matter")


def spread(found: BrainMask, image: npt.NDArray[np.generic]) -> float:
    """Return the spread of an ``image`` (x, y, z) inside a mask, as a share of its median there."""
    from scipy import ndimage  # slow to import

    box = filled_box(found.mask) or _NOWHERE
    core = ndimage.binary_erosion(found.mask[box], iterations=_RIM)
    values = ndimage.uniform_filter(image[box].astype(np.float32), 3)[core]
    low, middle, high = np.percentile(values, (5, 50, 95)) if values.size else (0, 0, 0)
    return float(high - low) / max(float(middle), 1e-6)


def check_cut(found: BrainMask, flair: npt.NDArray[np.generic], case_id: str) -> tuple[Note, ...]:
    """Return a note (W-STRIP) if a mask seems to cut a tumour; ``flair`` (x, y, z) is on the mask's grid."""
    ml = cut_ml(found, flair)
    if ml <= _CUT_ML:
        return ()
    what = f"the brain mask of case {case_id} cuts through bright tissue in FLAIR ({ml:.1f} ml beyond it)"
    return (_doubt(f"{what}: perhaps a tumour"),)


def cut_ml(found: BrainMask, flair: npt.NDArray[np.generic]) -> float:
    """Return the largest volume in ml of bright FLAIR beyond the mask that goes on inside it; 0 without any.

    At most twice its volume inside counts: fat that touches the brain is not bright within.
    """
    from scipy import ndimage  # slow to import

    box = _around(found)
    mask, image = found.mask[box], flair[box].astype(np.float32)
    if not mask.any():
        return 0.0
    inside = image[mask]
    bright = image > inside.mean() + _BRIGHT * inside.std()
    spacing = found.grid.spacing
    bright &= ndimage.distance_transform_edt(~mask, spacing) <= _NEAR_MM
    bright &= ndimage.distance_transform_edt(np.pad(mask, 1), spacing)[1:-1, 1:-1, 1:-1] <= _NEAR_MM
    numbers, count = ndimage.label(bright)
    beyond = np.bincount(numbers[~mask], minlength=count + 1)[1:]
    within = np.bincount(numbers[mask], minlength=count + 1)[1:]
    return float(np.minimum(beyond, _INSIDE * within).max(initial=0)) * found.grid.voxel_ml


def flat_faces(found: BrainMask) -> list[tuple[int, str]]:
    """Return the axis, and first or last, of each side on which a mask ends in a plane inside the image."""
    grid, faces = found.grid, []
    for axis, side in enumerate(filled_box(found.mask) or ()):
        spacing = grid.spacing[axis]
        voxel_mm2 = 1000 * grid.voxel_ml / spacing
        for name, place, edge in zip(
            _SIDES, (side.start, side.stop - 1), (0, grid.shape[axis] - 1), strict=True
        ):
            area = np.count_nonzero(np.take(found.mask, place, axis)) * voxel_mm2
            if place != edge and area > _FLAT_MM2 * max(1.0, spacing):
                faces.append((axis, name))
    return faces


def _around(found: BrainMask) -> Box:
    """Return the box of a mask with room for what is near."""
    reach = math.ceil(_NEAR_MM / min(found.grid.spacing)) + 1
    return widened(filled_box(found.mask) or _NOWHERE, found.mask.shape, reach)


def _implausible(what: str, expected: str) -> CaseError:
    return CaseError(
        "E-STRIP",
        what,
        expected=f"a head of which a mask of the brain can be made: {expected}",
        remedy="check that the image shows a whole head; or give a mask of your own with --mask FILE",
    )


def _doubt(what: str) -> Note:
    return Note("W-STRIP", what, "look at its outline in the picture; --mask FILE takes another mask")
