"""Likeness: high for two contrasts of one texture, low for two textures, unknown for next to nothing."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from gliomaseg.exams.likeness import likeness
from gliomaseg.exams.register import LEAST_ALIKE
from gliomaseg.imaging.volume import Grid

GRID = Grid((60, 60, 60), np.diag([2.0, 2.0, 2.0, 1.0]))
SHIFT = np.array([[1, 0, 0, 6.0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


def texture(seed: int) -> npt.NDArray[np.float32]:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=GRID.shape), 2)
    return np.asarray(100 + 500 * noise, np.float32)


def alike(other: npt.NDArray[np.float32], matrix: npt.NDArray[np.float64], head: float = 1) -> float | None:
    return likeness((texture(0), other), (GRID, GRID), matrix, head)


def test_another_contrast_of_one_texture_is_alike_in_place_only() -> None:
    contrast = -((texture(0) - 100) ** 2)
    assert (alike(contrast, np.eye(4)) or 0) > LEAST_ALIKE
    assert (alike(contrast, SHIFT) or 0) < 1


def test_another_texture_is_not_alike() -> None:
    assert 0 < (alike(texture(1), np.eye(4)) or 0) < LEAST_ALIKE


def test_nothing_in_common_is_unknown() -> None:
    far = SHIFT.copy()
    far[0, 3] = 500
    assert alike(texture(0), far) is None
    assert alike(texture(0), np.eye(4), head=1e6) is None
