"""The head around a brain, from a few of its voxels."""

from __future__ import annotations

import numpy as np
import pytest

from gliomaseg.imaging.planes import PLANES, View, find_view, head_slice_ras, sample_of, slice_ras
from gliomaseg.imaging.prepare import orientation_of
from gliomaseg.imaging.surroundings import Surroundings
from gliomaseg.imaging.volume import Grid, Segmentation
from gliomaseg.labels import BRATS2021

SHAPE = (13, 17, 11)  # odd: the last voxel is kept, too


def slope() -> np.ndarray:  # type: ignore[type-arg]
    """Return an image whose value grows evenly along every axis: linear interpolation is exact in it."""
    x, y, z = np.indices(SHAPE)
    return (1 + x + 20 * y + 400 * z).astype(np.float32)


def around(spacing: tuple[float, float, float] = (1, 1, 1)) -> Surroundings:
    found = Surroundings.empty(1, np.ones(SHAPE, bool), spacing)
    found.keep(0, slope())
    return found


@pytest.mark.parametrize(
    ("spacing", "steps"), [((1, 1, 1), (2, 2, 2)), ((0.5, 1, 5), (4, 2, 1)), ((0.9, 0.9, 3), (2, 2, 1))]
)
def test_about_2_mm_apart_and_linear_between(
    spacing: tuple[float, float, float], steps: tuple[int, int, int]
) -> None:
    found = around(spacing)
    assert found.steps == steps
    assert found.head.size <= np.prod([-(-n // s) for n, s in zip(SHAPE, steps, strict=True)])
    box = (slice(1, 12), slice(3, 4), slice(0, 10))
    assert np.allclose(found.values(0, box), slope()[box])


def test_spread_repeats_the_voxel_before() -> None:
    found = around()
    few = found.head[0].astype(np.uint8)
    spread = found.spread(few)
    assert spread.shape == SHAPE
    assert spread[7, 5, 3] == few[3, 2, 1]
    assert spread[6, 4, 2] == few[3, 2, 1]


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SRA", "AIL", "PSR"])
def test_a_slice_of_the_head_is_cut_like_one_of_the_image(codes: str) -> None:
    affine = np.diag([0.0, 0, 0, 1])
    for along, code in enumerate(codes):
        affine["LRPAIS".index(code) // 2, along] = 1 if code in "RAS" else -1
    grid = Grid(SHAPE, affine)
    labels = np.zeros(SHAPE, np.uint8)
    labels[4:7, 6:9, 3:6] = 2
    sample = sample_of(slope(), orientation_of(affine))
    view: View = find_view([sample], Segmentation(labels, grid, BRATS2021), margin_mm=-1)
    for plane in PLANES:
        expected = slice_ras(slope(), view, plane=plane)
        assert np.allclose(head_slice_ras(around(), 0, view, plane=plane), expected)
