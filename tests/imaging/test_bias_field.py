"""The coil's field: found where there is one, not made up where there is a tumour."""

from __future__ import annotations

import numpy as np
import pytest

from gliomaseg.imaging.bias_field import bias_field, correct_bias
from gliomaseg.imaging.phantom import Phantom
from gliomaseg.imaging.prepare import prepare
from gliomaseg.imaging.volume import Volume
from gliomaseg.labels import Modality
from gliomaseg.settings.schema import PrepareSettings

SHAPE = (40, 50, 44)
X, Y, Z = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
BRAIN = X**2 + Y**2 + Z**2 < 1
FIELD = 0.3 * Y - 0.2 * Z + 0.15 * Y * Z + 0.1 * X**2 - 0.1 * Z**2


def whole_field(image: np.ndarray, name: str) -> np.ndarray:
    across, along = bias_field(image, name)
    return np.asarray(across + along)


def centred(field: np.ndarray) -> np.ndarray:
    return np.asarray(field - field[BRAIN].mean())


@pytest.mark.parametrize("name", Modality)
def test_a_field_of_second_order_is_found(name: str) -> None:
    image = np.where(BRAIN, 100 * np.exp(FIELD), 0).astype(np.float32)
    found = centred(whole_field(image, name))
    assert found.shape == SHAPE
    assert np.abs(found - centred(FIELD))[BRAIN].max() < 0.01


def test_the_correction_removes_the_field() -> None:
    image = np.where(BRAIN, 100 * np.exp(FIELD), 0).astype(np.float32)
    found = correct_bias(image, "t2f", 1.0)
    assert found[BRAIN].std() < 0.01 * found[BRAIN].mean()
    assert not found[~BRAIN].any()
    np.testing.assert_array_equal(correct_bias(image, "t2f", 0), image)
    assert correct_bias(image.astype(np.int16), "t2f", 0.5).dtype == np.float32


@pytest.mark.parametrize(("name", "brightness"), [("t2f", 3.0), ("t1c", 2.0), ("t2w", 3.0), ("t1n", 0.4)])
def test_a_tumour_on_one_side_is_not_a_field(name: str, brightness: float) -> None:
    tumour = (X - 0.45) ** 2 + (Y - 0.3) ** 2 + Z**2 < 0.3
    image = np.where(BRAIN, np.where(tumour, 100 * brightness, 100), 0).astype(np.float32)
    assert np.abs(centred(whole_field(image, name)))[BRAIN].max() < 0.02


@pytest.mark.parametrize("image", [np.zeros(SHAPE), np.ones((1, 1, 1)), np.full(SHAPE, 7, np.int16)])
def test_nothing_to_fit_is_no_field(image: np.ndarray) -> None:
    assert np.abs(centred_or_none(whole_field(image, "t1n"))).max() < 1e-3


def centred_or_none(field: np.ndarray) -> np.ndarray:
    return np.asarray(field - field.mean())


def test_the_field_is_bounded() -> None:
    image = np.where(BRAIN, 100 * np.exp(8 * Y), 0)
    assert np.abs(whole_field(image, "t2f")).max() <= 1.4 + 1e-6


def test_an_exam_with_a_bias_field_is_prepared_nearly_like_one_without(phantom: Phantom) -> None:
    images = phantom.images
    y, z = (np.linspace(-1, 1, n) for n in images.grid.shape[1:])
    shade = np.exp(0.4 * y[:, None] - 0.3 * z[None])[None, None]
    shaded = Volume((images.array * shade).astype(np.float32), images.grid, images.channels)

    def distance(strength: float) -> float:
        settings = PrepareSettings(bias_correction=strength)
        even, uneven = (prepare(volume, settings).image for volume in (images, shaded))
        return float(np.abs(even - uneven).mean())

    assert distance(1.0) < 0.35 * distance(0.0)
    assert distance(1.0) < distance(0.5) < distance(0.0)


def test_nothing_changes_by_default(phantom: Phantom) -> None:
    plain = prepare(phantom.images, PrepareSettings()).image
    np.testing.assert_array_equal(plain, prepare(phantom.images, PrepareSettings(bias_correction=0)).image)
    assert not np.array_equal(plain, prepare(phantom.images, PrepareSettings(bias_correction=0.5)).image)
