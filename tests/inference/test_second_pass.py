"""Closer looks: where, how many, and that their mean is taken there and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from gliomaseg.inference.second_pass import second_pass
from gliomaseg.settings.loading import load_settings
from gliomaseg.settings.schema import Settings

SHAPE = (128, 160, 144)
INSIDE = (slice(40, 60), slice(70, 110), slice(20, 40))


class Answers:
    """A network that answers with 0.9 everywhere and keeps the shapes of its windows."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def run(self, window: np.ndarray) -> np.ndarray:
        self.shapes.append(window.shape[2:])
        return np.full((1, 3, *window.shape[2:]), 0.9, np.float32)


class Neighbour:
    """A network that sees the first sequence of the voxel before, along one axis."""

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def run(self, window: np.ndarray) -> np.ndarray:
        return np.repeat(np.roll(window[:, :1], 1, axis=2 + self.axis), 3, axis=1)


def settings(quality: str, *changes: str) -> Settings:
    return load_settings("unet3d", [f"inference.quality={quality}", *changes])


def mask(*box: slice, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    found = np.zeros(shape, dtype=bool)
    found[box] = True
    return found


def seen(found: np.ndarray, quality: str = "standard", *changes: str) -> tuple[np.ndarray, Answers]:
    """Return probabilities that were 0.1 before the closer looks, and the network."""
    network, probabilities = Answers(), np.full((3, *found.shape), 0.1, np.float32)
    image = np.zeros((4, *found.shape), np.float32)
    second_pass(probabilities, found, image, network, settings(quality, *changes))
    return probabilities, network


@pytest.mark.parametrize(("quality", "looks", "mean"), [("standard", 1, 0.5), ("best", 8, 7.3 / 9)])
def test_the_mean_is_taken_around_what_was_found(quality: str, looks: int, mean: float) -> None:
    probabilities, network = seen(mask(*INSIDE), quality)
    assert network.shapes == [(112, 112, 112)] * looks  # 20, 40, 20 and 16 on both sides are less
    box = (slice(0, 112), slice(34, 146), slice(0, 112))  # about the middle, moved into the image
    np.testing.assert_allclose(probabilities[(slice(None), *box)], mean, rtol=1e-5)
    assert np.count_nonzero(probabilities != np.float32(0.1)) == 3 * 112**3


def test_a_large_tumour_has_room_around_it() -> None:
    probabilities, network = seen(mask(slice(30, 60), slice(20, 121), slice(40, 50)))
    assert network.shapes == [(112, 144, 112)]  # 101 + 2 * 16, up to the next multiple of 16
    ends = np.flatnonzero((probabilities[0] > 0.2).any(axis=(0, 2)))[[0, -1]]
    assert ends[0] <= 20 - 16
    assert ends[1] >= 120 + 16


@pytest.mark.parametrize("corner", [slice(0, 2), slice(-2, None)])
def test_at_the_edge_the_part_stays_inside(corner: slice) -> None:
    probabilities, network = seen(mask(corner, corner, corner))
    assert network.shapes == [(112, 112, 112)]
    assert (probabilities[:, corner, corner, corner] == 0.5).all()


def test_a_brain_that_is_smaller_than_the_part_is_seen_whole() -> None:
    probabilities, network = seen(mask(slice(3), slice(3), slice(3), shape=(64, 96, 80)))
    assert network.shapes == [(64, 96, 80)]
    assert (probabilities == 0.5).all()


def test_where_memory_is_short_the_part_is_seen_in_windows() -> None:
    probabilities, network = seen(mask(*INSIDE), "standard", "inference.window_voxels=800000")
    assert len(network.shapes) > 1
    assert max(np.prod(shape) for shape in network.shapes) <= 800_000
    assert np.count_nonzero(probabilities > 0.2) == 3 * 112**3


def test_nothing_found_nothing_looked_at() -> None:
    probabilities, network = seen(mask(slice(0)))
    assert network.shapes == []
    assert (probabilities == np.float32(0.1)).all()


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("quality", ["standard", "best"])
def test_mirror_images_are_turned_back(quality: str, axis: int) -> None:
    """By pencil: a mirrored look sees the voxel behind instead of the one before."""
    image = np.random.default_rng(0).normal(size=(4, 32, 32, 32)).astype(np.float32)
    given, probabilities = image.copy(), np.zeros((3, 32, 32, 32), np.float32)
    found = mask(slice(8, 24), slice(8, 24), slice(8, 24), shape=(32, 32, 32))
    second_pass(probabilities, found, image, Neighbour(axis), settings(quality))
    before, after = (np.roll(image[0], step, axis=axis) for step in (1, -1))
    expected = before / 2 if quality == "standard" else (4 * before + 4 * after) / 9
    inner = (slice(1, -1),) * 3
    np.testing.assert_allclose(probabilities[0][inner], expected[inner], atol=1e-6)
    np.testing.assert_array_equal(image, given)
