"""The overview picture: three planes through the tumour in every sequence, outlined.

All panels share one scale in pixels per mm. Outlines follow the voxels, neither smoothed nor filled, so that
the image inside them stays visible.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, PngImagePlugin

from gliomaseg import RESEARCH_USE
from gliomaseg.errors import CaseError, UsageError
from gliomaseg.imaging.native_slices import NativeSlices
from gliomaseg.imaging.planes import (
    CROP_MARGIN_MM,
    HEAD_MARGIN_MM,
    PLANES,
    VIEW,
    Grey,
    Mask,
    Plane,
    View,
    find_view,
    grey_levels,
    head_slice_ras,
    obliquity,
    sample_of,
    slice_ras,
    window_of,
)
from gliomaseg.imaging.prepare import orientation_of
from gliomaseg.imaging.volume import Segmentation, Volume
from gliomaseg.labels import Modality, Region, Tissue
from gliomaseg.measurement.measure import measure
from gliomaseg.measurement.measurements import Measurements
from gliomaseg.report.pages import TITLES, millilitres
from gliomaseg.report.strips import (
    CAUTION,
    FAINT,
    GAP,
    MARGIN,
    TEXT,
    Colour,
    font,
    paragraph,
    plain,
    side_by_side,
    stack,
)

Picture = Image.Image

RIM, LEAST_WIDTH = 22, 1320  # pixels
PANEL = VIEW + 2 * RIM
CONVENTION = (
    "Radiological convention: the patient's right (R) is on the viewer's left; sagittal planes face left."
)


@dataclass(frozen=True)
class Stroke:
    """The colour of an outline, its dashes and spaces in pixels (space 0: a solid line)."""

    colour: Colour
    dash: int = 1
    space: int = 0


#: Okabe-Ito colours (vermilion lightened for a dark ground) in drawing order: where outlines coincide, the
#: earlier one shows in the spaces of the later one.
STROKES: dict[Region | Tissue, Stroke] = {
    Region.ET: Stroke((255, 110, 20)),
    Region.TC: Stroke((86, 180, 233), 9, 5),
    Region.WT: Stroke((240, 228, 66), 4, 2),
    Tissue.CAVITY: Stroke((204, 121, 167), 6, 2),
}
#: The edge of the brain that was cut out of a head, and how bright the rest of the head is beside it.
BRAIN_STROKE, DIMMED = Stroke((110, 205, 150), 3, 2), 0.5


def draw_overview(
    images: Volume,
    segmentation: Segmentation,
    *,
    title: str,
    note: str = "",
    sizes: Measurements | None = None,
    native: NativeSlices | None = None,
) -> Picture:
    """Draw axial, coronal and sagittal planes (rows) of every sequence (columns), outlined.

    Each plane is where the whole tumour is largest; without a tumour, in the middle of the brain. The legend
    shows ``sizes``, which are measured if they are not given. ``native`` are slices whose numbers stand
    beside the planes. Where the brain was cut out of heads, its edge is drawn, and the rest is dimmed.
    Raises UsageError (E-USAGE) without a channel, CaseError (E-GRID) when the two grids differ.
    """
    require(images, segmentation)
    order = column_order(images.channels)
    turn = orientation_of(images.grid.affine)
    samples = [sample_of(images.array[channel], turn) for channel in order]
    windows = [window_of(sample) for sample in samples]
    view = find_view(samples, segmentation, HEAD_MARGIN_MM if images.around else CROP_MARGIN_MM)
    width = max(len(order) * (PANEL + GAP) - GAP + 2 * MARGIN, LEAST_WIDTH)
    strips = [paragraph(title, width, size=28), paragraph(note, width, size=18, colour=CAUTION)]
    strips.append(side_by_side([_heading(images.channels[channel]) for channel in order], width))
    for plane in PLANES:
        edges = [*_brain_outline(images, view, plane), *outlines(segmentation, view, plane=plane)]
        panels = []
        for channel, window in zip(order, windows, strict=True):
            pixels = _pixels(images, channel, window, view, plane)
            panels.append(_panel(pixels, edges, plane=plane, size=view.size(plane)))
        _annotate(panels[0], view, plane=plane, native=native)
        strips.append(side_by_side(panels, width))
    strips.append(legend(sizes or measure(segmentation), width, brain_ml=_brain_ml(images)))
    strips.append(paragraph(_words(images, sizes, native), width, size=16, colour=FAINT))
    strips.append(paragraph(RESEARCH_USE, width, size=18))
    return stack(strips, width)


def _words(images: Volume, sizes: Measurements | None, native: NativeSlices | None) -> str:
    """Return how the picture is to be read."""
    where = [sizes.where] if sizes else []
    return " ".join([CONVENTION + obliquity(images.grid), *where, *([native.counted] if native else [])])


def png(picture: Picture, *, title: str = "") -> bytes:
    """Return a picture as the bytes of a PNG file, with a title in it if one is given."""
    stream, about = io.BytesIO(), PngImagePlugin.PngInfo()
    if title:
        about.add_text("Title", title)
    picture.save(stream, "PNG", compress_level=3, pnginfo=about)
    return stream.getvalue()


def jpeg(picture: Picture, *, quality: int = 88) -> bytes:
    """Return a picture as the bytes of a JPEG file, a third as many, for pages."""
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=quality, subsampling=0)
    return stream.getvalue()


def require(images: Volume, segmentation: Segmentation) -> None:
    """Raise UsageError (E-USAGE) without a channel, CaseError (E-GRID) when the two grids differ."""
    if not images.channels:
        raise UsageError("E-USAGE", "a picture needs at least one image", remedy="give one or more")
    if not images.grid.matches(segmentation.grid):
        raise CaseError(
            "E-GRID",
            f"the images are {images.grid.shape} and the segmentation {segmentation.grid.shape} voxels, "
            "or their affines differ",
            expected="a segmentation on the grid of its images",
            remedy="resample the segmentation to the grid of the images with nearest neighbour",
        )


def outlines(segmentation: Segmentation, view: View, *, plane: Plane) -> list[tuple[Colour, Mask]]:
    """Return the pixels (rows, columns) of each outline in a plane, in drawing order."""
    labels = slice_ras(segmentation.labels, view, plane=plane)
    edges = []
    for structure, stroke in STROKES.items():
        large = _large(segmentation.scheme.mask(labels, structure), view.size(plane))
        edges.append((stroke.colour, contour(large, stroke)))
    return edges


def _brain_outline(images: Volume, view: View, plane: Plane) -> list[tuple[Colour, Mask]]:
    """Return the pixels of the edge of the brain, if it was cut out of a head."""
    if images.around is None:
        return []
    mask = slice_ras(images.around.brain, view, plane=plane)
    return [(BRAIN_STROKE.colour, contour(_large(mask, view.size(plane)), BRAIN_STROKE))]


def _pixels(images: Volume, channel: int, window: tuple[float, float], view: View, plane: Plane) -> Grey:
    """Return a slice as grey levels, with the head around the brain dimmed, if it is known."""
    pixels = grey_levels(slice_ras(images.array[channel], view, plane=plane), window)
    if images.around is None:
        return pixels
    inside = slice_ras(images.around.brain, view, plane=plane)
    head = grey_levels(head_slice_ras(images.around, channel, view, plane=plane), window)
    return np.where(inside, pixels, DIMMED * head).astype(np.uint8)


def _large(mask: Mask, size: tuple[int, int]) -> Mask:
    """Return a mask (rows, columns) enlarged to (width, height)."""
    enlarged_mask = Image.fromarray(mask.astype(np.uint8)).resize(size, Image.Resampling.NEAREST)
    return np.asarray(enlarged_mask, dtype=bool)


def contour(mask: Mask, stroke: Stroke) -> Mask:
    """Return the outermost pixels of ``mask`` (rows, columns), dashed; all false for an empty mask.

    Dashes are counted along columns where the edge is horizontal and along rows where it is vertical, so that
    no edge falls into the spaces as a whole.
    """
    around = np.pad(mask, 1)
    beside = around[1:-1, :-2] & around[1:-1, 2:]
    above = around[:-2, 1:-1] & around[2:, 1:-1]
    rows, columns = np.ogrid[: mask.shape[0], : mask.shape[1]]
    drawn = np.where(above, rows, columns) % (stroke.dash + stroke.space) < stroke.dash
    return np.asarray(mask & ~(beside & above) & drawn)


def enlarged(pixels: Grey, edges: Sequence[tuple[Colour, Mask]], *, size: tuple[int, int]) -> Image.Image:
    """Return grey levels (rows, columns) enlarged to (width, height), with outlines."""
    grey = Image.fromarray(np.ascontiguousarray(pixels)).resize(size, Image.Resampling.BICUBIC)
    coloured = np.repeat(np.asarray(grey)[..., None], 3, axis=2)
    for colour, edge in edges:
        coloured[edge] = colour
    return Image.fromarray(coloured)


def _panel(
    pixels: Grey, edges: Sequence[tuple[Colour, Mask]], *, plane: Plane, size: tuple[int, int]
) -> Image.Image:
    """Enlarge grey levels (rows, columns) to (width, height), with outlines, and letters in the rim."""
    width, height = size
    panel = Image.new("RGB", (PANEL, height + 2 * RIM))
    left, half, middle = (PANEL - width) // 2, RIM // 2, RIM + height // 2
    panel.paste(enlarged(pixels, edges, size=size), (left, RIM))
    upright = (PANEL // 2, half), (PANEL // 2, RIM + height + half)
    level = (left - half, middle), (left + width + half, middle)
    for letter, spot in zip(plane.letters, upright + level, strict=True):
        ImageDraw.Draw(panel).text(spot, letter, TEXT, font(18), anchor="mm")
    return panel


def _annotate(panel: Image.Image, view: View, *, plane: Plane, native: NativeSlices | None) -> None:
    """Write the plane's name, position and native slice, and a ruler of some mm, into the rim."""
    draw, level = ImageDraw.Draw(panel), panel.height - RIM // 2
    place = f"{plane.name}  {'xyz'[plane.axis]} = {round(view.centre_mm[plane.axis]):+d} mm"
    draw.text((0, RIM // 2), place, TEXT, font(16), anchor="lm")
    length = max(mm for mm in (1, 2, 5, 10, 20, 50) if mm == 1 or mm * view.pixels_per_mm <= PANEL / 3)
    end = round(length * view.pixels_per_mm)
    draw.line((0, level, end, level), TEXT, 2)
    for tick in (0, end):
        draw.line((tick, level - 4, tick, level + 4), TEXT)
    draw.text((end + 8, level), f"{length} mm", TEXT, font(16), anchor="lm")
    if native:
        words = native.words(view.centre_mm, plane.axis)
        draw.text((panel.width, level), words, TEXT, font(16), anchor="rm")


def column_order(channels: Sequence[str]) -> list[int]:
    """Return channel indices: the known modalities in their fixed order, then any others."""
    place = {modality.value: number for number, modality in enumerate(Modality)}
    return sorted(range(len(channels)), key=lambda channel: place.get(channels[channel], len(place)))


def _heading(channel: str) -> Image.Image:
    tile = Image.new("RGB", (PANEL, 26))
    name = TITLES.get(channel, plain(channel)[:24])
    ImageDraw.Draw(tile).text((PANEL // 2, 18), name, TEXT, font(20), anchor="mm")
    return tile


def legend(sizes: Measurements, width: int, *, brain_ml: float | None = None) -> Image.Image:
    """Draw a sample of each outline with its name and volume in ml, or state that there is no tumour."""
    strip = Image.new("RGB", (width, 40))
    draw, x, found = ImageDraw.Draw(strip), MARGIN, sizes.volume_ml(Region.WT) > 0
    if not found:
        draw.text((x, 20), "no tumour found", CAUTION, font(20), anchor="lm")
        x += 220
    for structure in (*Region, Tissue.CAVITY):
        volume = sizes.volume_ml(structure)
        if volume == 0 and not (found and isinstance(structure, Region)):
            continue
        words = f"{TITLES[structure]} ({structure.upper()})  {millilitres(volume)} ml"
        x += _entry(strip, x, STROKES[structure], words)
    if brain_ml is not None:
        _entry(strip, x, BRAIN_STROKE, f"brain  {brain_ml:.0f} ml")
    return strip


def _entry(strip: Image.Image, x: int, stroke: Stroke, words: str) -> int:
    """Draw a sample of an outline and what it is, from ``x`` on; return the pixels that they take."""
    sample = contour(np.ones((20, 45), dtype=bool), stroke)
    strip.paste(stroke.colour, (x, 10), Image.fromarray(sample.astype(np.uint8) * 255))
    ImageDraw.Draw(strip).text((x + 54, 20), words, TEXT, font(18), anchor="lm")
    return round(font(18).getlength(words)) + 88


def _brain_ml(images: Volume) -> float | None:
    return float(np.count_nonzero(images.around.brain)) * images.grid.voxel_ml if images.around else None
