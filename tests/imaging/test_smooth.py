"""Filters by pencil, and against scipy where it is installed."""

import numpy as np
import pytest

from gliomaseg.imaging.smooth import blur, box_mean, neighbours

IMAGE = np.random.default_rng(0).random((9, 8, 7), dtype=np.float32)


def test_a_constant_stays_constant() -> None:
    flat = np.full((5, 6, 7), 3, dtype=np.float32)
    np.testing.assert_allclose(blur(flat, [1, 2, 0.5]), 3, rtol=1e-6)
    np.testing.assert_allclose(box_mean(flat, 3), 3, rtol=1e-6)


def test_a_line_has_each_neighbour_once() -> None:
    one = np.zeros((3, 3, 3), dtype=np.float32)
    one[0, 1, 1] = 1
    seen = {round(distance, 3): 0 for distance, _ in neighbours(one)}
    for distance, image in neighbours(one):
        seen[round(distance, 3)] += int(image[1, 1, 1])
    assert seen == {1.0: 1, 1.414: 0, 1.732: 0}


def test_as_scipy() -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    np.testing.assert_allclose(
        blur(IMAGE, [1.1, 0.4, 0.0]), ndimage.gaussian_filter(IMAGE, [1.1, 0.4, 0.0]), atol=1e-6
    )
    np.testing.assert_allclose(box_mean(IMAGE, 3), ndimage.uniform_filter(IMAGE, 3), atol=1e-6)
