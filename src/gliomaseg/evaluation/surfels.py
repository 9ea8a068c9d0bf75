"""The surface of a mask, cut into elements: one in every cube of eight voxel centres that it crosses.

A cube's code has one bit per corner, 128 for its lowest corner down to 1 for its highest (x slowest), set
where that voxel is inside. The surface crosses the cube's edges half way between inside and outside.
Elements and their areas are those of DeepMind's surface-distance package, but computed from geometry, not
from its table (benchmarks/oracles compares the two at several spacings):

* where more than four corners are inside, the outside ones are taken instead;
* groups of corners that no edge of the cube joins have surfaces of their own;
* the crossings around one group form a ring. It is planar for one corner, two, a square, or three around
  one. Otherwise an ear is cut off at every second crossing, first at that of the group's middle corner, and
  a triangle is left.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Spacing = tuple[float, float, float]
Corner = tuple[int, ...]

#: Corners of the cube, 2 units wide, in the order of their bits from 128 down.
_CORNERS: tuple[Corner, ...] = tuple(itertools.product((0, 2), repeat=3))
_MOST_PIECES = 4
FULL = 255


def neighbour_codes(mask: Mask) -> npt.NDArray[np.uint8]:
    """Return the code of every cube between the voxels of a mask (x, y, z): one less along each axis.

    Pad the mask with one layer of background first, so that its surface is closed.
    """
    codes = mask.astype(np.uint8)
    codes = (codes[:, :, :-1] << np.uint8(1)) | codes[:, :, 1:]
    codes = (codes[:, :-1] << np.uint8(2)) | codes[:, 1:]
    return (codes[:-1] << np.uint8(4)) | codes[1:]


def element_areas(spacing: Spacing) -> Floats:
    """Return the area in mm² of the surface element of each of the 256 codes; spacing in mm."""
    x, y, z = spacing
    pieces: Floats = np.linalg.norm(_unit_pieces() * np.array([y * z, x * z, x * y]), axis=2)
    areas: Floats = pieces.sum(axis=1)
    return areas


@lru_cache(maxsize=1)
def _unit_pieces() -> Floats:
    """Return the vector areas of the flat pieces of every code, (256, 4, 3), in a cube of 1 mm."""
    pieces = np.zeros((FULL + 1, _MOST_PIECES, 3))
    for code in range(FULL + 1):
        found = [piece for group in _groups(code) for piece in _flat_pieces(group)]
        pieces[code, : len(found)] = np.reshape(found, (-1, 3))
    return pieces


def _groups(code: int) -> list[frozenset[Corner]]:
    """Return the corners of the minority, inside or outside, as groups joined by edges of the cube."""
    inside = {corner for i, corner in enumerate(_CORNERS) if code & (128 >> i)}
    rest = inside if len(inside) <= 4 else set(_CORNERS) - inside
    groups = []
    while rest:
        group = {rest.pop()}
        while grown := {corner for corner in rest if any(_edge(corner, other) for other in group)}:
            group |= grown
            rest -= grown
        groups.append(frozenset(group))
    return groups


def _edge(one: Corner, other: Corner) -> bool:
    return sum(a != b for a, b in zip(one, other, strict=True)) == 1


def _flat_pieces(group: frozenset[Corner]) -> Iterator[Floats]:
    """Yield the vector areas of the pieces of a group's surface, those that are not empty."""
    ring = _ring(group)
    ears = [[ring[i - 1], ring[i], ring[(i + 1) % len(ring)]] for i in range(1, len(ring), 2)]
    for polygon in [*ears, ring[::2]]:
        points = np.array(polygon, dtype=np.float64) / 2
        area = np.cross(points, np.roll(points, -1, axis=0)).sum(axis=0) / 2
        if area.any():
            yield area


def _ring(group: frozenset[Corner]) -> list[Corner]:
    """Return the crossings around a group in order; the second is the only one of its corner, if any is."""
    crossings: dict[Corner, list[Corner]] = {}
    for corner in sorted(group):
        outside = [other for other in _CORNERS if _edge(corner, other) and other not in group]
        crossings[corner] = [tuple((a + b) // 2 for a, b in zip(corner, o, strict=True)) for o in outside]
    lonely = [found[0] for found in crossings.values() if len(found) == 1]
    rest = [point for found in crossings.values() for point in found]
    ring = [lonely[0] if lonely else rest[0]]
    rest.remove(ring[0])
    while rest:
        ring.append(next(point for point in rest if _on_one_face(ring[-1], point)))
        rest.remove(ring[-1])
    return ring[-1:] + ring[:-1]


def _on_one_face(one: Corner, other: Corner) -> bool:
    return any(a == b != 1 for a, b in zip(one, other, strict=True))
