"""Borders by a case's own intensities, on profiles that can be checked with a pencil."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from gliomaseg.config import Settings
from gliomaseg.results.refine import refine
from gliomaseg.settings import load_settings

Floats = npt.NDArray[np.float32]
#: The oedema that there is, and the one that the network finds: two voxels narrower on every side.
TRUE, FOUND = (slice(12, 32),) * 3, (slice(14, 30),) * 3
SHAPE = (44, 44, 44)


def settings(weight: float = 1.0, *more: str) -> Settings:
    return load_settings("unet3d", [f"segment.refine={weight}", *more])


def brain(bright: float = 2.0, noise: float = 0.2) -> Floats:
    """Return four sequences (modality, x, y, z) of oedema in a brain; only FLAIR shows it."""
    image = np.random.default_rng(0).normal(1.0, noise, (4, *SHAPE)).astype(np.float32)
    image[3][TRUE] += bright - 1
    return image


def unsure(found: tuple[slice, ...] = FOUND) -> Floats:
    """Return probabilities of WT: sure within, unsure over four voxels around, sure of nothing farther."""
    wt = np.full(SHAPE, 0.01, np.float32)
    wt[tuple(slice(s.start - 4, s.stop + 4) for s in found)] = 0.3
    wt[found] = 0.95
    return np.stack([wt, np.zeros_like(wt), np.zeros_like(wt)])


def mask(where: tuple[slice, ...]) -> npt.NDArray[np.bool_]:
    inside = np.zeros(SHAPE, bool)
    inside[where] = True
    return inside


def test_a_border_goes_where_the_intensities_are() -> None:
    probabilities = unsure()
    assert np.array_equal(probabilities[0] > 0.5, mask(FOUND))
    refine(probabilities, brain(), settings())
    found = probabilities[0] > 0.5
    assert np.count_nonzero(found != mask(TRUE)) < 0.02 * np.count_nonzero(mask(TRUE))
    assert probabilities.dtype == np.float32
    assert ((probabilities >= 0) & (probabilities <= 1)).all()


def test_a_border_that_is_too_wide_comes_back() -> None:
    wide = (slice(10, 34),) * 3
    probabilities = unsure(wide)
    probabilities[0][wide] = 0.7
    probabilities[0][FOUND] = 0.95
    refine(probabilities, brain(), settings())
    assert np.count_nonzero((probabilities[0] > 0.5) != mask(TRUE)) < 0.03 * np.count_nonzero(mask(TRUE))


@pytest.mark.parametrize("bright", [1.6, 2.0, 3.0])
def test_it_lies_half_way_however_bright_the_oedema(bright: float) -> None:
    """Voxels of all intensities in a layer where the network can't tell: the upper half becomes tumour."""
    image, probabilities = brain(bright, noise=0.05), unsure()
    layer = (slice(12, 14), slice(14, 30), slice(14, 30))
    ramp = np.linspace(1, bright, 512).reshape(2, 16, 16).astype(np.float32)
    image[:3, *layer] = 1
    image[3][layer], probabilities[0][layer] = ramp, 0.499
    refine(probabilities, image, settings())
    least = ramp[probabilities[0][layer] > 0.5].min()
    assert least == pytest.approx((1 + bright) / 2, abs=0.03)


def test_without_weight_nothing_changes() -> None:
    probabilities = unsure()
    refine(probabilities, brain(), settings(0))
    assert np.array_equal(probabilities, unsure())


def test_more_weight_moves_more() -> None:
    counts = []
    for weight in (0.1, 0.3, 1.0):
        probabilities = unsure()
        refine(probabilities, brain(noise=0.6), settings(weight))
        counts.append(np.count_nonzero(probabilities[0] > 0.5))
    assert counts[0] < counts[1] < counts[2]


def test_only_what_is_near_changes() -> None:
    image, probabilities = brain(), unsure()
    image[3][0:6] = 2.0  # as bright as oedema, but elsewhere
    refine(probabilities, image, settings())
    far = ~mask((slice(10, 34),) * 3)
    assert np.array_equal(probabilities[0][far], unsure()[0][far])


def test_a_missing_sequence_has_no_say() -> None:
    one, other = unsure(), unsure()
    image = brain()
    refine(one, image[[3, 3, 3, 3]] * np.array([0, 0, 0, 1], np.float32)[:, None, None, None], settings())
    refine(other, image[3:], settings())
    assert np.array_equal(one, other)
    assert not np.array_equal(one, unsure())


def test_what_a_sequence_does_not_show_stays() -> None:
    image, probabilities = brain(), unsure()
    image[2, :, :, 22:] = 0
    refine(probabilities, image, settings())
    assert np.array_equal(probabilities[..., 22:], unsure()[..., 22:])
    assert not np.array_equal(probabilities[..., :22], unsure()[..., :22])


def test_a_core_stays_in_its_tumour() -> None:
    """A core as dark as the brain, in the middle and at the rim."""
    image, probabilities = brain(), unsure()
    core = (slice(14, 26),) * 3
    image[3][core] = 1.0
    probabilities[1][core] = 0.95
    refine(probabilities, image, settings())
    assert (probabilities[0][core] > 0.5).all()


def test_a_core_is_compared_with_the_oedema_around_it() -> None:
    image, probabilities = brain(), unsure(TRUE)
    true, found = (slice(17, 27),) * 3, (slice(18, 26),) * 3
    image[1][true] += 1.5
    image[1][:8] += 1.5  # what is as bright outside the tumour does not count
    probabilities[1] = np.where(mask((slice(14, 30),) * 3), 0.3, 0.01)
    probabilities[1][found] = 0.95
    refine(probabilities, image, settings())
    assert np.count_nonzero((probabilities[1] > 0.5) != mask(true)) < 20


@pytest.mark.parametrize("size", [0, 3])
def test_where_too_little_was_found_nothing_changes(size: int) -> None:
    probabilities = unsure((slice(20, 20 + size),) * 3)
    before = probabilities.copy()
    refine(probabilities, brain(), settings())
    assert np.array_equal(probabilities, before)


def test_a_network_of_one_region() -> None:
    probabilities = unsure()[:1]
    refine(
        probabilities,
        brain(),
        settings(1, "network.regions=[wt]", "training.region_weights=[1]", "segment.thresholds=[0.5]"),
    )
    whole = unsure()
    refine(whole, brain(), settings())
    assert np.array_equal(probabilities[0], whole[0])


def test_the_image_is_not_changed_and_the_result_always_the_same() -> None:
    image, one, other = brain(), unsure(), unsure()
    refine(one, image, settings())
    refine(other, image, settings())
    assert np.array_equal(image, brain())
    assert np.array_equal(one, other)
