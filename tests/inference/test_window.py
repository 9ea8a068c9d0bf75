"""Windows: their geometry by pencil, and that cutting does not show."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gliomaseg.inference.bundle import Bundle
from gliomaseg.inference.openvino_engine import OpenVinoEngine
from gliomaseg.inference.window import infer, window_boxes, window_shape
from gliomaseg.settings.loading import load_settings
from gliomaseg.settings.schema import InferenceSettings, Settings

SIDES = st.integers(1, 12).map(lambda n: 16 * n)
SHAPES = st.tuples(SIDES, SIDES, SIDES)
EXACT = InferenceSettings(precision="fp32", threads=1)


def blur(image: np.ndarray, times: int = 3) -> np.ndarray:
    """Return the image (..., x, y, z) after running means over 5 voxels, its edges repeated."""
    for axis in (-3, -2, -1) * times:
        padded = np.pad(
            image, [(2, 2) if a == axis % image.ndim else (0, 0) for a in range(image.ndim)], "edge"
        )
        image = np.lib.stride_tricks.sliding_window_view(padded, 5, axis).mean(axis=-1)
    return image


class Smooth:
    """A network that sees 6 voxels far: the mean of the modalities, blurred, as three probabilities."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def run(self, window: np.ndarray) -> np.ndarray:
        assert window.flags.c_contiguous
        self.shapes.append(window.shape)
        odds = np.exp(-4 * blur(window.mean(axis=1)))
        return np.stack([1 / (1 + odds), 1 / (1 + 2 * odds), 1 / (1 + 4 * odds)], axis=1).astype(np.float32)


def settings(voxels: int, preset: str = "unet3d") -> Settings:
    return load_settings(preset, [f"inference.window_voxels={voxels}"])


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


class TestWindowShape:
    @pytest.mark.parametrize(
        ("shape", "limit", "expected"),
        [
            ((160, 192, 144), 12_000_000, (160, 192, 144)),
            ((160, 192, 144), 160 * 192 * 144, (160, 192, 144)),
            ((160, 192, 144), 160 * 192 * 144 - 1, (160, 96, 144)),
            ((160, 192, 144), 1_500_000, (80, 96, 144)),
            ((48, 48, 48), 48**3 - 1, (32, 48, 48)),  # half of 48, rounded up to a multiple of 16
            ((16, 16, 32), 1, (16, 16, 16)),
        ],
    )
    def test_by_pencil(self, shape: tuple[int, ...], limit: int, expected: tuple[int, ...]) -> None:
        assert window_shape(shape, limit, 16) == expected

    @given(SHAPES, st.integers(1, 10_000_000))
    def test_it_fits_and_suits_the_network(self, shape: tuple[int, ...], limit: int) -> None:
        window = window_shape(shape, limit, 16)
        assert all(side % 16 == 0 and 16 <= side <= whole for side, whole in zip(window, shape, strict=True))
        assert math.prod(window) <= max(limit, 16**3)
        assert window == shape or math.prod(shape) > limit


class TestWindowBoxes:
    @given(SHAPES, SHAPES)
    def test_they_cover_everything_and_overlap(
        self, shape: tuple[int, int, int], window: tuple[int, int, int]
    ) -> None:
        window = tuple(min(w, s) for w, s in zip(window, shape, strict=True))
        boxes = window_boxes(shape, window)
        assert all(b.stop - b.start == w for box in boxes for b, w in zip(box, window, strict=True))
        for axis in range(3):
            spans = sorted({(box[axis].start, box[axis].stop) for box in boxes})
            assert spans[0][0] == 0
            assert spans[-1][1] == shape[axis]
            for (_, stop), (start, _) in itertools.pairwise(spans):
                assert stop - start >= window[axis] * 0.25 - 1  # voxels are whole
        assert len(boxes) == len({tuple((s.start, s.stop) for s in box) for box in boxes})

    def test_by_pencil(self) -> None:
        boxes = window_boxes((16, 40, 64), (16, 32, 32))
        assert [box[0] for box in boxes] == [slice(0, 16)] * 6
        assert {(b.start, b.stop) for _, b, _ in boxes} == {(0, 32), (8, 40)}
        assert {(b.start, b.stop) for *_, b in boxes} == {(0, 32), (16, 48), (32, 64)}

    def test_one_window_is_the_whole(self) -> None:
        assert window_boxes((32, 48, 16), (32, 48, 16)) == [(slice(0, 32), slice(0, 48), slice(0, 16))]


