"""Small pictures of a plane with tinted voxels, as PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from gliomaseg.imaging.planes import Grey, Mask
from gliomaseg.report.strips import Colour


@dataclass(frozen=True)
class Mark:
    """The tint of some voxels: opacity 0 to 1; hatched where colour must not be the only cue."""

    colour: Colour
    opacity: float
    hatched: bool = False


def marked_png(pixels: Grey, marks: Sequence[tuple[Mark, Mask]], *, size: tuple[int, int]) -> bytes:
    """Return grey levels (rows, columns), enlarged to (width, height) and tinted, as a small PNG file.

    The masks, three at most, have the shape of ``pixels``; where they overlap the later one shows. The
    palette has 64 greys, plain and under each mark, so that every voxel has exactly its own tint.
    """
    grey = Image.fromarray(np.ascontiguousarray(pixels)).resize(size, Image.Resampling.BICUBIC)
    levels, block = np.asarray(grey) // 4, np.zeros(size[::-1], dtype=np.uint8)
    rows, columns = np.ogrid[: size[1], : size[0]]
    palette = [np.repeat(np.arange(64)[:, None] * 255 / 63, 3, axis=1)]
    for number, (mark, mask) in enumerate(marks, start=1):
        large = Image.fromarray(mask.astype(np.uint8)).resize(size, Image.Resampling.NEAREST)
        shown = ((rows + columns) % 8 < 4) | (not mark.hatched)
        block[np.asarray(large, dtype=bool) & shown] = number
        palette.append(palette[0] * (1 - mark.opacity) + np.array(mark.colour) * mark.opacity)
    picture = Image.fromarray(block * np.uint8(64) + levels)
    picture.putpalette(np.round(np.concatenate(palette)).astype(np.uint8).tobytes())
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=True)
    return stream.getvalue()
