"""Memory is estimated: windows shrink to fit, and what can't fit is refused before any work."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gliomaseg.errors import CaseError
from gliomaseg.inference import memory
from gliomaseg.inference.memory import MemoryEstimate, memory_limit
from gliomaseg.settings.loading import load_settings, preset_names
from gliomaseg.settings.schema import InferenceSettings

SETTINGS = load_settings()
BRATS = MemoryEstimate(SETTINGS, image=240 * 240 * 155, brain=144 * 176 * 144, stored=8, short=True)


def test_a_brats_case_fits_whole_into_a_gigabyte() -> None:
    assert BRATS.fit(1e9) == BRATS.brain
    assert BRATS.inferring(BRATS.brain) < 0.7e9
    assert replace(BRATS, short=False).inferring(BRATS.brain) > BRATS.inferring(BRATS.brain)


def test_less_memory_gives_smaller_windows() -> None:
    windows = [BRATS.fit(gb * 1e9) for gb in (1, 0.58, 0.54, 0.5)]
    assert windows == sorted(windows, reverse=True)
    assert len(set(windows)) == 4
    for gb, window in zip((1, 0.58, 0.54, 0.5), windows, strict=True):
        assert BRATS.inferring(window) <= gb * 1e9


def test_mirror_images_and_maps_are_counted() -> None:
    """By pencil, 4 sequences and 3 regions: 4 + 2 * 3 floats a voxel mirrored, 3 * (4 + 1) bytes of maps."""
    fast = BRATS.inferring(BRATS.brain)
    standard = load_settings("unet3d", ["inference.quality=standard"])
    assert replace(BRATS, settings=standard).inferring(BRATS.brain) == fast + 40 * BRATS.brain
    assert replace(BRATS, maps=True).inferring(BRATS.brain) == fast + 15 * (BRATS.brain + BRATS.image)


@pytest.mark.parametrize("preset", preset_names())
def test_every_network_is_estimated(preset: str) -> None:
    assert replace(BRATS, settings=load_settings(preset)).fit(float("inf")) == BRATS.brain


def test_the_setting_limits_the_window() -> None:
    small = load_settings("unet3d", ["inference.window_voxels=1000000"])
    assert replace(BRATS, settings=small).fit(float("inf")) == 1_000_000


@pytest.mark.parametrize(
    "case",
    [
        BRATS,
        replace(BRATS, image=512**3, brain=512**3, stored=4),
        replace(BRATS, image=512**3, brain=10**6, stored=32),
    ],
)
def test_what_can_not_fit_is_refused(case: MemoryEstimate) -> None:
    with pytest.raises(CaseError, match="E-MEM") as caught:
        case.fit(0.3e9)
    assert "--max-memory" in caught.value.remedy


@pytest.mark.parametrize(
    ("asked", "free", "limit"), [(2.5, 10, 2.5e9), (None, 10, 10), (None, None, float("inf"))]
)
def test_the_limit_is_the_setting_or_the_free_memory(
    asked: float | None, free: int | None, limit: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda: free)
    assert memory_limit(InferenceSettings(max_memory_gb=asked)) == limit
