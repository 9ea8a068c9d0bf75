"""What a head has below and before the brain: eyes, sinuses, jaw, neck, as ellipsoids and tubes in a table.

Places and sizes are in mm of a standard head: x to the Right from the middle, y to the Anterior, z to the
Superior, where a brain reaches from (-68, -104, -66) to (68, 70, 79), about those of MNI space. They were set
by eye on published head images; no measurement rests on them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from gliomaseg.imaging.phantom_tumour import Image, Mask

Point = tuple[float, float, float]
Labels = npt.NDArray[np.uint8]


class Part(IntEnum):
    """The values of a head's label map."""

    AIR = 0
    BRAIN = 1
    CSF = 2
    DURA = 3
    BONE = 4
    MARROW = 5
    FAT = 6
    MUSCLE = 7
    SKIN = 8
    VITREOUS = 9
    LENS = 10
    NERVE = 11
    MUCOSA = 12
    GLAND = 13
    VESSEL = 14
    DISC = 15


@dataclass(frozen=True)
class Shape:
    """An ellipsoid (one point, three semi-axes) or a tube through points (its radius is the first).

    ``layers`` are parts and by how many mm each is larger than the shape, from the outside in. ``is_paired``
    adds its mirror image; ``cells`` fills it with small cells of air in bone; ``in_skull`` limits it to the
    skull's thickness; ``is_outer`` puts it onto the skin.
    """

    layers: tuple[tuple[Part, float], ...]
    points: tuple[Point, ...]
    radii: Point
    is_paired: bool = False
    cells: bool = False
    in_skull: bool = False
    is_outer: bool = False

    def changed(self, shift: npt.NDArray[np.float64], scale: float) -> Shape:
        """Return the shape moved by ``shift`` in mm, less across if it has no pair, with radii multiplied."""
        if not self.is_paired:
            shift = shift * (0.3, 1, 1)
        x, y, z = (radius * scale for radius in self.radii)
        points = tuple(_point(np.add(point, shift)) for point in self.points)
        return replace(self, points=points, radii=(x, y, z))

    def sides(self) -> Iterator[Shape]:
        """Yield the shape, and its mirror image if it is one of a pair."""
        yield self
        if self.is_paired:
            yield replace(self, points=tuple((-x, y, z) for x, y, z in self.points))

    def bounds(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return the corners of the smallest box around all layers."""
        reach = np.array(self.radii if len(self.points) == 1 else [self.radii[0]] * 3)
        reach = reach + max(larger for _, larger in self.layers)
        return np.min(self.points, axis=0) - reach, np.max(self.points, axis=0) + reach

    def distance(self, places: Sequence[Image]) -> Image:
        """Return about how far each place is outside the shape, in mm; negative inside."""
        if len(self.points) == 1:
            return ellipsoid(places, self.points[0], self.radii)
        found = [_segment(places, a, b) for a, b in zip(self.points, self.points[1:], strict=False)]
        return np.asarray(np.min(found, axis=0) - np.float32(self.radii[0]), dtype=np.float32)


def ellipsoid(places: Sequence[Image], centre: Point, radii: Point) -> Image:
    """Return about how far each place is outside an ellipsoid, in mm; negative inside."""
    apart = [place - np.float32(c) for place, c in zip(places, centre, strict=True)]
    near = sum((a / np.float32(r)) ** 2 for a, r in zip(apart, radii, strict=True)) ** 0.5
    slope = sum((a / np.float32(r * r)) ** 2 for a, r in zip(apart, radii, strict=True)) ** 0.5
    radius = np.where(slope > 1e-6, near / np.maximum(slope, 1e-6), min(radii))  # in the place's direction
    return np.asarray(radius * (near - 1), dtype=np.float32)


def _segment(places: Sequence[Image], start: Point, end: Point) -> Image:
    """Return the distance of each place from a straight line between two points."""
    apart = [place - np.float32(c) for place, c in zip(places, start, strict=True)]
    along = np.subtract(end, start).astype(np.float32)
    share = sum(a * v for a, v in zip(apart, along, strict=True)) / np.float32(max(along @ along, 1e-6))
    share = np.clip(share, 0, 1)
    return np.asarray(sum((a - share * v) ** 2 for a, v in zip(apart, along, strict=True)) ** 0.5)


def _point(values: npt.NDArray[np.float64]) -> Point:
    x, y, z = (float(value) for value in values)
    return x, y, z


_BONE = ((Part.BONE, 0.0), (Part.MARROW, -2.0))
_SINUS = ((Part.BONE, 2.5), (Part.MUCOSA, 1.2), (Part.AIR, 0.0))
_EYE: Point = (33.0, 57.0, -36.0)
_APEX: Point = (13.0, 20.0, -28.0)

#: The outer form below the calvarium: cheeks, jaw, chin, neck, back of the neck, nose.
MASSES: tuple[tuple[Point, Point], ...] = (
    ((0.0, 28.0, -50.0), (67.0, 54.0, 52.0)),
    ((0.0, 36.0, -92.0), (51.0, 52.0, 52.0)),
    ((0.0, 62.0, -128.0), (24.0, 26.0, 18.0)),
    ((0.0, -22.0, -120.0), (58.0, 58.0, 120.0)),
    ((0.0, -55.0, -85.0), (56.0, 40.0, 60.0)),
    ((0.0, -34.0, -44.0), (71.0, 67.0, 40.0)),
)
NOSE: tuple[tuple[Point, Point], ...] = (
    ((0.0, 86.0, -56.0), (15.0, 20.0, 14.0)),
    ((0.0, 80.0, -40.0), (9.0, 14.0, 22.0)),
)
#: What the sockets of the eyes take from the outer form.
SOCKETS: tuple[tuple[Point, Point], ...] = (
    ((34.0, 88.0, -37.0), (17.0, 15.0, 13.0)),
    ((-34.0, 88.0, -37.0), (17.0, 15.0, 13.0)),
)

#: Drawn in this order: what comes later covers what came before.
SHAPES: tuple[Shape, ...] = (
    Shape(((Part.FAT, 0.0),), ((44.0, 42.0, -78.0),), (9.0, 14.0, 14.0), True),
    Shape(((Part.GLAND, 0.0),), ((55.0, -6.0, -74.0),), (10.0, 15.0, 22.0), True),
    Shape(((Part.MUSCLE, 0.0), (Part.FAT, -16.0)), ((0.0, 38.0, -104.0),), (24.0, 32.0, 21.0)),
    Shape(_BONE, ((0.0, -8.0, -46.0),), (17.0, 13.0, 22.0)),
    Shape(
        ((Part.BONE, 0.0), (Part.MARROW, -6.0)),
        ((16.0, -12.0, -42.0), (58.0, -32.0, -44.0)),
        (10.0, 0, 0),
        True,
    ),
    Shape(
        _BONE,
        ((42.0, 64.0, -52.0), (60.0, 36.0, -48.0), (68.0, 5.0, -46.0), (64.0, -18.0, -44.0)),
        (4.5, 0, 0),
        True,
    ),
    Shape(
        _BONE,
        ((50.0, -8.0, -56.0), (47.0, 4.0, -106.0), (32.0, 44.0, -124.0), (0.0, 70.0, -132.0)),
        (6.5, 0, 0),
        True,
    ),
    Shape(_BONE, ((30.0, 36.0, -88.0), (22.0, 60.0, -90.0), (0.0, 72.0, -90.0)), (6.0, 0, 0), True),
    Shape(((Part.BONE, 0.0),), ((0.0, 46.0, -80.0),), (24.0, 28.0, 3.5)),
    Shape(_SINUS, ((29.0, 46.0, -62.0),), (13.0, 16.0, 15.0), True),
    Shape(((Part.MUCOSA, 2.0), (Part.AIR, 0.0)), ((8.0, 48.0, -66.0),), (3.0, 36.0, 6.0), True),
    Shape(((Part.MUCOSA, 2.0), (Part.AIR, 0.0)), ((6.0, 46.0, -52.0),), (2.0, 32.0, 10.0), True),
    Shape(_SINUS, ((9.0, 44.0, -36.0),), (6.0, 18.0, 9.0), True, cells=True),
    Shape(_SINUS, ((8.0, 12.0, -38.0),), (9.0, 12.0, 10.0), True),
    Shape(
        ((Part.BONE, 1.5), (Part.AIR, 0.0)), ((12.0, 72.0, -16.0),), (12.0, 9.0, 13.0), True, in_skull=True
    ),
    Shape(((Part.BONE, 5.0), (Part.AIR, 0.0)), ((55.0, -38.0, -48.0),), (9.0, 13.0, 16.0), True, cells=True),
    Shape(
        ((Part.SKIN, 1.5), (Part.AIR, 0.0)), ((50.0, -24.0, -40.0), (84.0, -28.0, -38.0)), (3.0, 0, 0), True
    ),
    Shape(
        ((Part.MUCOSA, 2.5), (Part.AIR, 0.0)),
        ((0.0, 10.0, -60.0), (0.0, 4.0, -80.0), (0.0, -2.0, -110.0), (0.0, 6.0, -180.0)),
        (7.5, 0, 0),
    ),
    *(
        Shape(
            _BONE if k else ((Part.BONE, 0.0), (Part.MARROW, -3.0)),
            ((0.0, -14.0 - k, z), (0.0, -14.0 - k, z - 10.0)),
            (9.0, 0, 0),
        )
        for k, z in enumerate((-78.0, -96.0, -114.0, -132.0, -150.0))
    ),
    *(Shape(((Part.DISC, 0.0),), ((0.0, -15.0, z),), (9.0, 9.0, 2.2)) for z in (-110.0, -128.0, -146.0)),
    *(
        Shape(
            _BONE,
            ((14.0, -22.0, z), (16.0, -38.0, z - 3.0), (0.0, -56.0, z - 8.0), (0.0, -68.0, z - 12.0)),
            (4.5, 0, 0),
            True,
        )
        for z in (-86.0, -104.0, -122.0, -140.0)
    ),
    Shape(
        ((Part.VESSEL, 0.0),),
        ((24.0, -8.0, -50.0), (26.0, -10.0, -90.0), (28.0, 2.0, -180.0)),
        (3.2, 0, 0),
        True,
    ),
    Shape(
        ((Part.VESSEL, 0.0),),
        ((34.0, -22.0, -56.0), (34.0, -16.0, -95.0), (36.0, -2.0, -180.0)),
        (4.5, 0, 0),
        True,
    ),
)
#: The orbits: the parts of one move together.
ORBIT: tuple[Shape, ...] = (
    Shape(((Part.BONE, 2.0), (Part.FAT, 0.0)), ((30.0, 46.0, -36.0),), (17.0, 24.0, 17.0), True),
    Shape(((Part.FAT, 0.0),), (_EYE, _APEX), (7.0, 0, 0), True),
    Shape(((Part.MUSCLE, 0.0),), ((43.0, 50.0, -36.0), (38.0, 36.0, -33.0), _APEX), (2.4, 0, 0), True),
    Shape(((Part.MUSCLE, 0.0),), ((22.0, 50.0, -36.0), (17.0, 36.0, -33.0), _APEX), (2.4, 0, 0), True),
    Shape(((Part.MUSCLE, 0.0),), ((32.0, 50.0, -25.0), (26.0, 36.0, -24.0), _APEX), (2.4, 0, 0), True),
    Shape(((Part.MUSCLE, 0.0),), ((32.0, 50.0, -47.0), (26.0, 36.0, -41.0), _APEX), (2.4, 0, 0), True),
    Shape(
        ((Part.CSF, 1.0), (Part.NERVE, 0.0)),
        ((32.0, 45.0, -36.0), _APEX, (5.0, 8.0, -20.0)),
        (2.0, 0, 0),
        True,
    ),
    Shape(((Part.MUSCLE, 1.2), (Part.VITREOUS, 0.0)), (_EYE,), (12.0, 12.0, 12.0), True),
    Shape(((Part.LENS, 0.0),), ((33.0, 65.5, -36.0),), (4.8, 2.4, 4.8), True),
)
#: An ear, outside the head.
EAR = Shape(((Part.SKIN, 0.0),), ((76.0, -30.0, -34.0),), (6.0, 13.0, 27.0), True, is_outer=True)


def make_cord(start: Point) -> Shape:
    """Return the spinal cord in its canal, from the lowest place of the brain down to the neck's end."""
    points = (start, (0.0, -36.0, min(-84.0, start[2] - 12)), (0.0, -34.0, -125.0), (0.0, -38.0, -185.0))
    return Shape(((Part.DURA, 5.0), (Part.CSF, 4.0), (Part.NERVE, 0.0)), points, (5.0, 0, 0))


def vary(random: np.random.Generator) -> Iterator[Shape]:
    """Yield all shapes, each moved by about 1.5 mm and 8 % larger or smaller; eyes differ by 3 %."""
    for group in (*((shape,) for shape in SHAPES), ORBIT, (EAR,)):
        spread = 0.03 if group is ORBIT else 0.08
        shift, scale = random.normal(0, 1.5, 3), float(np.clip(random.normal(1, spread), 0.8, 1.2))
        yield from (shape.changed(shift, scale) for shape in group)


def paint(
    labels: Labels, shape: Shape, places: Sequence[Image], free: Mask, cells: Image | None = None
) -> None:
    """Draw ``shape`` on ``labels`` (x, y, z) where it is ``free``; ``places`` are three arrays like it.

    ``cells`` is smooth noise: what would be air becomes bone where it is negative.
    """
    distance = shape.distance(places)
    for part, larger in shape.layers:
        value = np.full(labels.shape, part, dtype=np.uint8)
        if cells is not None and part is Part.AIR:
            value[cells < 0] = Part.BONE
        np.copyto(labels, value, where=(distance < larger) & free)
