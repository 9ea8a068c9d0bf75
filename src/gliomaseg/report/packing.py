"""Volumes as a page holds them: turned to RAS, cropped to the brain, 8 bits, gzip. Ignorant of pages.

Voxels follow each other with x fastest. In an image 0 is background and 1 to 255 spread over its robust
range; in a label map a voxel is the number of its tissue, the same for every label scheme.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gliomaseg.imaging.gzipped import gzip_bytes
from gliomaseg.imaging.planes import turned_to_ras
from gliomaseg.imaging.volume import Affine, Box, Segmentation, Volume, filled_box
from gliomaseg.labels import LabelScheme, Tissue

Bytes3 = npt.NDArray[np.uint8]

#: The number of each tissue in a packed label map.
TISSUE_NUMBERS: Mapping[Tissue, int] = {tissue: number for number, tissue in enumerate(Tissue, start=1)}
#: The volumes of one page take at most so many bytes, before they become text; else every n-th voxel is kept.
MOST_BYTES = 7_000_000
_MARGIN = 2  # voxels
_RANGE = (0.1, 99.9)  # percentiles of the brain that become 1 and 255: hardly a voxel is cut off
_WINDOW = (1.0, 99.0)  # shown as black and white at first, as in overview.png


@dataclass(frozen=True)
class Packed:
    """The volumes of one case: gzip bytes by name, and what a page must know of them.

    ``affine`` leads from voxels of the crop to RAS+ mm; ``step`` is 1, or n where every n-th voxel is kept.
    ``first`` is the crop's first voxel in the whole image, whose shape is ``whole``.
    """

    volumes: Mapping[str, bytes]
    channels: tuple[Mapping[str, Any], ...]
    shape: tuple[int, int, int]
    affine: Affine
    step: int
    first: tuple[int, int, int]
    whole: tuple[int, int, int]


def pack(
    images: Volume | None, maps: Mapping[str, Segmentation], *, limit: int | None = MOST_BYTES
) -> Packed:
    """Return the images and label maps of one case, which share a grid, as a page holds them.

    ``maps`` has at least one label map by its name, such as ``seg``. Without ``limit`` every voxel is kept.
    """
    some = next(iter(maps.values()))
    turned, affine = turned_to_ras(some.labels, some.grid)
    labels = {name: (turned_to_ras(m.labels, m.grid)[0], _numbers(m.scheme)) for name, m in maps.items()}
    stack = [turned_to_ras(channel, images.grid)[0] for channel in images.array] if images else []
    names = [str(name) for name in images.channels] if images else []
    box = _with_margin(filled_box(*stack, *(array for array, _ in labels.values())), turned.shape)
    for step in (1, 2, 3, 4):
        cut = tuple(slice(part.start, part.stop, step) for part in box)
        channels = _pack_images([channel[cut] for channel in stack], names)
        numbers = {name: table[array[cut]] for name, (array, table) in labels.items()}
        volumes = {name: data for name, (data, _) in channels.items()}
        volumes |= {name: gzip_bytes(array.tobytes(order="F")) for name, array in numbers.items()}
        if limit is None or sum(map(len, volumes.values())) <= limit:
            break
    crop = affine.copy()
    crop[:3, 3] += affine[:3, :3] @ np.array([part.start for part in box])
    crop[:3, :3] *= step
    x, y, z = turned[cut].shape
    first = (box[0].start, box[1].start, box[2].start)
    known = tuple({"name": name, **about} for name, (_, about) in channels.items())
    return Packed(volumes, known, (x, y, z), crop, step, first, turned.shape)


def _pack_images(
    crops: Sequence[npt.NDArray[Any]], names: Sequence[str]
) -> dict[str, tuple[bytes, dict[str, Any]]]:
    def image(crop: npt.NDArray[Any]) -> tuple[bytes, dict[str, Any]]:
        grey, about = _grey(crop)
        return gzip_bytes(grey.tobytes(order="F")), about

    with ThreadPoolExecutor(2) as pool:  # each takes memory
        return dict(zip(names, pool.map(image, crops), strict=True))


def _grey(image: npt.NDArray[Any]) -> tuple[Bytes3, dict[str, Any]]:
    """Return an image (x, y, z) in 8 bits, and which intensities 1 and 255 stand for, and the window."""
    inside = image != 0
    values = image.T[inside.T][::7]  # in the order of the files, x fastest: voxels are picked sooner so
    low, high = np.percentile(values, _RANGE).tolist() if values.size else (0.0, 1.0)
    if not high > low:
        low, high = low - 1.0, low + 1.0
    grey = _levels(image, low, high) * inside
    window = np.percentile(_levels(values, low, high), _WINDOW).tolist() if values.size else [0, 255]
    return grey, {
        "low": low,
        "high": high,
        "window": [round(window[0]), max(round(window[1]), round(window[0]) + 1)],
    }


def _levels(values: npt.NDArray[Any], low: float, high: float) -> Bytes3:
    levels = values.astype(np.float32)
    levels -= low
    levels *= 254 / (high - low)
    levels += 1
    np.clip(levels, 1, 255, out=levels)
    return np.rint(levels, out=levels).astype(np.uint8)


def _numbers(scheme: LabelScheme) -> Bytes3:
    """Return the number of the tissue that each label of a scheme stands for."""
    table = np.zeros(256, dtype=np.uint8)
    for tissue, value in scheme.values.items():
        table[value] = TISSUE_NUMBERS[tissue]
    return table


def _with_margin(box: Box | None, shape: tuple[int, ...]) -> Box:
    """Return a box with a margin, within an image of that shape; all of it for none."""
    filled = box or tuple(slice(0, length) for length in shape)
    x, y, z = (
        slice(max(part.start - _MARGIN, 0), min(part.stop + _MARGIN, length))
        for part, length in zip(filled, shape, strict=True)
    )
    return x, y, z
