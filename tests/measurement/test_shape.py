"""Surface, sphericity and diameter of bodies whose size is known, turned and on odd grids."""

from __future__ import annotations

import numpy as np
import pytest
from bodies import BODIES, turns
from scipy.spatial.distance import pdist

from gliomaseg.measurement.shape import longest_mm, sphericity, surface_mm2

GRIDS = {"1 mm": np.diag([1.0, 1.0, 1.0]), "1 x 1 x 3 mm": np.diag([1.0, 1.0, 3.0])}


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("name", ["ball of radius 15", "ellipsoid 30, 20, 15"])
def test_a_curved_body(name: str, grid: str) -> None:
    body, axes, random = BODIES[name], GRIDS[grid], np.random.default_rng(2)
    for turn in turns(4):
        mask = body.draw(axes, turn, random.uniform(-0.5, 0.5, 3))
        surface = surface_mm2(mask, axes)
        volume = np.count_nonzero(mask) * abs(np.linalg.det(axes))
        assert surface == pytest.approx(body.surface_mm2, rel=0.03)
        assert sphericity(volume, surface) == pytest.approx(body.sphericity, rel=0.03)
        assert longest_mm(mask, axes) == pytest.approx(body.longest_mm, abs=axes.max() + 0.5)


def test_a_box_along_the_axes_is_measured_to_its_edges() -> None:
    mask = np.zeros((60, 50, 40), bool)
    mask[5:55, 10:40, 10:30] = True
    assert longest_mm(mask, np.eye(3)) == pytest.approx(np.hypot(np.hypot(50, 30), 20), abs=0.5)
    assert surface_mm2(mask, np.eye(3)) == pytest.approx(2 * (50 * 30 + 50 * 20 + 30 * 20), rel=0.08)


def test_the_longest_line_is_that_of_all_pairs() -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        mask = random.random((9, 8, 7)) < random.uniform(0.005, 0.5)
        mask[tuple(random.integers(0, 7, 3))] = True
        places = np.argwhere(mask)
        centres = max(pdist(places * (1, 1, 2.5)), default=0.0)
        found = longest_mm(mask, np.diag([1, 1, 2.5]))
        assert centres < found <= 2 * centres or len(places) == 1


def test_one_voxel_and_none() -> None:
    mask = np.zeros((3, 3, 3), bool)
    assert longest_mm(mask, np.eye(3)) == 0
    assert surface_mm2(mask, np.eye(3)) == 0
    assert sphericity(0, 0) is None
    mask[1, 1, 1] = True
    assert longest_mm(mask, np.diag([1, 2, 3])) == 3


def test_a_sheared_or_turned_grid_changes_nothing() -> None:
    body, turn = BODIES["ellipsoid 30, 20, 15"], turns(2)[1]
    straight = surface_mm2(body.draw(np.eye(3), np.eye(3), np.zeros(3)), np.eye(3))
    tilted = surface_mm2(body.draw(turn, turn, np.zeros(3)), turn)
    assert tilted == pytest.approx(straight, rel=2e-3)
