"""Registration: known movements are found again, and what can't be registered is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from scipy.spatial.transform import Rotation

from gliomaseg.errors import CaseError, SettingsError
from gliomaseg.exams import register as module
from gliomaseg.exams.register import Rigid, register
from gliomaseg.imaging.nifti import Voxels
from gliomaseg.imaging.phantom import make_phantom
from gliomaseg.imaging.resample import regrid
from gliomaseg.imaging.volume import Grid
from gliomaseg.labels import Modality

Matrix = npt.NDArray[np.float64]

pytest.importorskip("picsl_greedy")


@pytest.fixture(scope="module")
def sequences() -> dict[Modality, Voxels]:
    images = make_phantom(seed=3).images
    return {
        modality: Voxels(array, images.grid, "")
        for modality, array in zip(images.channels, images.array, strict=True)
    }


def rigid(degrees: tuple[float, float, float], mm: tuple[float, float, float]) -> Matrix:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    matrix[:3, 3] = mm
    return matrix


def acquired(image: Voxels, movement: Matrix, slices_mm: float = 5.0) -> Voxels:
    """Return ``image`` in slices of ``slices_mm``, of a patient moved by ``movement``."""
    grid = image.grid
    centre = grid.affine @ [*(np.array(grid.shape) - 1) / 2, 1]
    count = round(grid.shape[2] / slices_mm)
    affine = np.diag([-1.0, -1.0, slices_mm, 1.0])
    affine[:3, 3] = centre[:3] - affine[:3, :3] @ ((np.array([240, 240, count]) - 1) / 2)
    thin = Grid((240, 240, count), np.linalg.inv(movement) @ affine)
    return Voxels(regrid(image.array, grid, thin), Grid(thin.shape, affine), "")


def brain_mm(image: Voxels, found: Matrix, truth: Matrix) -> npt.NDArray[np.float64]:
    """Return by how many mm each voxel of the brain is placed wrongly."""
    places = np.argwhere(image.array[::4, ::4, ::4] > 0) * 4
    points = image.grid.affine @ np.c_[places, np.ones(len(places))].T
    return np.asarray(np.linalg.norm(((found - truth) @ points)[:3], axis=0))


def test_thick_slices_of_another_contrast_that_lie_elsewhere(sequences: dict[Modality, Voxels]) -> None:
    fixed, truth = sequences[Modality.T1C], rigid((10, -6, 8), (12, -20, 9))
    moving = acquired(sequences[Modality.T2W], truth)
    found = register(fixed, moving)
    wrong = brain_mm(fixed, found.matrix, truth)
    assert wrong.mean() <= 1
    assert wrong.max() <= 2
    moved = brain_mm(fixed, np.eye(4), truth).mean()
    assert found.moved_mm == pytest.approx(moved, abs=1)
    assert found.there_and_back_mm <= 1
    again = register(fixed, moving)
    assert again.matrix.tobytes() == found.matrix.tobytes()


def test_sagittal_slices_from_the_left_are_registered_to_axial_ones(
    sequences: dict[Modality, Voxels],
) -> None:
    """The order and direction in which voxels are stored don't matter."""
    fixed, truth = sequences[Modality.T1C], rigid((4, 8, -10), (5, 10, -8))
    image = acquired(sequences[Modality.T2F], truth, 3.0)
    x, y, z = image.grid.shape
    turn = np.array([[0, 0, -1, x - 1], [-1, 0, 0, y - 1], [0, 1, 0, 0], [0, 0, 0, 1]])
    array = image.array.transpose(1, 2, 0)[::-1, :, ::-1]
    found = register(fixed, Voxels(array, Grid((y, z, x), image.grid.affine @ turn), ""))
    assert brain_mm(fixed, found.matrix, truth).max() <= 2


def test_matrix_is_rigid_and_gives_its_angle() -> None:
    found = Rigid(rigid((0, 0, 30), (1, 2, 3)), 0.0, 0.0)
    assert found.degrees == pytest.approx(30)


def test_upside_down_is_refused(sequences: dict[Modality, Voxels]) -> None:
    fixed = sequences[Modality.T1C]
    with pytest.raises(CaseError, match="t2w can't be registered") as caught:
        register(fixed, acquired(sequences[Modality.T2W], rigid((0, 180, 0), (0, 0, 0))), name="t2w")
    assert caught.value.code == "E-REGISTER"


def test_an_image_of_nothing_is_refused(sequences: dict[Modality, Voxels]) -> None:
    fixed = sequences[Modality.T1C]
    with pytest.raises(CaseError, match="shows nothing") as caught:
        register(fixed, fixed._replace(array=np.zeros_like(fixed.array)))
    assert caught.value.code == "E-REGISTER"


def test_failures_of_greedy_are_errors_of_ours(
    sequences: dict[Modality, Voxels], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = sequences[Modality.T1C]
    monkeypatch.setattr(
        module, "_TRIES", [attempt._replace(start="-no-such-option") for attempt in module._TRIES]
    )
    with pytest.raises(CaseError, match="-no-such-option") as caught:
        register(image, image)
    assert caught.value.code == "E-REGISTER"


def test_without_greedy_the_extra_is_named(
    sequences: dict[Modality, Voxels], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = sequences[Modality.T1C]
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == "picsl_greedy" else Path())
    with pytest.raises(SettingsError, match="picsl_greedy") as caught:
        register(image, image)
    assert caught.value.code == "E-EXTRA"
    assert "[raw]" in caught.value.remedy


def test_what_is_not_alike_is_refused(
    sequences: dict[Modality, Voxels], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = sequences[Modality.T1C]
    monkeypatch.setattr(module, "LEAST_ALIKE", 99.0)
    with pytest.raises(CaseError, match="another head") as caught:
        register(image, image)
    assert caught.value.code == "E-REGISTER"
