"""The second pass: where, how many mirror images, and that the mean changes nothing elsewhere."""

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


def first_pass(tumour: np.ndarray) -> np.ndarray:
    """Return probabilities of 0.6 in the tumour, 0.1 elsewhere."""
    return np.repeat(np.where(tumour, 0.6, 0.1)[None], 3, axis=0).astype(np.float32)


def seen(tumour: np.ndarray, quality: str = "standard", *changes: str) -> tuple[np.ndarray, Answers]:
    """Return the probabilities after the second pass, and the network."""
    network, probabilities = Answers(), first_pass(tumour)
    image = np.zeros((4, *tumour.shape), np.float32)
    second_pass(probabilities, image, network, settings(quality, *changes))
    return probabilities, network


@pytest.mark.parametrize(("quality", "passes"), [("standard", 1), ("best", 8)])
def test_the_mean_is_taken_around_the_tumour(quality: str, passes: int) -> None:
    probabilities, network = seen(mask(*INSIDE), quality)
    assert network.shapes == [(112, 112, 112)] * passes  # 20, 40, 20 and 16 on both sides are less
    box = (slice(0, 112), slice(34, 146), slice(0, 112))  # about the middle, moved into the image
    before = first_pass(mask(*INSIDE))
    mean = (before[(slice(None), *box)] + passes * 0.9) / (1 + passes)
    np.testing.assert_allclose(probabilities[(slice(None), *box)], mean, rtol=1e-5)
    assert np.count_nonzero(probabilities != before) == 3 * 112**3


def test_a_large_tumour_has_room_around_it() -> None:
    probabilities, network = seen(mask(slice(30, 60), slice(20, 121), slice(40, 50)))
    assert network.shapes == [(112, 144, 112)]  # 101 + 2 * 16, up to the next multiple of 16
    ends = np.flatnonzero((probabilities[0] > 0.2).any(axis=(0, 2)))[[0, -1]]
    assert ends[0] <= 20 - 16
    assert ends[1] >= 120 + 16


@pytest.mark.parametrize("corner", [slice(0, 2), slice(-2, None)])
def test_at_the_edge_the_crop_stays_inside(corner: slice) -> None:
    probabilities, network = seen(mask(corner, corner, corner))
    assert network.shapes == [(112, 112, 112)]
    assert (probabilities[:, corner, corner, corner] == 0.75).all()


def test_a_brain_that_is_smaller_than_the_crop_is_seen_whole() -> None:
    tumour = mask(slice(3), slice(3), slice(3), shape=(64, 96, 80))
    probabilities, network = seen(tumour)
    assert network.shapes == [(64, 96, 80)]
    assert (probabilities == np.where(tumour, np.float32(0.75), np.float32(0.5))).all()


def test_where_memory_is_short_the_crop_is_seen_in_windows() -> None:
    probabilities, network = seen(mask(*INSIDE), "standard", "inference.window_voxels=800000")
    assert len(network.shapes) > 1
    assert max(np.prod(shape) for shape in network.shapes) <= 800_000
    assert np.count_nonzero(probabilities > 0.2) == 3 * 112**3


def test_without_a_tumour_nothing_changes() -> None:
    probabilities, network = seen(mask(slice(0)))
    assert network.shapes == []
    assert (probabilities == np.float32(0.1)).all()


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("quality", ["standard", "best"])
def test_mirror_images_are_turned_back(quality: str, axis: int) -> None:
    """By pencil: in a mirror image the network sees the voxel behind instead of the one before."""
    image = np.random.default_rng(0).normal(size=(4, 32, 32, 32)).astype(np.float32)
    given = image.copy()
    first = first_pass(mask(slice(8, 24), slice(8, 24), slice(8, 24), shape=(32, 32, 32)))
    probabilities = first.copy()
    second_pass(probabilities, image, Neighbour(axis), settings(quality))
    before, after = (np.roll(image[0], step, axis=axis) for step in (1, -1))
    expected = (first[0] + before) / 2 if quality == "standard" else (first[0] + 4 * before + 4 * after) / 9
    inner = (slice(1, -1),) * 3
    np.testing.assert_allclose(probabilities[0][inner], expected[inner], atol=1e-6)
    np.testing.assert_array_equal(image, given)
