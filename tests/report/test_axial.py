"""The lengths of the two diameters of a lesion do not overlap."""

from __future__ import annotations

import math

import pytest

from gliomaseg.report.axial import label_spots
from gliomaseg.report.picture import font


@pytest.mark.parametrize("angle", range(0, 180, 7))
@pytest.mark.parametrize("size", [(47, 47), (120, 60), (300, 280)])
def test_labels_do_not_overlap(angle: float, size: tuple[float, float]) -> None:
    """At 4.7 pixels a mm, 47 pixels are the 10 mm from which a lesion is measurable."""
    lines = []
    for turn, length in zip((angle, angle + 90), size, strict=True):
        x, y = (length / 2 * f(math.radians(turn)) for f in (math.cos, math.sin))
        lines.append([(200 - x, 200 - y), (200 + x, 200 + y)])
    boxes = [font(18).getbbox("123.4 mm", anchor=anchor) for _, anchor in label_spots(lines)]
    places = [spot for spot, _ in label_spots(lines)]
    (l1, t1, r1, b1), (l2, t2, r2, b2) = (
        (x + box[0], y + box[1], x + box[2], y + box[3]) for (x, y), box in zip(places, boxes, strict=True)
    )
    assert r1 < l2 or r2 < l1 or b1 < t2 or b2 < t1
