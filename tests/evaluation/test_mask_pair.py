"""Dilation and touching components against SciPy's."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from gliomaseg.evaluation.mask_pair import MaskPair, dilate, joint, touching

MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=3, max_dims=3, max_side=7))


@given(MASKS, st.integers(0, 4))
def test_dilation_is_that_of_scipy(mask: np.ndarray, steps: int) -> None:
    expected = mask
    for _ in range(steps):
        expected = ndimage.binary_dilation(expected, ndimage.generate_binary_structure(3, 2))
    assert np.array_equal(dilate(mask, steps), expected)


@given(hnp.arrays(np.int32, (3, 4), elements=st.integers(0, 3)), st.sampled_from([1, 50_000]))
def test_joint_counts_pairs(numbers: np.ndarray, scale: int) -> None:
    one, other = numbers * scale, numbers[::-1] * scale
    expected: dict[tuple[int, int], int] = {}
    for pair in zip(one.ravel().tolist(), other.ravel().tolist(), strict=True):
        if all(pair):
            expected[pair] = expected.get(pair, 0) + 1
    first, second, counts = (part.tolist() for part in joint(one, other))
    assert dict(zip(zip(first, second, strict=True), counts, strict=True)) == expected


@given(hnp.arrays(np.uint8, (6, 5, 4), elements=st.sampled_from([0, 0, 0, 0, 1, 2])))
def test_touching_components_are_found(labels: np.ndarray) -> None:
    image = (slice(0, 6), slice(0, 5), slice(0, 4)), labels.shape
    one, other = (MaskPair(labels == v, labels == v, (1.0, 1.0, 1.0), within=image) for v in (1, 2))
    numbers = [ndimage.label(labels == value, np.ones((3, 3, 3)))[0] for value in (1, 2)]
    expected = set()
    for number in range(1, int(numbers[0].max()) + 1):
        grown = ndimage.binary_dilation(numbers[0] == number, ndimage.generate_binary_structure(3, 2))
        expected |= {(number, int(n)) for n in np.unique(numbers[1][grown]) if n}
    found = touching(one.reference, other.reference)
    assert set(zip(*(part.tolist() for part in found), strict=True)) == expected
