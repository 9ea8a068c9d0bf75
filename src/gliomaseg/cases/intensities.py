"""Faults in the intensities of one image: a background other than 0, wrapped integers, NaN."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gliomaseg.errors import ImageError, Note
from gliomaseg.imaging.volume import LARGEST

Numbers = npt.NDArray[np.generic]

#: How many of the 8 corners must hold the background value, and the least share of the image that it fills: a
#: skull-stripped brain leaves .51 to .62 of its own bounding box empty (docs/content-checks.md).
_CORNERS, _LEAST_SHARE = 6, 0.3
#: Hounsfield units of air, and the most of it in an image that is no CT: a head leaves half of a CT to air.
_AIR_HU, _MOST_AIR = (-1100.0, -900.0), 0.1
#: Wrapped images are searched in every n-th slice.
_STEP = 4
#: A jump is a step between neighbours of at least this share of the image's range.
_JUMP = 0.75
#: Of the steps across the middle of the range, this share are jumps in a wrapped image: with the brightest
#: 0.5 % to 5 % of real brains wrapped 0.59 to 1, in real images at most 0.004, clipped to 8 bits 0.036.
_WRAPPED, _FEWEST = 0.15, 30
#: Largest share of the brain's voxels that may be replaced because they are not finite.
_MOST_REPLACED = 0.05


def refuse_ct(image: Numbers, name: str) -> None:
    """Raise ImageError (E-NOTMRI) for a CT ``image`` (x, y, z): much of it is air, near -1000 HU."""
    low, high = _AIR_HU
    if image.dtype.kind == "u" or not float(image.min()) < high:
        return
    values = image.astype(np.float32)
    share = np.count_nonzero((values > low) & (values < high)) / values.size
    if share > _MOST_AIR:
        raise ImageError(
            "E-NOTMRI",
            f"{name} looks like a CT: {share:.0%} of it is near -1000 Hounsfield units, which is air",
            expected="an MRI sequence: T1, T1 with contrast, T2 or FLAIR",
            remedy="leave the CT out, or give the right file",
        )


def zero_background(image: Numbers, name: str, notes: list[Note]) -> Numbers:
    """Return ``image`` (x, y, z) with its background set to 0, and add a note; unchanged if it is 0.

    A z-score over the whole image, a mask filled with -1 and a shifted intensity all leave another
    background, but every later step reads 0 as "outside the brain". The background is the value of (nearly)
    all corners; it may be -infinity, the logarithm of 0.
    """
    values, counts = np.unique(image[np.ix_((0, -1), (0, -1), (0, -1))], return_counts=True)
    value = values[counts.argmax()]
    if value == 0 or counts.max() < _CORNERS:
        return image
    background = image == value
    if np.count_nonzero(background) < _LEAST_SHARE * background.size:
        return image
    notes.append(Note("W-BACKGROUND", f"{name} has a background of {value:g}, not 0", "it was set to 0"))
    return np.where(background, image.dtype.type(0), image)


def is_wrapped(image: Numbers) -> bool:
    """Return whether bright voxels of a signed ``image`` (x, y, z; 0 outside the brain) became negative.

    Intensities too large for their integer type leave black islands in bright tissue. Between dark and
    bright, real tissue passes through the middle of the range; wrapped values jump across it.
    """
    few = image[:, :, ::_STEP].astype(np.float32)
    brain = few != 0
    if not brain.any() or (low := float(few.min())) >= 0:
        return False
    high = float(few.max())
    jumps = crossings = 0
    for axis in (0, 1):
        values, inside = few.swapaxes(0, axis), brain.swapaxes(0, axis)
        both, bright = inside[1:] & inside[:-1], values > (low + high) / 2
        jumps += int(np.count_nonzero(both & (np.abs(values[1:] - values[:-1]) > _JUMP * (high - low))))
        crossings += int(np.count_nonzero(both & (bright[1:] != bright[:-1])))
    return jumps >= _FEWEST and jumps >= _WRAPPED * crossings


def replace_non_finite(
    image: Numbers, name: str, others: Sequence[Numbers], notes: list[Note]
) -> npt.NDArray[np.float32]:
    """Return ``image`` (x, y, z) as float32 with every voxel finite, and add a note of what was replaced.

    NaN becomes 0, or this image's median where one of ``others`` (on the same grid) shows brain. Infinite
    values and those beyond float32 become the largest or smallest finite value. Raises ImageError
    (E-VALUES) where more than 5 % of the brain is affected.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        fixed = image.astype(np.float32)
        finite = np.isfinite(fixed)
    brain = finite & (fixed != 0)
    inside = ~finite & np.logical_or.reduce([(a != 0) & (a == a) for a in others] or [~finite])
    count, kept = int(np.count_nonzero(inside)), int(np.count_nonzero(brain))
    if not kept or count > _MOST_REPLACED * (kept + count):
        raise ImageError(
            "E-VALUES",
            f"{name} has {count:,} brain voxels that are NaN, infinite or beyond {LARGEST:.1g}",
            expected=f"finite intensities in at least {1 - _MOST_REPLACED:.0%} of the brain's voxels",
            remedy="export the image again: too much of it is missing to be filled in",
        )
    values = fixed[brain]
    fixed[np.isposinf(fixed)], fixed[np.isneginf(fixed)] = values.max(), values.min()
    fixed[np.isnan(fixed) & inside] = np.median(values)
    fixed[np.isnan(fixed)] = 0
    what = f"{name} has {int(np.count_nonzero(~finite)):,} voxels that are not finite"
    notes.append(Note("W-VALUES", what, f"they were replaced, {count:,} of them inside the brain"))
    return fixed
