"""A constant background is found and set to 0, and nothing else is."""

from __future__ import annotations

import numpy as np
import pytest

from gliomaseg.cases.intensities import zero_background
from gliomaseg.errors import Note
from gliomaseg.imaging.phantom import Phantom
from gliomaseg.imaging.prepare import prepare
from gliomaseg.imaging.volume import Volume
from gliomaseg.labels import Modality
from gliomaseg.settings.schema import PrepareSettings


@pytest.mark.parametrize(
    ("value", "kind"), [(-1, "i2"), (3, "u1"), (-1024, "f4"), (-np.inf, "f4"), (65535, "u2")]
)
def test_a_constant_background_is_set_to_0(phantom: Phantom, value: float, kind: str) -> None:
    image = (phantom.images.array[2] % 200 + 4 * (phantom.images.array[2] != 0)).astype(kind)
    notes: list[Note] = []
    found = zero_background(np.where(image == 0, np.array(value, kind), image), "x.nii", notes)
    np.testing.assert_array_equal(found, image)
    assert found.dtype == image.dtype
    assert [note.code for note in notes] == ["W-BACKGROUND"]
    assert f"a background of {value:g}" in notes[0].what


def test_an_image_with_a_background_of_0_is_the_same_object(phantom: Phantom) -> None:
    notes: list[Note] = []
    image = phantom.images.array[0]
    assert zero_background(image, "x.nii", notes) is image
    assert notes == []


def test_a_head_that_fills_the_image_and_noise_are_unchanged(phantom: Phantom) -> None:
    noise = np.random.default_rng(0).integers(1, 20, phantom.images.array[0].shape)
    corners = phantom.images.array[0].copy()
    corners[np.ix_((0, -1), (0, -1), (0, -1))] = 7
    notes: list[Note] = []
    for image in (noise, corners, np.full((4, 4, 4), np.nan)):
        assert zero_background(image, "x.nii", notes) is image
    assert notes == []


def test_z_scores_of_the_whole_image_are_prepared_like_the_image(phantom: Phantom) -> None:
    array = phantom.images.array.astype(np.float32)
    scored = np.stack([zero_background((a - a.mean()) / a.std(), "x.nii", []) for a in array])
    wanted, found = (
        prepare(Volume(a, phantom.images.grid, tuple(Modality)), PrepareSettings(), tuple(Modality)).image
        for a in (array, scored)
    )
    np.testing.assert_allclose(found, wanted, atol=2e-3)
