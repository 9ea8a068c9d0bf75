"""Faults of an exam are found: a wrong part of the body, another person, a mirrored or cut image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gliomaseg.cases.arrays import ArrayCase
from gliomaseg.cases.case import Case
from gliomaseg.cases.content import check_content
from gliomaseg.errors import CaseError, ImageError
from gliomaseg.exams.standardise import standardise_exam
from gliomaseg.imaging.nifti import Voxels
from gliomaseg.imaging.phantom_raw import make_raw_exam
from gliomaseg.imaging.resample import regrid
from gliomaseg.imaging.volume import Box, Grid, cropped_grid
from gliomaseg.labels import Modality

from .conftest import RawCase

ALL = tuple(Modality)
Change = Callable[[Voxels], Voxels]

pytestmark = pytest.mark.slow


def with_changed(raw: RawCase, modality: Modality, change: Change) -> Case:
    voxels = {m: image._replace(sha256=m) for m, image in raw.truth.images.items()}
    voxels[modality] = change(voxels[modality])
    return ArrayCase("bad", {m: Path(m) for m in voxels}, voxels=voxels)


def cut(image: Voxels, axis: int, side: slice) -> Voxels:
    box = [slice(0, n) for n in image.array.shape]
    box[axis] = slice(*side.indices(image.array.shape[axis]))
    x, y, z = box
    found: Box = (x, y, z)
    return image._replace(array=image.array[found], grid=cropped_grid(image.grid, found))


def upside_down(image: Voxels) -> Voxels:
    return image._replace(array=image.array[:, :, ::-1])


def mirrored(image: Voxels) -> Voxels:
    return image._replace(array=image.array[::-1])


def neck_alone(image: Voxels) -> Voxels:
    return cut(image, 2, slice(0, 7))


def of_another_person(image: Voxels) -> Voxels:
    return make_raw_exam("small", seed=5).images[Modality.T2W]._replace(sha256=image.sha256)


@pytest.mark.parametrize("change", [neck_alone, upside_down, mirrored, of_another_person])
def test_a_sequence_that_does_not_belong(raw: RawCase, change: Change) -> None:
    with pytest.raises(CaseError, match="t2w of case bad can't be registered") as error:
        standardise_exam(with_changed(raw, Modality.T2W, change), ALL)
    assert error.value.code == "E-REGISTER"
    assert error.value.remedy


def test_half_a_head_is_found_in_place(raw: RawCase) -> None:
    case = with_changed(raw, Modality.T2W, lambda image: cut(image, 0, slice(0, image.array.shape[0] // 2)))
    exam = standardise_exam(case, ALL)
    wrong = exam.natives[Modality.T2W].matrix - raw.truth.moves[Modality.T2W]
    assert np.abs(wrong[:3, 3]).max() < 3
    assert "W-COVER" in [note.code for note in check_content(exam.volume, case.id).notes]


def test_slices_fifteen_times_as_thick_as_wide(raw: RawCase) -> None:
    """They are segmented, with a note that makes the result unreliable."""

    def thicken(image: Voxels) -> Voxels:
        axis = int(np.argmax(np.abs(image.grid.affine[2, :3])))
        affine, shape = image.grid.affine.copy(), list(image.grid.shape)
        times = 13.5 / image.grid.spacing[axis]
        affine[:3, 3] += affine[:3, axis] * (times - 1) / 2
        affine[:3, axis] *= times
        shape[axis] = int(shape[axis] / times)
        x, y, z = shape
        grid = Grid((x, y, z), affine)
        return image._replace(array=regrid(image.array, image.grid, grid).astype(np.int16), grid=grid)

    exam = standardise_exam(with_changed(raw, Modality.T1C, thicken), ALL)
    assert "W-COARSE" in [note.code for note in exam.volume.notes]
    assert exam.brain is not None
    assert 900 < np.count_nonzero(exam.brain) * exam.volume.grid.voxel_ml < 2000


def test_a_ct(raw: RawCase) -> None:
    def to_hu(image: Voxels) -> Voxels:
        noise = np.random.default_rng(0).normal(0, 10, image.array.shape)
        return image._replace(array=(np.where(image.array < 60, -1000, 40) + noise).astype(np.int16))

    with pytest.raises(ImageError) as error:
        standardise_exam(with_changed(raw, Modality.T1C, to_hu), ALL)
    assert error.value.code == "E-NOTMRI"