class TestVolumes:
    def test_what_fits_is_run_whole(self) -> None:
        engine, image = Smooth(), noise(4, 32, 48, 32)
        got = infer(image, engine, settings(32 * 48 * 32))
        assert engine.shapes == [(1, 4, 32, 48, 32)]
        assert np.array_equal(got, Smooth().run(image[None])[0])

    def test_windows_agree_with_the_whole(self) -> None:
        image = blur(noise(4, 96, 80, 64), 6) * 20
        whole, engine = Smooth().run(image[None])[0], Smooth()
        got = infer(image, engine, settings(100_000))
        assert len(engine.shapes) > 8
        assert set(engine.shapes) == {(1, 4, *window_shape(image.shape[1:], 100_000, 16))}
        assert whole.std() > 0.1
        assert np.abs(got - whole).mean() < 0.002
        assert np.abs(got - whole).max() < 0.1

    def test_a_network_without_neighbourhood_is_not_changed_at_all(self) -> None:
        class Pointwise(Smooth):
            def run(self, window: np.ndarray) -> np.ndarray:
                self.shapes.append(window.shape)
                return window[:, :3]

        image = noise(4, 48, 64, 32)
        got = infer(image, Pointwise(), settings(20_000))
        assert np.allclose(got, image[:3], atol=1e-6)

    def test_a_real_network_in_windows(self, unet3d: Bundle) -> None:
        image = blur(noise(4, 96, 64, 64)) * 10
        engine = OpenVinoEngine(unet3d, EXACT)
        whole = infer(image, engine, settings(10**9))
        parts = infer(image, engine, settings(200_000))
        assert whole.shape == parts.shape == (3, 96, 64, 64)
        assert np.abs(whole - parts).mean() < 0.01
        assert whole.std() > 0.02


class TestSlices:
    @pytest.mark.parametrize("depth", [1, 16, 21, 32])
    def test_slices_are_those_of_running_each_by_hand(self, unet2d: Bundle, depth: int) -> None:
        engine, image = OpenVinoEngine(unet2d, EXACT), noise(4, 48, 32, depth)
        got = infer(image, engine, settings(10**9, "unet2d"))
        assert got.shape == (3, 48, 32, depth)
        assert got.dtype == np.float32
        for z in {0, depth // 2, depth - 1}:
            by_hand = engine.run(np.ascontiguousarray(image[None, ..., z]))[0]
            assert np.abs(got[..., z] - by_hand).max() < 1e-5

    def test_batches_have_one_shape(self) -> None:
        engine, image = Smooth(), noise(4, 32, 48, 21)
        infer(image, engine, settings(10**9, "unet2d"))
        assert engine.shapes == [(16, 4, 32, 48)] * 2


class TestFixedWindows:
    """Networks that know one size of image only."""

    @pytest.mark.parametrize("shape", [(32, 48, 64), (40, 20, 33), (32, 32, 32)])
    def test_every_window_has_that_size(self, shape: tuple[int, int, int]) -> None:
        fixed = ["network.window=[32, 32, 32]", "training.patch=[32, 32, 32]"]
        network, image = Smooth(), noise(4, *shape)
        found = infer(image, network, load_settings("unetr", fixed))
        assert found.shape == (3, *shape)
        assert set(network.shapes) == {(1, 4, 32, 32, 32)}

    def test_slices_too(self) -> None:
        flat = ["network.dimensions=2", "network.window=[32, 48]", "training.patch=[32, 48]"]

        shapes: set[tuple[int, ...]] = set()

        class Bright:
            def run(self, window: np.ndarray) -> np.ndarray:
                shapes.add(window.shape[1:])
                return np.ascontiguousarray(window[:, :3])

        image = noise(4, 70, 40, 5)
        found = infer(image, Bright(), load_settings("unetr", flat))
        assert shapes == {(4, 32, 48)}
        np.testing.assert_allclose(found, image[:3], atol=1e-5)
