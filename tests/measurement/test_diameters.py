"""RANO lines against every pair of voxels, and on shapes measured with a ruler."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from bodies import BODIES

from gliomaseg.measurement import diameters
from gliomaseg.measurement.diameters import ANGLE_DEGREES, Line, find_diameters

Mask = npt.NDArray[np.bool_]


def slab(*slices: Mask) -> Mask:
    return np.stack(slices, axis=2)


def angle(one: Line, other: Line, axes: npt.NDArray[np.float64]) -> float:
    first, second = (axes[:, :2] @ np.subtract(*line.ends) for line in (one, other))
    return float(np.degrees(np.arccos(abs(first @ second) / np.linalg.norm(first) / np.linalg.norm(second))))


def inside(line: Line, mask: Mask) -> bool:
    """Return whether a line stays in the mask of its slice, looked at closely."""
    start, end = np.array(line.ends)
    points = start + np.linspace(0.002, 0.998, 2001)[:, None] * (end - start)
    near = [np.floor(points + 0.5 + shift).astype(int) for shift in (-0.02, 0.02)]
    x, y = near[0].T
    u, v = near[1].T
    return bool((mask[x, y] | mask[u, v] | mask[x, v] | mask[u, y]).all())


def test_a_rectangle_by_the_ruler() -> None:
    plane = np.zeros((40, 30), bool)
    plane[5:35, 10:20] = True  # 30 x 10 mm: the longest line is near the diagonal
    found = find_diameters(slab(plane, plane), np.eye(3))
    assert found is not None
    assert found.longest.length_mm == pytest.approx(np.hypot(30, 10), abs=0.3)
    assert found.perpendicular.length_mm == pytest.approx(10.5, abs=0.6)
    assert abs(angle(found.longest, found.perpendicular, np.eye(3)) - 90) <= ANGLE_DEGREES + 1e-6


def test_a_ball_has_two_equal_lines_through_its_middle() -> None:
    mask = BODIES["ball of radius 15"].draw(np.eye(3), np.eye(3), np.zeros(3))
    found = find_diameters(mask, np.eye(3))
    assert found is not None
    assert found.longest.length_mm == pytest.approx(30, abs=1.5)
    assert found.perpendicular.length_mm == pytest.approx(30, abs=1.5)
    assert found.slice == mask.shape[2] // 2


def test_lines_stay_inside_a_ring_and_a_bow() -> None:
    x, y = np.meshgrid(np.arange(41) - 20, np.arange(41) - 20, indexing="ij")
    radius = np.hypot(x, y)
    ring, bow = (radius < 18) & (radius > 13), (radius < 18) & (radius > 13) & (x > 0)
    for plane in (ring, bow):
        found = find_diameters(slab(plane), np.eye(3))
        assert found is not None
        assert inside(found.longest, plane)
        assert inside(found.perpendicular, plane)
        assert found.longest.length_mm == pytest.approx(2 * np.sqrt(18**2 - 13**2), abs=2.5)


@pytest.mark.parametrize(
    "axes", [np.eye(3), np.diag([1, 2, 5.0]), np.array([[1, 0.3, 0], [0, 1, 0], [0, 0, 2]])]
)
def test_no_pair_of_voxels_has_a_longer_line(axes: npt.NDArray[np.float64]) -> None:
    random = np.random.default_rng(4)
    for _ in range(15):
        plane = random.random((9, 9)) < 0.7
        plane[4, 4] = True
        found = find_diameters(slab(plane), axes)
        assert found is not None
        best = 0.0
        for one, other in itertools.combinations(np.argwhere(plane), 2):
            step = other - one
            points = np.floor(one + ((np.arange(997) + 0.3) / 997)[:, None] * step + 0.5).astype(int)
            if plane[tuple(points.T)].all():
                best = max(best, np.linalg.norm(axes[:, :2] @ step) * (1 + 1 / np.abs(step).max()))
        assert found.longest.length_mm == pytest.approx(best, abs=1e-6)


def test_one_voxel_has_lines_of_its_size() -> None:
    plane = np.zeros((3, 3), bool)
    plane[1, 1] = True
    found = find_diameters(slab(plane), np.diag([1, 2, 3]))
    assert found is not None
    assert found.longest.length_mm == 2
    assert found.perpendicular.length_mm in (1, 2)
    assert find_diameters(np.zeros((2, 2, 2), bool), np.eye(3)) is None


def test_the_slice_with_the_longest_line_counts() -> None:
    small, large = np.zeros((30, 30), bool), np.zeros((30, 30), bool)
    small[5:15, 5:25] = True
    large[5:8, 2:28] = True  # longer, though less of it
    found = find_diameters(slab(small, large, small), np.eye(3))
    assert found is not None
    assert found.slice == 1
    assert found.moved((1, 2, 3)).slice == 4
    assert found.moved((1, 2, 3)).longest.ends[0] == tuple(np.add(found.longest.ends[0], (1, 2)))


def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows by the number of points that are looked at."""
    counts: list[int] = []
    look = diameters._inside
    monkeypatch.setattr(
        diameters, "_inside", lambda *a: counts.append(len(a[1].lengths) * len(a[2])) or look(*a)
    )
    return counts


def test_a_spent_budget_leaves_a_line_inside_the_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = np.random.default_rng(0).random((40, 40, 6)) < 0.4
    counts = looked_at(monkeypatch)
    exact = find_diameters(mask, np.eye(3))
    before, counts[:] = sum(counts), []
    monkeypatch.setattr(diameters, "_MOST_POINTS", 1000)
    monkeypatch.setattr(diameters, "_MOST_ENDS", 100)
    bounded = find_diameters(mask, np.eye(3))
    assert sum(counts) < before / 10
    assert exact is not None
    assert bounded is not None
    assert 0 < bounded.longest.length_mm <= exact.longest.length_mm
    assert inside(bounded.longest, mask[:, :, bounded.slice])


@pytest.mark.parametrize("filled", [0.5, 0.9])
def test_a_ragged_whole_brain_mask_is_bounded(monkeypatch: pytest.MonkeyPatch, filled: float) -> None:
    """As a barely trained network makes it; without a bound its lines took minutes."""
    x, y, z = np.ogrid[-1:1:150j, -1:1:190j, -1:1:40j]
    noise = np.random.default_rng(0).random((150, 190, 40))
    mask = (x**2 + y**2 + z**2 < 1) & (
        (noise + np.roll(noise, 1, 0) + np.roll(noise, 1, 1)) / 3 < filled / 1.7
    )
    counts = looked_at(monkeypatch)
    found = find_diameters(mask, np.eye(3))
    assert found is not None
    assert sum(counts) < 1.5 * diameters._MOST_POINTS
    assert inside(found.longest, mask[:, :, found.slice])
