"""Surface distances: with a pencil, and by their algebra. The oracles are in test_oracles."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gliomaseg.errors import CaseError
from gliomaseg.evaluation.mask_pair import MaskPair
from gliomaseg.evaluation.surface import Kind, SurfaceDistances, nearest
from gliomaseg.evaluation.surfels import element_areas, neighbour_codes

SPACING = (1.0, 1.0, 1.0)
SHAPES = hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=5)
PAIRS = SHAPES.flatmap(lambda s: st.tuples(hnp.arrays(bool, s), hnp.arrays(bool, s))).filter(
    lambda pair: pair[0].any() and pair[1].any()
)
Spacing = tuple[float, float, float]


def distances(a: np.ndarray, b: np.ndarray, spacing: Spacing = SPACING, *, kind: Kind) -> SurfaceDistances:
    return MaskPair(a, b, spacing).distances(kind, spacing)


def voxel_hd95(a: np.ndarray, b: np.ndarray, spacing: Spacing = SPACING) -> float:
    return distances(a, b, spacing, kind="voxels").pooled_hd95


def element_hd95(a: np.ndarray, b: np.ndarray, spacing: Spacing) -> float:
    return distances(a, b, spacing, kind="elements").greater_hd95


def average_distance(a: np.ndarray, b: np.ndarray, spacing: Spacing) -> float:
    return distances(a, b, spacing, kind="elements").average


def surface_dice(a: np.ndarray, b: np.ndarray, spacing: Spacing, tolerance: float) -> float:
    return distances(a, b, spacing, kind="elements").dice(tolerance)


DEFINITIONS = [voxel_hd95, element_hd95, average_distance]


def voxels(*places: tuple[int, int, int], shape: tuple[int, int, int] = (8, 8, 8)) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    for place in places:
        mask[place] = True
    return mask


ONE, OTHER = voxels((3, 3, 3)), voxels((5, 3, 3))


@pytest.mark.parametrize(("width_mm", "factor"), [(1.0, 1.0), (3.0, 3.0), (0.5, 0.5)])
def test_two_voxels_two_apart(width_mm: float, factor: float) -> None:
    spacing = (width_mm, 1.0, 1.0)
    assert voxel_hd95(ONE, OTHER, spacing) == pytest.approx(2 * factor)
    # each voxel has eight equal elements at its corners: four at 1, four at 2 voxels from the other one
    assert element_hd95(ONE, OTHER, spacing) == pytest.approx(2 * factor)
    assert average_distance(ONE, OTHER, spacing) == pytest.approx(1.5 * factor)
    assert surface_dice(ONE, OTHER, spacing, 0.9 * factor) == 0
    assert surface_dice(ONE, OTHER, spacing, 1.1 * factor) == pytest.approx(0.5)
    assert surface_dice(ONE, OTHER, spacing, 2.1 * factor) == 1


def test_a_tolerance_includes_its_own_distance() -> None:
    assert surface_dice(ONE, OTHER, SPACING, 1.0) == pytest.approx(0.5)
    assert distances(ONE, OTHER, kind="voxels").mean_share(2.0) == 1
    assert distances(ONE, OTHER, kind="voxels").mean_share(1.9) == 0


def test_voxel_hd95_is_in_voxels_without_a_spacing() -> None:
    assert voxel_hd95(ONE, OTHER) == 2


def test_pooled_and_greater_percentiles_differ() -> None:
    line = voxels(*((x, 3, 3) for x in range(8)))
    # pooled: 0 from the voxel; 0, 1, 1, 2, 2, 3, 3 and 4 from the line: 95 % lie at place 7.6 of 0 to 8
    assert voxel_hd95(voxels((3, 3, 3)), line) == pytest.approx(3.6)
    # along the line, 4 elements lie at 4 voxels: the tips of its end, 4 corners of 0.217 of in all 11.6 mm2
    assert element_hd95(voxels((3, 3, 3)), line, SPACING) == 3
    assert distances(voxels((3, 3, 3)), line, SPACING, kind="elements").from_reference.max() == 4


@pytest.mark.parametrize("measure", DEFINITIONS)
@pytest.mark.parametrize(("a", "b"), [(False, False), (False, True), (True, False)])
def test_an_empty_mask_gives_nan(measure, a: bool, b: bool) -> None:
    masks = [np.full((3, 3, 3), value) for value in (a, b)]
    assert math.isnan(measure(*masks, SPACING))
    assert math.isnan(surface_dice(*masks, SPACING, 1.0))
    assert math.isnan(distances(*masks, kind="voxels").mean_share(1.0))


def test_other_shapes_are_refused() -> None:
    with pytest.raises(CaseError, match="shape"):
        voxel_hd95(np.ones((2, 2, 2), bool), np.ones((2, 2, 3), bool))


def test_the_edge_of_the_image_is_a_surface() -> None:
    full = np.ones((4, 4, 4), dtype=bool)
    assert len(distances(full, full, kind="voxels").from_prediction) == 4**3 - 2**3
    assert len(distances(full, full, SPACING, kind="elements").from_prediction) == 5**3 - 3**3


def test_areas_with_a_pencil() -> None:
    areas = element_areas((1.0, 2.0, 3.0))
    assert areas[0] == areas[255] == 0
    # one side of the cube inside: a flat cut across it
    assert areas[0b11110000] == areas[0b00001111] == pytest.approx(2 * 3)
    assert areas[0b11001100] == areas[0b00110011] == pytest.approx(1 * 3)
    assert areas[0b10101010] == areas[0b01010101] == pytest.approx(1 * 2)
    # one corner: a triangle between the midpoints of three edges, (.5, 0, 0), (0, 1, 0), (0, 0, 1.5)
    corner = 0.5 * math.hypot(0.5 * 1, 0.5 * 1.5, 1 * 1.5)
    assert areas[0b10000000] == areas[0b01111111] == pytest.approx(corner)
    # two corners apart: two triangles; two corners of an edge along z: a rectangle
    assert areas[0b10000001] == pytest.approx(2 * corner)
    assert areas[0b11000000] == pytest.approx(3 * math.hypot(0.5, 1))


def test_a_voxel_has_the_area_of_an_octahedron() -> None:
    codes = neighbour_codes(np.pad(np.ones((1, 1, 1), bool), 1))
    assert element_areas(SPACING)[codes].sum() == pytest.approx(math.sqrt(3))


def test_the_sides_of_a_box_are_flat() -> None:
    mask = np.zeros((12, 12, 12), dtype=bool)
    mask[1:11, 1:11, 1:11] = True
    areas = element_areas(SPACING)[neighbour_codes(mask)]
    assert areas[1:10, 1:10, 0].tolist() == np.ones((9, 9)).tolist()


def test_an_area_is_that_of_its_complement() -> None:
    areas = element_areas((0.7, 1.3, 2.1))
    assert areas == pytest.approx(areas[::-1])
    assert np.count_nonzero(areas) == 254


@given(PAIRS)
def test_symmetric_and_zero_for_equal_masks(pair) -> None:
    a, b = pair
    for measure in DEFINITIONS:
        assert measure(a, b, (1.0, 2.0, 0.5)) == pytest.approx(measure(b, a, (1.0, 2.0, 0.5)))
        assert measure(a, a, SPACING) == 0
    assert surface_dice(a, a, SPACING, 0.0) == 1


@given(PAIRS)
def test_flips_and_permutations_change_nothing(pair) -> None:
    a, b = pair
    for measure in DEFINITIONS:
        expected = measure(a, b, (1.0, 2.0, 0.5))
        for axis in range(3):
            assert measure(np.flip(a, axis), np.flip(b, axis), (1.0, 2.0, 0.5)) == pytest.approx(expected)
        assert measure(a.transpose(1, 2, 0), b.transpose(1, 2, 0), (2.0, 0.5, 1.0)) == pytest.approx(expected)


@given(PAIRS, st.integers(0, 3), st.integers(0, 3))
def test_padding_and_translation_change_nothing(pair, before: int, after: int) -> None:
    a, b = pair
    for measure in DEFINITIONS:
        moved = [np.pad(mask, ((before, after), (after, before), (1, after))) for mask in (a, b)]
        assert measure(*moved, SPACING) == pytest.approx(measure(a, b, SPACING))


@given(PAIRS, st.sampled_from([0.25, 0.5, 2.0, 8.0]))
def test_distances_scale_with_the_spacing(pair, scale: float) -> None:
    a, b = pair
    for measure in DEFINITIONS:
        expected = scale * measure(a, b, (1.0, 1.5, 2.0))
        assert measure(a, b, (scale, 1.5 * scale, 2.0 * scale)) == pytest.approx(expected)


@given(PAIRS)
def test_95_percent_are_no_more_than_all(pair) -> None:
    a, b = pair
    found = distances(a, b, SPACING, kind="elements")
    greatest = max(found.from_prediction.max(), found.from_reference.max())
    assert found.average <= greatest
    assert found.greater_hd95 <= greatest
    assert found.pooled_hd95 <= greatest
    assert found.dice(greatest) == found.mean_share(greatest) == 1


def test_the_nearest_target() -> None:
    distances, places = nearest(np.array([[0.0, 0, 0], [5, 0, 0]]), np.array([[4.0, 0, 0], [0, 3, 0]]))
    assert distances.tolist() == [3, 1]
    assert places.tolist() == [1, 0]
