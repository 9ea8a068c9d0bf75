"""The second pass: the network runs again on a crop around the tumour, and on mirror images of it.

Networks learn from patches, most of them centred on a tumour: a crop around the tumour is more like these
than the whole brain is.
"""

from __future__ import annotations

import itertools

import numpy as np

from gliomaseg.imaging.volume import Box, filled_box
from gliomaseg.inference.engine import Engine
from gliomaseg.inference.postprocess import tumour_mask
from gliomaseg.inference.window import Array, infer
from gliomaseg.settings.schema import Settings

#: Voxels around the tumour, and the smallest side of the crop: of nine pairs the best over 51 cases with an
#: earlier model; with the shipped one all nine are within 0.1 points of mean Dice
#: (benchmarks/model/looks.py).
MARGIN, LEAST = 16, 112
#: The axes (x: left-right, y: back-front, z: down-up) along which the crop is mirrored, in every combination.
_AXES = {"standard": (), "best": (1, 2, 3)}


def second_pass(probabilities: Array, image: Array, engine: Engine, settings: Settings) -> None:
    """Average ``probabilities`` (region, x, y, z) around the tumour with those of a crop, in place.

    ``image`` is (modality, x, y, z). With ``inference.quality`` standard the crop is run once, with best in
    all eight mirror images. Without a tumour nothing changes.
    """
    box = filled_box(tumour_mask(probabilities, settings))
    if box is None:
        return
    axes = _AXES[settings.inference.quality]
    flips = [flip for n in range(len(axes) + 1) for flip in itertools.combinations(axes, n)]
    where = (slice(None), *_widened(box, image.shape[1:], settings.prepare.multiple))
    crop, total = image[where], probabilities[where]
    for flip in flips:
        total += np.flip(infer(np.ascontiguousarray(np.flip(crop, flip)), engine, settings), flip)
    total /= 1 + len(flips)


def _widened(box: Box, shape: tuple[int, ...], multiple: int) -> Box:
    """Return a box around ``box`` whose sides are multiples of ``multiple``, as those of ``shape`` are."""
    spans = []
    for side, size in zip(box, shape, strict=True):
        wanted = max(LEAST, side.stop - side.start + 2 * MARGIN)
        width = min(size, -(-wanted // multiple) * multiple)
        start = min(max(0, (side.start + side.stop - width) // 2), size - width)
        spans.append(slice(start, start + width))
    return spans[0], spans[1], spans[2]
