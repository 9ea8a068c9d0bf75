"""Pictures of axial slices: a lesion with its RANO lines, a thumbnail, a whole case on one sheet."""

from __future__ import annotations

import gzip
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from gliomaseg import RESEARCH_USE
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
from gliomaseg.labels import LabelScheme, Modality, Region
from gliomaseg.measurement.measurements import Lesion
from gliomaseg.report.case_report import Report
from gliomaseg.report.packing import TISSUE_NUMBERS
from gliomaseg.report.pages import TITLES
from gliomaseg.report.picture import CONVENTION, enlarged, jpeg, legend, outlines, png, require
from gliomaseg.report.strips import FAINT, TEXT, font, paragraph, stack

Pixel = tuple[float, float]

AXIAL = PLANES[0]
#: Least mm that a close-up shows, so that its place in the brain can be recognised.
_LEAST_MM = 80.0
_RIM = 26  # pixels around a close-up
THUMBNAIL = 112  # pixels along the longer side
_COLUMNS, _GAP, _LEAST_WIDTH = 8, 6, 1000  # of a mosaic; pixels
#: The title within a mosaic, which shows that gliomaseg wrote the file.
MOSAIC_TITLE = "Mosaic of gliomaseg"


def view_of(images: Volume, segmentation: Segmentation) -> View:
    """Return the crop and the planes of a case's small pictures.

    Raises UsageError (E-USAGE) without a channel, CaseError (E-GRID) when the two grids differ.
    """
    require(images, segmentation)
    turn = orientation_of(images.grid.affine)
    return find_view([sample_of(image, turn) for image in images.array], segmentation)


def rano_png(images: Volume, segmentation: Segmentation, lesion: Lesion, view: View) -> bytes:
    """Return a PNG of the axial slice in which a lesion was measured, with its two diameters to scale.

    The sequence is T1 with contrast if there is any, else FLAIR, else the first channel.
    """
    first = Modality.T1C if lesion.enhancing_ml > 0 else Modality.T2F
    channel = _channel(images, (first, Modality.T1C, Modality.T2F))
    view = zoom_on(view, segmentation.mask(Region.WT), grid=images.grid, least_mm=_LEAST_MM)
    view = replace(view, centre=(*view.centre[:2], lesion.diameters.slice))
    page = Image.new("RGB", (VIEW + 2 * _RIM, VIEW + 2 * _RIM))
    width, height = view.size(AXIAL)
    corner = (page.width - width) // 2, (page.height - height) // 2
    page.paste(_slice(images, segmentation, channel, view), corner)
    draw, white = ImageDraw.Draw(page), (255, 255, 255)
    lines = (lesion.diameters.longest, lesion.diameters.perpendicular)
    ends = [[_pixel(end, view, corner) for end in line.ends] for line in lines]
    for pair in ends:
        draw.line(pair, (0, 0, 0), 5)
        draw.line(pair, white, 2)
    for line, (place, anchor) in zip(lines, label_spots(ends), strict=True):
        label = f"{line.length_mm:.1f} mm"
        draw.text(place, label, white, font(18), anchor=anchor, stroke_width=3, stroke_fill=(0, 0, 0))
    middle, half = page.width // 2, _RIM // 2
    spots = ((middle, half), (middle, page.height - half), (half, middle), (page.width - half, middle))
    for letter, spot in zip(AXIAL.letters, spots, strict=True):
        draw.text(spot, letter, TEXT, font(18), anchor="mm")
    draw.text((8, half), TITLES.get(images.channels[channel], ""), TEXT, font(16), anchor="lm")
    return png(page.quantize(128))


def label_spots(lines: Sequence[Sequence[Pixel]]) -> list[tuple[Pixel, str]]:
    """Return where the lengths of two lines are written, by their ends, and Pillow's anchor of each.

    The first is above its upper end, the second beyond that of its ends which is farther from there.
    """
    first = min(lines[0], key=lambda end: end[1])
    second = max(lines[1], key=lambda end: (round(math.dist(end, first)), end[1]))
    below = second[1] > first[1]
    spot = (second[0], second[1] + (4 if below else -4))
    return [((first[0], first[1] - 4), "mb"), (spot, "mt" if below else "mb")]


