"""Looks at an image, mirrored and through some sequences: how many, in their place, their mean."""

from __future__ import annotations

import numpy as np
import pytest

from gliomaseg.config import Settings
from gliomaseg.inference.looks import infer_looks, looks
from gliomaseg.settings import load_settings

VALID = (slice(0, 7), slice(0, 16), slice(0, 11))


class Neighbour:
    """A network that sees the first sequence of the voxel before, along one axis."""

    def __init__(self, axis: int) -> None:
        self.axis, self.passes = axis, 0

    def run(self, window: np.ndarray) -> np.ndarray:
        self.passes += 1
        before = np.roll(window[:, :1], 1, axis=2 + self.axis)
        return np.repeat(before, 3, axis=1)


def settings(quality: str) -> Settings:
    return load_settings("unet3d", [f"inference.quality={quality}"])


def image() -> np.ndarray:
    whole = np.zeros((4, 16, 16, 16), np.float32)
    whole[(slice(None), *VALID)] = np.random.default_rng(0).normal(size=(4, 7, 16, 11))
    return whole


@pytest.mark.parametrize(("quality", "passes"), [("fast", 1), ("standard", 2), ("best", 8)])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_mean_of_mirrored_neighbours(quality: str, passes: int, axis: int) -> None:
    network, given = Neighbour(axis), image()
    found = infer_looks(given, VALID, network, settings(quality))
    assert network.passes == passes
    before, after = (np.roll(given[0], step, axis=axis) for step in (1, -1))
    is_mirrored = quality == "best" or (quality == "standard" and axis == 0)
    expected = (before + after) / 2 if is_mirrored else before
    inner = tuple(slice(1, span.stop - 1) for span in VALID)  # what lies beside padding has no neighbour
    np.testing.assert_allclose(found[0][inner], expected[inner], atol=1e-6)
    assert found.shape == (3, 16, 16, 16)


def test_the_image_stays_as_it_was() -> None:
    given = image()
    infer_looks(given, VALID, Neighbour(0), settings("best"))
    np.testing.assert_array_equal(given, image())


class Sum:
    """A network whose every region is the sum of the sequences."""

    def run(self, window: np.ndarray) -> np.ndarray:
        return np.repeat(window.sum(axis=1, keepdims=True), 3, axis=1)


def channels(*values: float) -> np.ndarray:
    return np.asarray(values, np.float32)[:, None, None, None] * np.ones((1, 16, 16, 16), np.float32)


@pytest.mark.parametrize(
    ("quality", "given", "wt", "tc"),
    [
        ("fast", (1, 10, 100, 1000), 1111, 1111),
        ("standard", (1, 10, 100, 1000), (1111 + 1000) / 2, 1111),
        ("best", (1, 10, 100, 1000), (1111 + 1110 + 1010 + 1000) / 4, (1111 + 1110 + 1010) / 3),
        ("best", (0, 10, 0, 1000), (1010 + 1000) / 2, 1010),
        ("best", (1, 10, 100, 0), 111, 111),
        ("best", (0, 0, 0, 1000), 1000, 1000),
    ],
)
def test_a_network_that_bears_gaps_looks_through_some_sequences(
    quality: str, given: tuple[float, ...], wt: float, tc: float
) -> None:
    """By pencil; without T1 contrast a look tells about WT alone, and no look is taken twice."""
    bears = load_settings("unet3d", [f"inference.quality={quality}", "augment.drop_modality=0.2"])
    whole = (slice(0, 16),) * 3
    found = infer_looks(channels(*given), whole, Sum(), bears)
    np.testing.assert_allclose(found[:, 3, 3, 3], [wt, tc, tc], rtol=1e-6)


def test_the_only_sequence_tells_about_every_region_from_each_side() -> None:
    bears = load_settings("unet3d", ["inference.quality=best", "augment.drop_modality=0.2"])
    found = looks(channels(0, 0, 0, 1000), bears)
    assert [(look.channels, look.axes, look.regions) for look in found] == [
        ((3,), (), (0, 1, 2)),
        ((3,), (1,), (0, 1, 2)),
    ]
