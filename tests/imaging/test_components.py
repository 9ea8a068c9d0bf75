"""Components against scipy's, and by pencil."""

from __future__ import annotations

import hypothesis
import numpy as np
from hypothesis import strategies
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from gliomaseg.imaging.components import label_components


@hypothesis.given(arrays.arrays(bool, arrays.array_shapes(min_dims=3, max_dims=3, max_side=7)))
def test_components_are_those_of_scipy(mask: np.ndarray) -> None:  # type: ignore[type-arg]
    found, count = label_components(mask)
    expected, number = ndimage.label(mask, np.ones((3, 3, 3)))
    assert count == number
    assert found.shape == mask.shape
    assert len(set(zip(found.ravel().tolist(), expected.ravel().tolist(), strict=True))) == number + (
        not mask.all()
    )


@hypothesis.given(strategies.integers(0, 40), strategies.floats(0.02, 0.3))
@hypothesis.settings(max_examples=10)
def test_larger_masks_too(seed: int, share: float) -> None:
    mask = np.random.default_rng(seed).random((30, 31, 32)) < share
    assert label_components(mask)[1] == ndimage.label(mask, np.ones((3, 3, 3)))[1]


def test_a_corner_joins_and_a_gap_parts() -> None:
    mask = np.zeros((4, 4, 4), bool)
    mask[0, 0, 0] = mask[1, 1, 1] = mask[3, 3, 3] = True
    labels, count = label_components(mask)
    assert count == 2
    assert labels[0, 0, 0] == labels[1, 1, 1] == 1
    assert labels[3, 3, 3] == 2
    assert label_components(np.zeros((2, 3, 4), bool))[1] == 0


def test_rows_do_not_touch_around_the_edge_of_the_image() -> None:
    mask = np.zeros((3, 5, 5), bool)
    mask[0, 0, 4] = mask[0, 1, 0] = mask[1, 4, 4] = mask[2, 0, 0] = True
    assert label_components(mask)[1] == 4


def test_components_connect_over_corners_in_the_order_of_the_image() -> None:
    mask = np.zeros((5, 5, 5), dtype=bool)
    mask[0, 0, 4] = mask[4, 4, 4] = mask[1, 1, 3] = True
    numbers, count = label_components(mask)
    assert count == 2
    assert numbers[0, 0, 4] == numbers[1, 1, 3] == 1
    assert numbers[4, 4, 4] == 2
