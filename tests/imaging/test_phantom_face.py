"""Shapes of the synthetic face: distances and layers checkable with a pencil."""

from __future__ import annotations

import numpy as np
import pytest

from gliomaseg.imaging.phantom_face import (
    MASSES,
    ORBIT,
    SHAPES,
    Part,
    Shape,
    ellipsoid,
    make_cord,
    paint,
    vary,
)
from gliomaseg.imaging.phantom_tumour import Image


def line(*x: float, y: float = 0.0, z: float = 0.0) -> tuple[Image, Image, Image]:
    """Return places along x."""
    along = np.array(x, dtype=np.float32)
    return along, np.full_like(along, y), np.full_like(along, z)


def test_a_ball_knows_its_distance_and_an_ellipsoid_its_ends() -> None:
    np.testing.assert_allclose(ellipsoid(line(3, 5, 9), (1, 0, 0), (4, 4, 4)), [-2, 0, 4], atol=1e-5)
    ends = ellipsoid(line(-7, 0, 7), (0, 0, 0), (7, 3, 2))
    np.testing.assert_allclose(ends[[0, 2]], 0, atol=1e-5)
    assert ends[1] <= 0


def test_a_tube_bends_at_its_points_and_ends_round() -> None:
    tube = Shape(((Part.NERVE, 0.0),), ((0, 0, 0), (10, 0, 0), (10, 10, 0)), (2, 0, 0))
    np.testing.assert_allclose(tube.distance(line(-5, 5, 12)), [3, -2, 0], atol=1e-5)
    np.testing.assert_allclose(tube.distance(line(10, 14, y=10)), [-2, 2], atol=1e-5)
    low, high = tube.bounds()
    np.testing.assert_allclose([low, high], [(-2, -2, -2), (12, 12, 2)])


def test_layers_are_drawn_from_the_outside_in_where_it_is_free() -> None:
    sinus = Shape(((Part.BONE, 2.0), (Part.AIR, 0.0)), ((0, 0, 0),), (3, 3, 3))
    labels = np.full(8, Part.MUSCLE, dtype=np.uint8)
    free = np.array([True] * 7 + [False])
    paint(labels, sinus, line(0, 2, 4, 6, -2, -4, -6, 1), free)
    air, bone, muscle = Part.AIR, Part.BONE, Part.MUSCLE
    assert labels.tolist() == [air, air, bone, muscle, air, bone, muscle, muscle]


def test_cells_of_air_are_in_bone() -> None:
    cells = Shape(((Part.AIR, 0.0),), ((0, 0, 0),), (9, 9, 9), cells=True)
    labels = np.full(2, Part.MUSCLE, dtype=np.uint8)
    paint(labels, cells, line(0, 1), np.ones(2, dtype=bool), np.array([-1, 1], dtype=np.float32))
    assert labels.tolist() == [Part.BONE, Part.AIR]


def test_a_pair_is_symmetrical() -> None:
    eye = Shape(((Part.LENS, 0.0),), ((33, 60, -36),), (5, 2, 5), is_paired=True)
    one, other = eye.sides()
    np.testing.assert_allclose(
        one.distance(line(33, 30, y=60, z=-36)), other.distance(line(-33, -30, y=60, z=-36))
    )
    assert len(list(Shape(eye.layers, eye.points, eye.radii).sides())) == 1


def test_every_head_has_the_same_shapes_elsewhere() -> None:
    one, other = (list(vary(np.random.default_rng(seed))) for seed in (1, 2))
    assert len(one) == len(other) == len(SHAPES) + len(ORBIT) + 1
    for a, b in zip(one, other, strict=True):
        assert a.layers == b.layers
        assert a.points != b.points
        assert np.abs(np.subtract(a.points, b.points)).max() < 15


def test_the_parts_of_an_orbit_move_together() -> None:
    shapes = list(vary(np.random.default_rng(5)))
    orbit = shapes[len(SHAPES) : len(SHAPES) + len(ORBIT)]
    shifts = [np.subtract(a.points[0], b.points[0]) for a, b in zip(orbit, ORBIT, strict=True)]
    np.testing.assert_allclose(shifts, np.broadcast_to(shifts[0], (len(ORBIT), 3)), atol=1e-9)


@pytest.mark.parametrize("lowest", [-50.0, -66.0, -100.0])
def test_the_cord_goes_down_from_the_brain(lowest: float) -> None:
    cord = make_cord((1.0, -30.0, lowest))
    heights = [point[2] for point in cord.points]
    assert heights == sorted(heights, reverse=True)
    assert heights[0] == lowest


def test_the_masses_are_symmetrical() -> None:
    assert all(centre[0] == 0 for centre, _ in MASSES)
