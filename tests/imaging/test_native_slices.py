"""Which slice of a file shows a place, in every storage order."""

from __future__ import annotations

from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest

from gliomaseg.imaging.native_slices import NativeSlices
from gliomaseg.imaging.planes import ras_affine
from gliomaseg.imaging.volume import Grid, standard_grid

SHAPE = (20, 24, 6)
CODES = [
    "".join(pair[side] for pair, side in zip(order, sides, strict=True))
    for order in permutations(("LR", "PA", "IS"))
    for sides in product((0, 1), repeat=3)
]


def native(codes: str) -> NativeSlices:
    """Return slices whose third axis is 5 mm, stored towards ``codes`` and tilted by about 15 degrees."""
    turn = np.eye(4)
    turn[:3, :3] = 0
    for along, code in enumerate(codes):
        turn["LRPAIS".index(code) // 2, along] = 1 if code in "RAS" else -1
    tilt = nib.affines.from_matvec(nib.eulerangles.euler2mat(z=0.2, x=-0.15))
    return NativeSlices(Grid(SHAPE, tilt @ turn @ np.diag([1, 1, 5.0, 1])), "t1c")


def test_there_are_48_orders() -> None:
    assert len(set(CODES)) == 48


@pytest.mark.parametrize("codes", CODES)
def test_counted_from_1_in_the_order_of_the_file(codes: str) -> None:
    slices = native(codes)
    voxel = (3, 17, 4)
    place = nib.affines.apply_affine(slices.grid.affine, voxel)
    for along, code in enumerate(codes):
        axis = next(n for n, pair in enumerate(("LR", "PA", "IS")) if code in pair)
        assert slices.number(place, axis) == voxel[along] + 1
        assert slices.words(place, axis) == f"slice {voxel[along] + 1} of {SHAPE[along]} in t1c"


def test_a_place_beyond_the_file_counts_to_its_last_slice() -> None:
    slices = NativeSlices(Grid(SHAPE, np.diag([1, 1, 5.0, 1])), "t1c")
    assert [slices.number((0, 0, z), 2) for z in (-40, 2.4, 2.6, 99)] == [1, 1, 2, 6]


@pytest.mark.parametrize("codes", ["RAS", "LPI", "SLA", "AIR"])
def test_along_a_grid_of_1_mm(codes: str) -> None:
    """The numbers that a page computes are those of ``number``."""
    slices = native(codes)
    fine = standard_grid(slices.grid)
    turned = Grid(fine.shape, ras_affine(fine))
    for axis in range(3):
        first, step = slices.along(turned, axis)
        for index in (0, 3, 7):
            voxel = np.array([2.0, 2, 2])
            voxel[axis] = index
            number = slices.number(nib.affines.apply_affine(turned.affine, voxel), axis)
            assert number == np.clip(np.floor(first + step * index + 0.5), 0, slices.count(axis) - 1) + 1
