"""Small pictures of an axial slice: a lesion with its RANO lines, a case's thumbnail. Door: Pillow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from PIL import Image, ImageDraw

from gliomaseg.imaging.planes import (
    PLANES,
    VIEW,
    View,
    find_view,
    grey_levels,
    sample_of,
    slice_ras,
    window_of,
    zoom_on,
)
from gliomaseg.imaging.prepare import orientation_of
from gliomaseg.imaging.volume import Segmentation, Volume
from gliomaseg.labels import MODALITY_TITLES, Modality, Region
from gliomaseg.measurement.measurements import Lesion
from gliomaseg.report.picture import TEXT, enlarged, font, jpeg, outlines, png, require

Pixel = tuple[float, float]

AXIAL = PLANES[0]
_LEAST_MM = 80.0  # a close-up shows at least so much, so that one can tell where it is
_RIM = 26
THUMBNAIL = 112  # pixels along the longer side


def rano_png(
    images: Volume, segmentation: Segmentation, lesion: Lesion, *, view: View | None = None
) -> bytes:
    """Return a PNG of the axial slice in which a lesion was measured, its two lines drawn to scale.

    T1 with contrast where there is any; FLAIR, then the first channel, otherwise. ``view`` is what
    ``view_of`` returns, to spare finding it again.
    Raises UsageError (E-USAGE) without a channel, CaseError (E-GRID) when the two grids differ.
    """
    require(images, segmentation)
    first = Modality.T1C if lesion.enhancing_ml > 0 else Modality.T2F
    channel = _channel(images, (first, Modality.T1C, Modality.T2F))
    view, window = view or view_of(images, segmentation), _window(images, channel)
    centre = (*view.centre[:2], lesion.diameters.slice)
    view = replace(
        zoom_on(view, segmentation.mask(Region.WT), grid=images.grid, least_mm=_LEAST_MM), centre=centre
    )
    width, height = view.size(AXIAL)
    page = Image.new("RGB", (VIEW + 2 * _RIM, VIEW + 2 * _RIM))
    left, top = (page.width - width) // 2, (page.height - height) // 2
    page.paste(_slice(images, segmentation, channel, view, window), (left, top))
    draw = ImageDraw.Draw(page)
    lines = (lesion.diameters.longest, lesion.diameters.perpendicular)
    for line in lines:
        ends = [_pixel(end, view, (left, top)) for end in line.ends]
        draw.line(ends, (0, 0, 0), 5)
        draw.line(ends, (255, 255, 255), 2)
    labels = label_spots([[_pixel(end, view, (left, top)) for end in line.ends] for line in lines])
    for line, (place, anchor) in zip(lines, labels, strict=True):
        words, white = f"{line.length_mm:.1f} mm", (255, 255, 255)
        draw.text(place, words, white, font(18), anchor=anchor, stroke_width=3, stroke_fill=(0, 0, 0))
    middle, half = page.width // 2, _RIM // 2
    spots = ((middle, half), (middle, page.height - half), (half, middle), (page.width - half, middle))
    for letter, spot in zip(AXIAL.letters, spots, strict=True):
        draw.text(spot, letter, TEXT, font(18), anchor="mm")
    title = MODALITY_TITLES.get(Modality(images.channels[channel]), "") if _is_known(images, channel) else ""
    draw.text((8, half), title, TEXT, font(16), anchor="lm")
    return png(page.quantize(128))


def label_spots(lines: Sequence[Sequence[Pixel]]) -> list[tuple[Pixel, str]]:
    """Return where the lengths of two lines are written, by their ends, and Pillow's anchor of each.

    The first stands above its upper end, the second beyond that of its ends which lies farther from there.
    """
    first = min(lines[0], key=lambda end: end[1])
    second = max(lines[1], key=lambda end: (round(math.dist(end, first)), end[1]))
    below = second[1] > first[1]
    spot = (second[0], second[1] + (4 if below else -4))
    return [((first[0], first[1] - 4), "mb"), (spot, "mt" if below else "mb")]


def thumbnail_jpeg(images: Volume, segmentation: Segmentation, *, view: View | None = None) -> bytes:
    """Return a small JPEG of the axial slice with the most tumour, outlined."""
    require(images, segmentation)
    channel = _channel(images, (Modality.T1C, Modality.T2F))
    view, window = view or view_of(images, segmentation), _window(images, channel)
    page = _slice(images, segmentation, channel, view, window)
    page.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    return jpeg(page, quality=82)


def view_of(images: Volume, segmentation: Segmentation) -> View:
    """Return the crop and the planes of a case's small pictures; raises as ``rano_png``."""
    require(images, segmentation)
    turn = orientation_of(images.grid.affine)
    return find_view([sample_of(image, turn) for image in images.array], segmentation)


def _window(images: Volume, channel: int) -> tuple[float, float]:
    return window_of(sample_of(images.array[channel], orientation_of(images.grid.affine)))


def _slice(
    images: Volume, segmentation: Segmentation, channel: int, view: View, window: tuple[float, float]
) -> Image.Image:
    pixels = grey_levels(slice_ras(images.array[channel], view, plane=AXIAL), window)
    return enlarged(pixels, outlines(segmentation, view, plane=AXIAL), size=view.size(AXIAL))


def _pixel(end: tuple[float, float], view: View, corner: tuple[int, int]) -> tuple[float, float]:
    """Return where a point in voxels of the RAS grid (x, y) lies in the picture."""
    width, height = view.size(AXIAL)
    x, y = (
        (part.stop - 0.5 - place) / (part.stop - part.start)
        for place, part in zip(end, view.box[:2], strict=True)
    )
    return corner[0] + x * width, corner[1] + y * height


def _channel(images: Volume, wanted: tuple[Modality, ...]) -> int:
    return next((images.channels.index(name) for name in wanted if name in images.channels), 0)


def _is_known(images: Volume, channel: int) -> bool:
    return images.channels[channel] in set(Modality)
