"""Mirror images: how many, in their place, and what their mean is."""

from __future__ import annotations

import numpy as np
import pytest

from gliomaseg.config import Settings
from gliomaseg.inference.mirror import infer_mirrored
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
    found = infer_mirrored(given, VALID, network, settings(quality))
    assert network.passes == passes
    before, after = (np.roll(given[0], step, axis=axis) for step in (1, -1))
    is_mirrored = quality == "best" or (quality == "standard" and axis == 0)
    expected = (before + after) / 2 if is_mirrored else before
    inner = tuple(slice(1, span.stop - 1) for span in VALID)  # what lies beside padding has no neighbour
    np.testing.assert_allclose(found[0][inner], expected[inner], atol=1e-6)
    assert found.shape == (3, 16, 16, 16)


def test_the_image_stays_as_it_was() -> None:
    given = image()
    infer_mirrored(given, VALID, Neighbour(0), settings("best"))
    np.testing.assert_array_equal(given, image())
