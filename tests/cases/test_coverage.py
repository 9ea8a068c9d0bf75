"""A sequence that ends inside the brain: padding is removed, and gaps are noted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gliomaseg.cases.content import check_content
from gliomaseg.cases.coverage import check_coverage
from gliomaseg.imaging.phantom import Phantom
from gliomaseg.imaging.volume import Volume
from gliomaseg.labels import Modality
from gliomaseg.measurement.measure import measure

QUARTER = (slice(None), slice(None, 36))


def padded(phantom: Phantom, value: int, channel: int = 0) -> Volume:
    """Return the exam whose first sequence holds one number in the back of the brain."""
    array = phantom.images.array.copy()
    part = array[channel][QUARTER]
    part[part != 0] = value
    return replace(phantom.images, array=array)


@pytest.mark.parametrize("value", [0, 1])
def test_gaps_of_a_sequence_are_noted_and_set_to_0(phantom: Phantom, value: int) -> None:
    given = padded(phantom, value)
    before = given.array.copy()
    found = check_coverage(given, "x")
    assert not found.array[0][QUARTER].any()
    np.testing.assert_array_equal(found.array[1:], before[1:])
    np.testing.assert_array_equal(given.array, before)
    *repairs, note = found.notes
    assert {n.code for n in found.notes} == {"W-COVER"}
    count = np.count_nonzero(before[0] == 1)
    assert [f"{count:,} voxels of t1n have the value 1" in n.what for n in repairs] == [True] * value
    brain = phantom.images.array[1] != 0
    lacking = np.count_nonzero(brain[QUARTER]) / np.count_nonzero(brain)
    noted = float(note.what.partition("lacks ")[2].partition("%")[0]) / 100
    assert noted == pytest.approx(lacking, abs=0.05)  # of every fourth voxel
    assert "t1n" in note.what
    assert "W-COVER" in [n.code for n in check_content(given, "x").notes]


def test_an_intact_exam_is_unchanged(phantom: Phantom) -> None:
    found = check_coverage(phantom.images, "x")
    assert found.array is phantom.images.array
    assert found.notes == phantom.images.notes


def test_a_frequent_bright_value_is_tissue(phantom: Phantom) -> None:
    """A saturated lesion or vessel, say: frequent, but not darker than the rest."""
    given = padded(phantom, int(phantom.images.array[0].max()))
    assert check_coverage(given, "x").array is given.array


def test_clipped_liquid_is_tissue(phantom: Phantom) -> None:
    """Many dark voxels of one value that are scattered, as where FLAIR nulls the liquid."""
    array = phantom.images.array.astype(np.float32)
    brain = array[3][array[3] > 0]
    array[3] = np.where(array[3] > 0, np.maximum(array[3], np.percentile(brain, 5)), 0)
    given = replace(phantom.images, array=array)
    assert check_coverage(given, "x").array is array
    assert check_coverage(given, "x").notes == ()


def test_padding_is_found_among_few_grey_levels(phantom: Phantom) -> None:
    given = padded(phantom, 1)
    few = np.ceil(given.array / given.array.max() * 12).astype(np.int16)
    assert check_coverage(replace(given, array=few), "x").array is not few


@pytest.mark.parametrize("value", [0, 1])
def test_a_little_of_one_value_stays(phantom: Phantom, value: int) -> None:
    array = phantom.images.array.copy()
    edge = array[0, :, :17]
    brain = phantom.images.array[0, ::4, ::4, ::4] != 0
    share = np.count_nonzero(brain[:, :5]) / np.count_nonzero(brain)
    assert 0.01 < share < 0.02
    edge[edge != 0] = value
    found = check_coverage(replace(phantom.images, array=array), "x")
    assert found.array is array
    assert found.notes == ()


def test_padding_with_a_little_tissue_is_padding(phantom: Phantom) -> None:
    """Interpolation leaves voxels of other numbers where registered images are padded."""
    given = padded(phantom, 1)
    some = np.indices(given.array.shape[1:]).sum(axis=0) % 32 == 0  # in planes across every axis
    given.array[0][some] = phantom.images.array[0][some]
    assert not np.any(check_coverage(given, "x").array[0] == 1)


def test_the_brain_is_measured_where_any_sequence_shows_it(phantom: Phantom) -> None:
    given = check_coverage(padded(phantom, 1), "x")
    whole, part = (measure(phantom.reference, images=images) for images in (phantom.images, given))
    assert part.brain_ml == whole.brain_ml
    assert part.side == whole.side


def test_padding_of_a_single_sequence_is_removed(phantom: Phantom) -> None:
    given = padded(phantom, 1)
    lone = check_coverage(replace(given, array=given.array[:1], channels=(Modality.T1N,)), "x")
    assert not lone.array[0][QUARTER].any()
    (note,) = lone.notes
    assert "have the value 1" in note.what
