"""A sequence that ends within the brain: padding is taken out of it, and what it lacks is told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gliomaseg.imaging.content import check_content
from gliomaseg.imaging.coverage import cover
from gliomaseg.imaging.phantom import Phantom
from gliomaseg.imaging.volume import Volume
from gliomaseg.labels import Modality

QUARTER = (slice(None), slice(None, 36))


def padded(phantom: Phantom, value: int, channel: int = 0) -> Volume:
    """Return the exam whose first sequence holds one number in the back of the brain."""
    array = phantom.images.array.copy()
    part = array[channel][QUARTER]
    part[part != 0] = value
    return replace(phantom.images, array=array)


@pytest.mark.parametrize("value", [0, 1])
def test_what_a_sequence_lacks_is_told_and_0(phantom: Phantom, value: int) -> None:
    given = padded(phantom, value)
    before = given.array.copy()
    found = cover(given, "x")
    assert not found.array[0][QUARTER].any()
    np.testing.assert_array_equal(found.array[1:], before[1:])
    np.testing.assert_array_equal(given.array, before)
    (note,) = found.notes
    assert note.code == "W-COVER"
    brain = phantom.images.array[1] != 0
    lacking = np.count_nonzero(brain[QUARTER]) / np.count_nonzero(brain)
    told = float(note.what.partition("lacks ")[2].partition("%")[0]) / 100
    assert told == pytest.approx(lacking, abs=0.05)  # of every fourth voxel
    assert "t1n" in note.what
    assert "W-COVER" in [n.code for n in check_content(given, "x").notes]


def test_a_sound_exam_is_left_alone(phantom: Phantom) -> None:
    found = cover(phantom.images, "x")
    assert found.array is phantom.images.array
    assert found.notes == phantom.images.notes


def test_a_bright_number_is_tissue(phantom: Phantom) -> None:
    """A saturated lesion or vessel, say: frequent, but not darker than the rest."""
    given = padded(phantom, int(phantom.images.array[0].max()))
    assert cover(given, "x").array is given.array


def test_few_grey_levels_are_no_padding(phantom: Phantom) -> None:
    array = np.ceil(phantom.images.array / phantom.images.array.max() * 12).astype(np.int16)
    given = replace(phantom.images, array=array)
    assert cover(given, "x").array is array


def test_a_lone_sequence_is_cleaned_but_not_compared(phantom: Phantom) -> None:
    given = padded(phantom, 1)
    lone = cover(replace(given, array=given.array[:1], channels=(Modality.T1N,)), "x")
    assert not lone.array[0][QUARTER].any()
    assert lone.notes == ()
