"""Memory foretold: windows shrink to fit, and what can't fit is refused before any work."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gliomaseg.errors import CaseError
from gliomaseg.inference.memory import Demand
from gliomaseg.settings.loading import load_settings, preset_names

BRATS = Demand(image=240 * 240 * 155, brain=144 * 176 * 144, stored=8)
SETTINGS = load_settings()


def test_a_brats_case_fits_whole_into_a_gigabyte() -> None:
    assert BRATS.fit(SETTINGS, 1e9, short=True) == BRATS.brain
    assert BRATS.inferring(SETTINGS, BRATS.brain, short=True) < 0.7e9
    assert BRATS.inferring(SETTINGS, BRATS.brain, short=False) > BRATS.inferring(
        SETTINGS, BRATS.brain, short=True
    )


def test_less_memory_gives_smaller_windows() -> None:
    windows = [BRATS.fit(SETTINGS, gb * 1e9, short=True) for gb in (1, 0.58, 0.54, 0.5)]
    assert windows == sorted(windows, reverse=True)
    assert len(set(windows)) == 4
    for gb, window in zip((1, 0.58, 0.54, 0.5), windows, strict=True):
        assert BRATS.inferring(SETTINGS, window, short=True) <= gb * 1e9


def test_mirror_images_and_maps_are_foretold() -> None:
    """By pencil, 4 sequences and 3 regions: 4 + 2 * 3 floats a voxel mirrored, 3 * (4 + 1) bytes of maps."""
    fast = BRATS.inferring(SETTINGS, BRATS.brain, short=True)
    standard = load_settings("unet3d", ["inference.quality=standard"])
    assert BRATS.inferring(standard, BRATS.brain, short=True) == fast + 40 * BRATS.brain
    mapped = replace(BRATS, maps=True)
    assert mapped.inferring(SETTINGS, BRATS.brain, short=True) == fast + 15 * (BRATS.brain + BRATS.image)


@pytest.mark.parametrize("preset", preset_names())
def test_every_network_is_foretold(preset: str) -> None:
    assert BRATS.fit(load_settings(preset), float("inf"), short=True) == BRATS.brain


def test_the_setting_limits_the_window() -> None:
    small = load_settings("unet3d", ["inference.window_voxels=1000000"])
    assert BRATS.fit(small, float("inf"), short=True) == 1_000_000


@pytest.mark.parametrize("demand", [BRATS, Demand(512**3, 512**3, 4), Demand(512**3, 10**6, 32)])
def test_what_can_not_fit_is_refused(demand: Demand) -> None:
    with pytest.raises(CaseError, match="E-MEM") as caught:
        demand.fit(SETTINGS, 0.3e9, short=True)
    assert "--max-memory" in caught.value.remedy
