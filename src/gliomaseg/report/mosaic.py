"""Every n-th axial slice of one sequence, outlined: a whole case on one sheet. Door: Pillow."""

from __future__ import annotations

import gzip
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from gliomaseg import RESEARCH_USE
from gliomaseg.imaging.planes import PLANES, find_view, grey_levels, sample_of, slice_ras, window_of
from gliomaseg.imaging.prepare import orientation_of
from gliomaseg.imaging.volume import Segmentation, Volume
from gliomaseg.labels import MODALITY_TITLES, LabelScheme, Modality
from gliomaseg.measurement.measure import measure
from gliomaseg.measurement.measurements import Measurements
from gliomaseg.report.case_report import Report
from gliomaseg.report.packing import TISSUE_NUMBERS
from gliomaseg.report.picture import (
    CONVENTION,
    FAINT,
    TEXT,
    enlarged,
    font,
    legend,
    outlines,
    paragraph,
    png,
    require,
)

AXIAL = PLANES[0]
COLUMNS = 8
#: The title in the file, by which one that was written before is known.
TITLE = "Mosaic of gliomaseg"
_GAP = 6


def mosaic_of(report: Report, every: int) -> bytes:
    """Return a PNG of every n-th axial slice of a report's 8-bit volumes, on the grid of their crop."""
    slices = report.about.slices

    def array(name: str) -> npt.NDArray[np.uint8]:
        data = np.frombuffer(gzip.decompress(report.volumes[name]), dtype=np.uint8)
        return data.reshape(slices.crop.shape, order="F")

    names = tuple(channel.name for channel in slices.channels)
    seg = Segmentation(array("seg"), slices.crop.grid, LabelScheme("report", TISSUE_NUMBERS))
    stack = [array(name) for name in names] or [(seg.labels > 0).astype(np.uint8)]
    images = Volume(np.stack(stack), slices.crop.grid, names or ("outlines",))
    return mosaic_png(images, seg, title=report.about.case, every=every)


def mosaic_png(
    images: Volume, segmentation: Segmentation, *, title: str, every: int = 5, modality: str = Modality.T1C
) -> bytes:
    """Return a PNG of every n-th axial slice from the feet up, A at the top of each and R at its left.

    Raises UsageError (E-USAGE) without a channel, CaseError (E-GRID) when the two grids differ.
    """
    require(images, segmentation)
    channel = images.channels.index(modality) if modality in images.channels else 0
    sample = sample_of(images.array[channel], orientation_of(images.grid.affine))
    view, window = find_view([sample], segmentation), window_of(sample)
    view = replace(
        view, pixels=tuple(max(1, n // 2) for n in view.pixels), pixels_per_mm=view.pixels_per_mm / 2
    )
    tiles = []
    for z in range(view.box[2].start, view.box[2].stop, max(1, every)):
        cut = replace(view, centre=(*view.centre[:2], z))
        pixels = grey_levels(slice_ras(images.array[channel], cut, plane=AXIAL), window)
        tile = enlarged(pixels, outlines(segmentation, cut, plane=AXIAL), size=cut.size(AXIAL))
        ImageDraw.Draw(tile).text((4, 2), str(z + 1), TEXT, font(14))
        tiles.append(tile)
    shown = _title(images.channels[channel])
    words = f"{shown}, one of {every} axial slices, numbered from the feet up. {CONVENTION}"
    return _sheet(tiles, [title, words], measure(segmentation))


def _title(channel: str) -> str:
    return MODALITY_TITLES[Modality(channel)] if channel in set(Modality) else channel


def _sheet(tiles: list[Image.Image], words: list[str], sizes: Measurements) -> bytes:
    width, height = tiles[0].size
    columns = min(COLUMNS, len(tiles))
    page_width = max(columns * (width + _GAP) + 42, 1000)
    grid = Image.new("RGB", (page_width, -(-len(tiles) // columns) * (height + _GAP)))
    for number, tile in enumerate(tiles):
        grid.paste(tile, (24 + number % columns * (width + _GAP), number // columns * (height + _GAP)))
    strips = [
        paragraph(words[0], page_width, size=26),
        paragraph(words[1], page_width, size=16, colour=FAINT),
        grid,
        legend(sizes, page_width),
        paragraph(RESEARCH_USE, page_width, size=16),
    ]
    page = Image.new("RGB", (page_width, sum(strip.height for strip in strips) + 48))
    top = 24
    for strip in strips:
        page.paste(strip, (0, top))
        top += strip.height
    return png(page, title=TITLE)
