"""A background that is one number other than 0: found, set to 0, noted.

A z-score over the whole image, a mask filled with -1 and a shifted intensity all leave such a background.
Everything behind this reads 0 as "not brain". Ignorant of files.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gliomaseg.errors import Note

#: How many of the 8 corners must hold the number, and the least share of the image that it fills: a
#: skull-stripped brain leaves .51 to .62 of its own bounding box empty (docs/content-checks.md).
_CORNERS, _LEAST_SHARE = 6, 0.3


def zero_background(array: npt.NDArray[np.generic], name: str, notes: list[Note]) -> npt.NDArray[np.generic]:
    """Return an image (x, y, z) with its background set to 0; the image itself where it is 0 already.

    The background is the number of (nearly) all corners; -infinity, the logarithm of 0, counts as one.
    """
    values, counts = np.unique(array[np.ix_((0, -1), (0, -1), (0, -1))], return_counts=True)
    value = values[counts.argmax()]
    if value == 0 or counts.max() < _CORNERS:
        return array
    background = array == value
    if np.count_nonzero(background) < _LEAST_SHARE * background.size:
        return array
    notes.append(Note("W-BACKGROUND", f"{name} has a background of {value:g}, not 0", "it was set to 0"))
    return np.where(background, array.dtype.type(0), array)
