"""The chain of inference: which steps run, and in which order."""

from __future__ import annotations

import numpy as np
import pytest

from gliomaseg.inference.predict import predict
from gliomaseg.settings.loading import load_settings


class Contrast:
    """A network that finds oedema where the first sequence is positive."""

    def __init__(self) -> None:
        self.windows: list[tuple[int, ...]] = []

    def run(self, window: np.ndarray) -> np.ndarray:
        self.windows.append(window.shape[2:])
        tumour = 0.1 + 0.8 * (window[:, :1] > 0)
        return np.concatenate([tumour, 0.1 * tumour, 0.1 * tumour], axis=1).astype(np.float32)


@pytest.mark.parametrize(
    ("quality", "windows"),
    [("fast", [(144, 128, 128)]), ("standard", [(144, 128, 128), (112, 112, 112)])],
)
def test_quality_decides_on_the_second_pass(quality: str, windows: list[tuple[int, ...]]) -> None:
    image = -np.ones((4, 144, 128, 128), np.float32)
    image[:, 40:60, 40:60, 40:60] = 1
    network = Contrast()
    settings = load_settings("unet3d", [f"inference.quality={quality}", "segment.refine=0"])
    found = predict(image, network, settings)
    assert network.windows == windows
    assert (found[0] > 0.5).sum() == 20**3


def test_boundaries_are_refined_last() -> None:
    """A rim that the network misses has the intensities of the tumour: the refinement adds it."""
    image = np.random.default_rng(0).normal(-1, 0.1, (4, 64, 64, 64)).astype(np.float32)
    image[:, 20:40, 20:40, 20:40] += 2
    image[0, 20] = -1

    def rim(weight: float) -> np.ndarray:
        settings = load_settings("unet3d", ["inference.quality=fast", f"segment.refine={weight}"])
        return predict(image, Contrast(), settings)[0, 20, 25:35, 25:35]

    assert (rim(0) < 0.5).all()
    assert (rim(1) > rim(0)).all()
