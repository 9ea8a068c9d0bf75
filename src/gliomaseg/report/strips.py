"""Text and strips of pictures: pages are stacks of strips as wide as they are."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import cast

from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]

GAP, MARGIN = 8, 24  # pixels
TEXT, FAINT, CAUTION = (225, 225, 225), (160, 160, 160), (240, 190, 80)


def paragraph(text: str, width: int, *, size: int, colour: Colour = TEXT) -> Image.Image:
    """Draw ``text`` in lines as wide as the page; a strip 0 pixels high for an empty text."""
    words, face, step = " ".join(plain(text).split()), font(size), round(size * 1.4)
    letters = 0.95 * (width - 2 * MARGIN) * len(words) / max(face.getlength(words), 1)
    lines = textwrap.wrap(words, max(1, int(letters)))
    strip = Image.new("RGB", (width, step * len(lines)))
    for number, line in enumerate(lines):
        ImageDraw.Draw(strip).text((MARGIN, step * number + step // 2), line, colour, face, anchor="lm")
    return strip


def plain(text: str) -> str:
    """Return ``text`` in the letters of Pillow's own font: without accents, ``?`` for other scripts."""
    letters = (letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    return "".join(letters).encode("ascii", "replace").decode("ascii")


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """Return Pillow's own font, so many pixels high."""
    return cast("ImageFont.FreeTypeFont", ImageFont.load_default(size))


def side_by_side(panels: Sequence[Image.Image], width: int) -> Image.Image:
    """Return pictures of one size beside each other, in the middle of the page."""
    strip = Image.new("RGB", (width, panels[0].height + 2 * GAP))
    start = (width - len(panels) * (panels[0].width + GAP) + GAP) // 2
    for number, panel in enumerate(panels):
        strip.paste(panel, (start + number * (panels[0].width + GAP), 0))
    return strip


def stack(strips: Sequence[Image.Image], width: int) -> Image.Image:
    """Return strips of one width below each other, with a margin above and below."""
    page = Image.new("RGB", (width, sum(strip.height for strip in strips) + 2 * MARGIN))
    top = MARGIN
    for strip in strips:
        page.paste(strip, (0, top))
        top += strip.height
    return page
