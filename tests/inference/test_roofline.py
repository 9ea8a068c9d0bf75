"""Rooflines: operations by pencil, and a peak that is one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gliomaseg.inference.bundle import Bundle
from gliomaseg.inference.openvino_engine import OpenVinoEngine
from gliomaseg.settings.schema import InferenceSettings

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import roofline


def test_operations_by_pencil(unet3d: Bundle) -> None:
    """The tiny network (8, 8, 8 features at half resolution) on one window, counted layer by layer."""
    voxels = [16**3, 8**3, 4**3]
    encoder = [(32, 8), (8, 8), (8, 8), (8, 8), (8, 8), (8, 8)]
    work = sum(2 * 27 * a * b * voxels[i // 2] for i, (a, b) in enumerate(encoder))
    work += sum(2 * 8 * 8 * 8 * voxels[level + 1] for level in (0, 1))  # each place becomes 2 x 2 x 2
    work += sum(2 * 27 * (16 * 8 + 8 * 8) * voxels[level] for level in (0, 1))
    work += 2 * 8 * 24 * voxels[0]
    assert (
        roofline.operations(OpenVinoEngine(unet3d, InferenceSettings(precision="fp32")), (1, 4, 32, 32, 32))
        == work
    )


@pytest.mark.parametrize("precision", ["int8", "bf16", "fp32"])
def test_a_peak_is_a_rate(precision: str) -> None:
    engine = OpenVinoEngine(Bundle.load(), InferenceSettings(precision=precision))  # type: ignore[arg-type]
    assert 1e8 < roofline.peak_rate(engine) < 1e14
