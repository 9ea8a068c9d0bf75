"""Borders by a case's own intensities, on profiles that can be checked with a pencil."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage
from scipy.stats import multivariate_normal

from gliomaseg.inference.boundaries import refine
from gliomaseg.settings.loading import load_settings
from gliomaseg.settings.schema import Settings

Floats = npt.NDArray[np.float32]
#: The oedema that there is, and the one that the network finds: two voxels narrower on every side.
TRUE, FOUND = (slice(12, 32),) * 3, (slice(14, 30),) * 3
CORE = (slice(18, 26),) * 3
SHAPE = (44, 44, 44)


def settings(weight: float = 1.0, *more: str) -> Settings:
    return load_settings("unet3d", [f"segment.refine={weight}", *more])


def brain(bright: float = 2.0, noise: float = 0.2) -> Floats:
    """Return four sequences (modality, x, y, z) of oedema in a brain; only FLAIR shows it."""
    image = np.random.default_rng(0).normal(1.0, noise, (4, *SHAPE)).astype(np.float32)
    image[3][TRUE] += bright - 1
    return image


def unsure(found: tuple[slice, ...] = FOUND) -> Floats:
    """Return probabilities of WT: high inside, falling over four voxels around, low farther out."""
    wt = np.full(SHAPE, 0.01, np.float32)
    wt[tuple(slice(s.start - 4, s.stop + 4) for s in found)] = 0.3
    wt[found] = 0.95
    return np.stack([wt, np.zeros_like(wt), np.zeros_like(wt)])


def mask(where: tuple[slice, ...]) -> npt.NDArray[np.bool_]:
    inside = np.zeros(SHAPE, bool)
    inside[where] = True
    return inside


def with_core() -> tuple[Floats, Floats]:
    """Return an image in which core, oedema and brain each have their own spread, and probabilities of it."""
    rng, image, probabilities = np.random.default_rng(1), np.empty((4, *SHAPE), np.float32), unsure()
    for place, bright in (((slice(None),) * 3, 1.0), (TRUE, 1.4), (CORE, 3.0)):
        mixed = rng.normal(0, 0.4, (4, 4)) + 0.3 * np.eye(4)
        noise = rng.normal(0, 1, (4, *image[0][place].shape))
        image[(slice(None), *place)] = bright + np.einsum("ab,b...->a...", mixed, noise)
    probabilities[1] = 0.01
    probabilities[1][CORE] = 0.95
    return image, probabilities


def logit(probability: Floats) -> Floats:
    return np.log(probability / (1 - probability))


def test_every_step_is_a_ratio_of_two_normal_densities() -> None:
    """The oracle: densities by SciPy, of whole tumour and core, each with half of both spreads' mean."""
    image, probabilities = with_core()
    before = probabilities.copy()
    refine(probabilities, image, settings())
    grid = mask((slice(None, None, 2),) * 3)  # the comparison takes every second voxel
    core, around = mask(CORE), ndimage.binary_dilation(mask(FOUND), np.ones((25, 25, 25)))
    sides = {
        0: (mask(FOUND), core, mask(FOUND) & ~core, around & ~mask(FOUND) & (before[0] < 0.18)),
        1: (core, mask((slice(0),) * 3), core, mask(FOUND) & ~core),
    }
    for channel, (inside, inner, within, without) in sides.items():
        samples = [image[:, side & grid] for side in (within, without)]
        spreads = [np.cov(sample) for sample in samples]
        each = [0.5 * own + 0.25 * sum(spreads) + 0.01 * np.eye(4) for own in spreads]
        near = ndimage.binary_dilation(inside, np.ones((9, 9, 9)))
        values = image[:, near].T
        one, other = (
            multivariate_normal(sample.mean(1), spread).logpdf(values)
            for sample, spread in zip(samples, each, strict=True)
        )
        expected = np.clip(one - other, -3, 3)
        assert (abs(one - other) > 3).mean() > 0.05
        expected[inner[near]] = np.maximum(expected[inner[near]], 0)
        found = logit(probabilities[channel][near]) - logit(before[channel][near])
        assert np.allclose(found, expected, atol=0.01)


def test_what_one_sequence_does_not_show_tells_nothing() -> None:
    """Voxels inside without T2 are no sample of the oedema: the rest is as if nothing were known there."""
    image, hidden = with_core()
    dark = (slice(14, 30), slice(14, 30), slice(24, 30))
    image[2][dark] = 0
    doubted = hidden.copy()
    doubted[0][dark] = 0.7
    refine(hidden, image, settings())
    refine(doubted, image, settings())
    assert np.array_equal(hidden[0][..., :24], doubted[0][..., :24])


def test_a_core_outside_of_the_tumour_is_none() -> None:
    image, alone = with_core()
    beside = alone.copy()
    beside[1][4:10, 4:10, 4:10] = 0.95
    refine(alone, image, settings())
    refine(beside, image, settings())
    inside = mask(FOUND)
    assert np.array_equal(alone[:, inside], beside[:, inside])


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
    """Voxels of all intensities in a layer of probability about a half: the upper half becomes tumour."""
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
