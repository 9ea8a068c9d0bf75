"""Volumes as a page holds them: turned to RAS, cropped to the brain, 8 bits, gzip.

Voxels are stored with x fastest. In an image 0 is background, and 1 to 255 span its robust range; in a label
map a voxel is the number of its tissue, the same for every label scheme.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gliomaseg.imaging.planes import turned_to_ras
from gliomaseg.imaging.stored_file import gzip_bytes
from gliomaseg.imaging.surroundings import Surroundings
from gliomaseg.imaging.volume import Affine, Box, Grid, Segmentation, Volume, filled_box, widened
from gliomaseg.labels import LabelScheme, Tissue
from gliomaseg.report.pages import TITLES

Bytes3 = npt.NDArray[np.uint8]

#: The number of each tissue in a packed label map.
TISSUE_NUMBERS: Mapping[Tissue, int] = {tissue: number for number, tissue in enumerate(Tissue, start=1)}
#: Most bytes of the volumes of one page, before base64; above it only every n-th voxel is kept.
MOST_BYTES = 7_000_000
_MARGIN, _HEAD_MARGIN = 2, 12  # voxels around the brain; where the head is shown, too
#: Around the brain, grey levels are rounded down to multiples of this, which halves their bytes.
_COARSE_GREY = 16
_RANGE = (0.1, 99.9)  # percentiles of the brain that become 1 and 255
_WINDOW = (1.0, 99.0)  # percentiles that are black and white at first, as in overview.png

Row = tuple[float, float, float, float]


@dataclass(frozen=True)
class Channel:
    """One sequence: the intensities of levels 1 and 255, and the levels that are black and white at first."""

    name: str
    title: str
    low: float
    high: float
    window: tuple[int, int]


@dataclass(frozen=True)
class Crop:
    """The grid of the packed volumes.

    ``affine`` maps voxels of the crop to RAS+ mm, ``spacing`` is in mm; ``step`` is 1, or n where every n-th
    voxel is kept. ``first`` is the first voxel of the crop in the whole image, whose shape is ``whole``.
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    affine: tuple[Row, Row, Row, Row]
    step: int
    first: tuple[int, int, int]
    whole: tuple[int, int, int]

    @property
    def grid(self) -> Grid:
        """Return shape and affine as a grid."""
        return Grid(self.shape, np.array(self.affine))

    def axial_slice(self, z: int) -> int:
        """Return the number of an axial slice of the crop in the whole image, counted from 1 at the feet."""
        return self.first[2] + self.step * z + 1


@dataclass(frozen=True)
class Packed:
    """The volumes of one case: gzip bytes by name, and what a page must know about them."""

    volumes: Mapping[str, bytes]
    channels: tuple[Channel, ...]
    crop: Crop


def pack(
    images: Volume | None, maps: Mapping[str, Segmentation], *, limit: int | None = MOST_BYTES
) -> Packed:
    """Return the images and label maps of one case, which share a grid, as a page holds them.

    ``maps`` holds at least one label map by name, such as ``seg``. Where the brain was cut out of heads, its
    mask is added as ``brain``, and the images show what is around it, if there is room within ``limit``.
    Without ``limit`` every voxel is kept.
    """
    some = next(iter(maps.values()))
    turned, affine = turned_to_ras(some.labels, some.grid)
    labels = {name: (turned_to_ras(m.labels, m.grid)[0], _numbers(m.scheme)) for name, m in maps.items()}
    stack = [turned_to_ras(channel, images.grid)[0] for channel in images.array] if images else []
    x, y, z = turned.shape
    filled = filled_box(*stack, *(array for array, _ in labels.values()))
    around = images.around if images else None
    margin = _HEAD_MARGIN if around else _MARGIN
    box = widened(filled or (slice(x), slice(y), slice(z)), turned.shape, margin)
    for step, with_head in [(1, True)] * bool(around) + [(step, False) for step in (1, 2, 3, 4)]:
        cut = tuple(slice(side.start, side.stop, step) for side in box)
        heads = [
            _Head(around, n, some.grid, cut) if around and with_head else None for n in range(len(stack))
        ]
        channels = _pack_images([channel[cut] for channel in stack], images.channels if images else (), heads)
        volumes = {channel.name: data for channel, data in channels}
        if around:
            mask = turned_to_ras(around.brain, some.grid)[0][cut]
            volumes["brain"] = gzip_bytes(mask.astype(np.uint8).tobytes(order="F"))
        volumes |= {
            name: gzip_bytes(table[array[cut]].tobytes(order="F")) for name, (array, table) in labels.items()
        }
        if limit is None or sum(map(len, volumes.values())) <= limit:
            break
    crop = _crop(turned[cut].shape, affine, box, step, turned.shape)
    return Packed(volumes, tuple(channel for channel, _ in channels), crop)


def _crop(
    shape: tuple[int, int, int], affine: Affine, box: Box, step: int, whole: tuple[int, int, int]
) -> Crop:
    first, own = tuple(side.start for side in box), affine.copy()
    own[:3, 3] += affine[:3, :3] @ np.array(first)
    own[:3, :3] *= step
    spacing = np.linalg.norm(own[:3, :3], axis=0).tolist()
    return Crop(shape, tuple(spacing), tuple(map(tuple, own.tolist())), step, first, whole)  # type: ignore[arg-type]


class _Head(NamedTuple):
    """What is around the brain in a channel of images on ``grid``, and which part of it a page holds."""

    around: Surroundings
    channel: int
    grid: Grid
    cut: tuple[slice, ...]

    def levels(self, low: float, high: float) -> Bytes3:
        """Return coarse levels (x, y, z) outside the brain, 0 inside."""
        few = self.around.head[self.channel]
        grey = _levels(few, low, high) // _COARSE_GREY * _COARSE_GREY * (few != 0)
        spread = turned_to_ras(self.around.spread(grey), self.grid)[0][self.cut]
        return np.asarray(spread * ~turned_to_ras(self.around.brain, self.grid)[0][self.cut])


def _pack_images(
    crops: Sequence[npt.NDArray[Any]], names: Sequence[str], heads: Sequence[_Head | None]
) -> list[tuple[Channel, bytes]]:
    with ThreadPoolExecutor(2) as pool:  # two at once, as each takes memory
        return list(pool.map(_pack_image, crops, names, heads))


def _pack_image(image: npt.NDArray[Any], name: str, head: _Head | None) -> tuple[Channel, bytes]:
    """Return an image (x, y, z) as gzip bytes of 8-bit levels."""
    inside = image != 0
    values = image.T[inside.T][::7]  # transposed to the order of the files, x fastest: selecting is faster
    low, high = np.percentile(values, _RANGE).tolist() if values.size else (0.0, 1.0)
    if not high > low:
        low, high = low - 1.0, low + 1.0
    grey = _levels(image, low, high) * inside
    if head:
        grey |= head.levels(low, high)  # 0 inside the brain, where the image is 0 outside
    black, white = np.percentile(_levels(values, low, high), _WINDOW).tolist() if values.size else (0, 255)
    window = (round(black), max(round(white), round(black) + 1))
    return Channel(str(name), TITLES.get(name, name), low, high, window), gzip_bytes(grey.tobytes(order="F"))


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
