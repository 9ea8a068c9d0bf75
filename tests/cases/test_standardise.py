"""A case at 1 mm and back: 1 mm voxels are unchanged, others are interpolated once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gliomaseg.cases.case import Case
from gliomaseg.cases.headers import read_headers, stored_size
from gliomaseg.cases.read import read_case
from gliomaseg.cases.standardise import standardise
from gliomaseg.imaging.nifti import write_image
from gliomaseg.imaging.phantom import Phantom
from gliomaseg.imaging.resample import regrid, resample
from gliomaseg.imaging.volume import Grid, standard_grid
from gliomaseg.labels import Modality, Region

T1N, T1C, T2W, T2F = Modality
MakeCase = Callable[..., Case]


def thick(image: np.ndarray[Any, Any], grid: Grid, slices: int) -> tuple[np.ndarray[Any, Any], Grid]:
    """Return the means of so many slices along z each, and their grid."""
    affine = grid.affine.copy()
    affine[:3, 3] += affine[:3, 2] * (slices - 1) / 2
    affine[:3, 2] *= slices
    count = grid.shape[2] // slices
    means = image[..., : count * slices].reshape(*image.shape[:2], count, slices).mean(-1)
    return means.astype(np.float32), Grid((*grid.shape[:2], count), affine)


@pytest.fixture
def make_case(phantom: Phantom, tmp_path: Path) -> MakeCase:
    """Return a function that writes the small exam, some of its sequences as thick slices."""

    def make(**slices: int) -> Case:
        paths = {m: tmp_path / f"x-{m}.nii" for m in Modality}
        for image, (modality, path) in zip(phantom.images.array, paths.items(), strict=True):
            write_image(path, *thick(image, phantom.images.grid, slices.get(modality.value, 1)))
        return Case("x", paths)

    return make


def test_a_case_with_usual_voxels_is_unchanged(phantom_case: Case, phantom: Phantom) -> None:
    found = standardise(phantom_case, tuple(Modality), 3.0)  # as for a network of 3 mm
    assert found.is_own
    assert found.own is found.volume.grid
    assert found.volume.array.dtype == np.int16
    np.testing.assert_array_equal(found.volume.array, phantom.images.array)
    assert found.forward(phantom.reference) is phantom.reference
    probability = np.zeros(found.own.shape, np.float32)
    assert found.restore(probability) is probability


def test_real_cases_are_unchanged(real_cases: list[Case]) -> None:
    for case in real_cases[::10]:
        found, stored = standardise(case, tuple(Modality)), read_case(case, tuple(Modality))
        assert found.is_own
        assert found.volume.array.dtype == stored.array.dtype
        assert found.volume.notes == stored.notes
        np.testing.assert_array_equal(found.volume.array, stored.array)


def test_other_voxels_get_the_given_size(phantom_case: Case, phantom: Phantom) -> None:
    found = standardise(phantom_case, tuple(Modality), 2.0)
    assert not found.is_own
    np.testing.assert_allclose(found.volume.grid.spacing, 2)
    assert found.volume.array.dtype == np.int16, "whole numbers stay whole, in as much memory"
    for image, one in zip(phantom.images.array, found.volume.array, strict=True):
        back = found.restore(one)
        brain = image != 0
        assert np.corrcoef(back[brain], image[brain])[0, 1] > 0.9
    reference = found.forward(phantom.reference)
    assert reference.grid is found.volume.grid
    for region in Region:
        volumes = [m.mask(region).sum() * m.grid.voxel_ml for m in (phantom.reference, reference)]
        assert volumes[1] == pytest.approx(volumes[0], rel=0.06)


def test_each_sequence_is_interpolated_once(make_case: MakeCase, phantom: Phantom) -> None:
    """FLAIR of 6 mm goes straight to 2 mm, not by way of the 9 mm of T1 contrast."""
    case = make_case(t1c=3, t2f=2)
    found = standardise(case, tuple(Modality), 2.0)
    own = phantom.images.grid
    goal = standard_grid(thick(phantom.images.array[1], own, 3)[1], 2.0)
    assert found.volume.grid.matches(goal)
    for index, slices in ((1, 3), (3, 2)):
        expected = resample(*thick(phantom.images.array[index], own, slices), goal)
        np.testing.assert_allclose(found.volume.array[index], expected, atol=1e-3)
    assert [note.code for note in found.volume.notes].count("W-GRID") == 3, (
        "all but T1 contrast are elsewhere"
    )


def test_the_way_back_averages_over_each_slice(make_case: MakeCase) -> None:
    found = standardise(make_case(t1n=2, t1c=2, t2w=2, t2f=2), tuple(Modality), 3.0)
    probability = np.random.default_rng(0).random(found.volume.grid.shape, dtype=np.float32)
    expected = probability.reshape(80, 80, 26, 2).mean(-1)
    np.testing.assert_allclose(found.restore(probability), expected, atol=1e-6)
    np.testing.assert_array_equal(
        found.restore(probability), regrid(probability, found.volume.grid, found.own)
    )


@pytest.mark.parametrize(("slices", "code"), [(1, "W-SPACING"), (2, "W-THICK"), (4, "W-COARSE")])
def test_other_voxels_are_noted_by_check_and_segment_alike(
    make_case: MakeCase, slices: int, code: str
) -> None:
    case = make_case(t1n=slices, t1c=slices, t2w=slices, t2f=slices)
    notes = [[n for n in found if n.code in ("W-SPACING", "W-THICK", "W-COARSE")] for found in (
        standardise(case, tuple(Modality)).volume.notes, read_headers(case, tuple(Modality)))]  # fmt: skip
    assert notes[0] == notes[1]
    assert [note.code for note in notes[0]] == [code]
    assert f"3 x 3 x {3 * slices} mm" in notes[0][0].what


def test_memory_is_estimated_for_the_resampled_grid(phantom_case: Case) -> None:
    stored = 80 * 80 * 52
    assert stored_size(phantom_case, tuple(Modality)) == (stored, 8)
    assert stored_size(phantom_case, tuple(Modality), 3.0) == (stored, 8)
    assert stored_size(phantom_case, tuple(Modality), 1.0) == (240 * 240 * 156, 8)
    assert stored_size(phantom_case, tuple(Modality), 6.0) == (stored, 8)