def thumbnail_jpeg(images: Volume, segmentation: Segmentation, view: View) -> bytes:
    """Return a small JPEG of the axial slice with the most tumour, outlined."""
    page = _slice(images, segmentation, _channel(images, (Modality.T1C, Modality.T2F)), view)
    page.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    return jpeg(page, quality=82)


def mosaic_png(report: Report, every: int) -> bytes:
    """Return a PNG of every n-th axial slice of a report's 8-bit volumes, outlined, from the feet up.

    A is at the top of each slice and R at its left. T1 with contrast is shown if there is any.
    """
    images, segmentation = _unpacked(report)
    channel = _channel(images, (Modality.T1C,))
    view = view_of(images, segmentation)
    pixels = tuple(max(1, n // 2) for n in view.pixels)
    view = replace(view, pixels=pixels, pixels_per_mm=view.pixels_per_mm / 2)
    tiles = []
    for z in range(view.box[2].start, view.box[2].stop, every):
        tile = _slice(images, segmentation, channel, replace(view, centre=(*view.centre[:2], z)))
        number = report.about.slices.crop.axial_slice(z)
        ImageDraw.Draw(tile).text((4, 2), str(number), TEXT, font(14))
        tiles.append(tile)
    name = images.channels[channel]
    words = f"{TITLES.get(name, name)}, one of {every} axial slices, numbered from the feet up. {CONVENTION}"
    grid = _grid(tiles)
    strips = [
        paragraph(report.about.case, grid.width, size=26),
        paragraph(words, grid.width, size=16, colour=FAINT),
        grid,
        legend(report.about.measurements, grid.width),
        paragraph(RESEARCH_USE, grid.width, size=16),
    ]
    return png(stack(strips, grid.width), title=MOSAIC_TITLE)


def _unpacked(report: Report) -> tuple[Volume, Segmentation]:
    """Return the volumes of a report on the grid of their crop; outlines alone without an image."""
    slices = report.about.slices

    def array(name: str) -> npt.NDArray[np.uint8]:
        data = np.frombuffer(gzip.decompress(report.volumes[name]), dtype=np.uint8)
        return data.reshape(slices.crop.shape, order="F")

    brain = array("brain") if slices.brain else np.uint8(1)
    names = tuple(channel.name for channel in slices.channels)
    segmentation = Segmentation(array("seg"), slices.crop.grid, LabelScheme("report", TISSUE_NUMBERS))
    stacked = [array(name) * brain for name in names] or [(segmentation.labels > 0).astype(np.uint8)]
    return Volume(np.stack(stacked), slices.crop.grid, names or ("outlines",)), segmentation


def _grid(tiles: Sequence[Image.Image]) -> Image.Image:
    width, height = (length + _GAP for length in tiles[0].size)
    columns = min(_COLUMNS, len(tiles))
    grid = Image.new("RGB", (max(columns * width + 42, _LEAST_WIDTH), -(-len(tiles) // columns) * height))
    for number, tile in enumerate(tiles):
        grid.paste(tile, (24 + number % columns * width, number // columns * height))
    return grid


def _slice(images: Volume, segmentation: Segmentation, channel: int, view: View) -> Image.Image:
    image = images.array[channel]
    window = window_of(sample_of(image, orientation_of(images.grid.affine)))
    pixels = grey_levels(slice_ras(image, view, plane=AXIAL), window)
    return enlarged(pixels, outlines(segmentation, view, plane=AXIAL), size=view.size(AXIAL))


def _pixel(end: Pixel, view: View, corner: tuple[int, int]) -> Pixel:
    """Return the place in the picture of a point in voxels of the RAS grid (x, y)."""
    x, y = (
        (side.stop - 0.5 - place) / (side.stop - side.start)
        for place, side in zip(end, view.box[:2], strict=True)
    )
    width, height = view.size(AXIAL)
    return corner[0] + x * width, corner[1] + y * height


def _channel(images: Volume, wanted: Sequence[Modality]) -> int:
    return next((images.channels.index(name) for name in wanted if name in images.channels), 0)
