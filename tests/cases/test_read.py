"""Faults of a case are reported before any work."""

from __future__ import annotations

import dataclasses
import gzip
import shutil
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from gliomaseg.cases.case import Case
from gliomaseg.cases.find import find_cases
from gliomaseg.cases.headers import read_headers
from gliomaseg.cases.read import read_case
from gliomaseg.errors import CaseError, GliomasegError, ImageError, LabelError
from gliomaseg.imaging.nifti import read_labels, write_image
from gliomaseg.imaging.phantom import Phantom
from gliomaseg.imaging.volume import GRID_TOLERANCE_MM, Affine, Grid
from gliomaseg.labels import BRATS2021, BRATS2023, BRATS2024, Modality

T1N, T1C, T2W, T2F = Modality
AFFINE = np.array([[-1.0, 0, 0, 90], [0, -1, 0, 126], [0, 0, 1, -72], [0, 0, 0, 1]])
SHAPE = (6, 7, 8)

MakeCase = Callable[..., Case]


@pytest.fixture
def make_case(tmp_path: Path) -> MakeCase:
    """Return a function that writes a case of four small images; keywords replace one of them."""

    def make(**other: tuple[npt.NDArray[np.generic], Affine]) -> Case:
        paths = {}
        for seed, modality in enumerate(Modality):
            image = np.random.default_rng(seed).integers(0, 1000, SHAPE).astype(np.int16)
            array, affine = other.get(modality.value, (image, AFFINE))
            paths[modality] = tmp_path / f"x-{modality}.nii.gz"
            write_image(paths[modality], array, Grid(array.shape, affine))
        return Case("x", paths)

    return make


def noise(kind: str = "i2", shape: tuple[int, ...] = SHAPE) -> npt.NDArray[np.generic]:
    return np.random.default_rng(99).integers(1, 120, shape).astype(kind)


def refused(case: Case, code: str, modalities: tuple[Modality, ...] = tuple(Modality)) -> GliomasegError:
    with pytest.raises(GliomasegError) as caught:
        read_case(case, modalities)
    assert caught.value.code == code, caught.value
    assert caught.value.remedy
    return caught.value


def test_a_case_is_read_in_the_given_order(phantom_case: Case, phantom: Phantom) -> None:
    volume = read_case(phantom_case, tuple(Modality))
    assert volume.channels == tuple(Modality)
    assert volume.array.dtype == np.int16
    np.testing.assert_array_equal(volume.array, phantom.images.array)
    assert volume.grid.matches(phantom.images.grid)
    some = read_case(phantom_case, (T2F, T1C))
    assert some.channels == (T2F, T1C)
    np.testing.assert_array_equal(some.array, phantom.images.array[[3, 1]])


@pytest.mark.parametrize(
    ("kinds", "common"),
    [
        ("i2 i2 i2 i2", "i2"),
        ("u1 i2 u2 u1", "i4"),
        ("i2 f4 i2 i2", "f4"),
        ("f8 i2 i2 i2", "f4"),
        ("i4 f4 u2 i2", "f4"),
        ("i8 u8 i2 i2", "f4"),
    ],
)
def test_types_are_joined_without_loss(make_case: MakeCase, kinds: str, common: str) -> None:
    images = {
        m.value: (np.roll(noise(kind), index), AFFINE)
        for index, (m, kind) in enumerate(zip(Modality, kinds.split(), strict=True))
    }
    volume = read_case(make_case(**images), tuple(Modality))
    assert volume.array.dtype == common
    np.testing.assert_array_equal(volume.array, np.stack([image for image, _ in images.values()]))


def test_other_shapes_are_refused_naming_both(make_case: MakeCase) -> None:
    case = make_case(t2w=(noise(shape=(6, 7, 5)), AFFINE))
    error = refused(case, "E-GRID")
    assert "case x: t2w (6 x 7 x 5 voxels" in error.what
    assert "grid of t1c (6 x 7 x 8 voxels" in error.what
    assert isinstance(error, CaseError)


@pytest.mark.parametrize(("axis", "name"), [(0, "91, 126, -72"), (1, "90, 127, -72"), (2, "90, 126, -71")])
def test_a_shift_of_one_millimetre_is_refused_naming_both(make_case: MakeCase, axis: int, name: str) -> None:
    affine = AFFINE.copy()
    affine[axis, 3] += 1
    error = refused(make_case(t2f=(noise(), affine)), "E-GRID")
    assert f"t2f (6 x 7 x 8 voxels, origin {name} mm)" in error.what
    assert "t1c (6 x 7 x 8 voxels, origin 90, 126, -72 mm)" in error.what


def test_other_spacing_or_orientation_on_the_same_shape_is_refused(make_case: MakeCase) -> None:
    for linear in (np.diag([-1.0, -1, 1.1]), np.diag([1.0, -1, 1])):
        affine = AFFINE.copy()
        affine[:3, :3] = linear
        refused(make_case(t1c=(noise(), affine)), "E-GRID")


def test_rounding_differences_are_ignored(make_case: MakeCase) -> None:
    affine = AFFINE + np.array([[1e-6, 0, 0, 0.9 * GRID_TOLERANCE_MM]] + [[0] * 4] * 3)
    volume = read_case(make_case(t2f=(noise(), affine)), tuple(Modality))
    np.testing.assert_array_equal(volume.grid.affine, AFFINE)


def test_a_larger_field_of_view_is_cut_to_that_of_t1c_and_noted(make_case: MakeCase) -> None:
    wide = noise(shape=(8, 9, 12))
    affine = AFFINE.copy()
    affine[:3, 3] -= AFFINE[:3, :3] @ (1, 1, 2)
    volume = read_case(make_case(t1n=(wide, affine)), tuple(Modality))
    np.testing.assert_array_equal(volume.array[0], wide[1:7, 1:8, 2:10])
    np.testing.assert_array_equal(volume.grid.affine, AFFINE)
    assert [note.code for note in volume.notes] == ["W-GRID"]


def strip_orientation(path: Path) -> None:
    """Take both orientation codes out of a file's header."""
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[252:256] = bytes(4)  # qform_code and sform_code
    path.write_bytes(gzip.compress(content))


@pytest.mark.parametrize("lost", [T1N, T1C])
def test_a_header_without_orientation_is_named_and_its_remedy_helps(
    make_case: MakeCase, lost: Modality, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = make_case()
    strip_orientation(case.images[lost])
    error = refused(case, "E-GRID")
    assert error.what.startswith(f"{case.images[lost]} has no orientation")
    with pytest.raises(CaseError, match="has no orientation"):
        read_headers(case, tuple(Modality))
    command = error.remedy[error.remedy.index("python -c") :].split("; otherwise")[0]
    monkeypatch.chdir(tmp_path)
    subprocess.run(["/bin/sh", "-c", command.replace("python", sys.executable, 1)], check=True)
    repaired = dataclasses.replace(case, images={**case.images, lost: tmp_path / f"x-{lost}_oriented.nii.gz"})
    volume = read_case(repaired, tuple(Modality))
    np.testing.assert_array_equal(volume.grid.affine, AFFINE)
    assert not volume.notes


def test_what_can_not_be_copied_is_to_be_exported_again(make_case: MakeCase) -> None:
    case = make_case(t2w=(noise(shape=(6, 7, 5)), AFFINE))
    strip_orientation(case.images[T2W])
    assert refused(case, "E-GRID").remedy.startswith("export it again")


def test_a_reference_without_orientation_is_named(make_case: MakeCase, tmp_path: Path) -> None:
    path = tmp_path / "x-seg.nii.gz"
    write_image(path, noise("u1"), Grid(SHAPE, AFFINE))
    strip_orientation(path)
    with pytest.raises(CaseError, match=r"x-seg\.nii\.gz has no orientation") as caught:
        read_headers(dataclasses.replace(make_case(), reference=path), tuple(Modality))
    assert "python -c" in caught.value.remedy


@pytest.mark.parametrize("codes", ["RAS", "LPS", "ASR", "PIL"])
def test_another_orientation_of_the_same_brain_is_turned_exactly(
    phantom: Phantom, tmp_path: Path, codes: str
) -> None:
    import nibabel as nib

    paths = {m: tmp_path / f"x-{m}.nii.gz" for m in Modality}
    for index, (modality, path) in enumerate(paths.items()):
        image = nib.Nifti1Image(phantom.images.array[index], phantom.images.grid.affine)
        if modality == T2F:
            start = nib.orientations.io_orientation(image.affine)
            image = image.as_reoriented(
                nib.orientations.ornt_transform(start, nib.orientations.axcodes2ornt(codes))
            )
        nib.save(image, path)
    case = Case("x", paths)
    volume = read_case(case, tuple(Modality))
    assert volume.array.dtype == phantom.images.array.dtype, "nothing was interpolated"
    np.testing.assert_array_equal(volume.array, phantom.images.array)
    assert "W-GRID" not in {note.code for note in (*volume.notes, *read_headers(case, tuple(Modality)))}


def test_few_voxels_that_are_not_finite_are_replaced_and_counted(make_case: MakeCase) -> None:
    image = noise("f4")
    image[0, 0, 0], image[1, 1, 1], image[2, 2, 2], image[5, 6, 7] = np.nan, np.inf, -np.inf, np.nan
    others = {m: (noise() + index, AFFINE) for index, m in enumerate(("t1n", "t2w", "t2f"))}
    for array, _ in others.values():
        array[5, 6, 7] = 0  # background of all sequences
    volume = read_case(make_case(t1c=(image, AFFINE), **others), tuple(Modality))
    finite = image[np.isfinite(image)]
    assert volume.array[1][0, 0, 0] == np.median(finite)
    assert volume.array[1][1, 1, 1] == finite.max()
    assert volume.array[1][2, 2, 2] == finite.min()
    assert volume.array[1][5, 6, 7] == 0
    (note,) = (note for note in volume.notes if note.code == "W-VALUES")
    assert "x-t1c.nii.gz has 4 voxels" in note.what
    assert "3 of them inside" in note.remedy


def test_a_background_of_nan_becomes_0(make_case: MakeCase) -> None:
    others = {m: noise() + index for index, m in enumerate(("t1n", "t2w", "t2f"))}
    image = noise("f4")
    for array in (*others.values(), image):
        array[:, :, 4:] = 0
    image[:, :, 4:] = np.nan
    placed = {name: (array, AFFINE) for name, array in others.items()}
    volume = read_case(make_case(t1c=(image, AFFINE), **placed), tuple(Modality))
    assert not volume.array[1][:, :, 4:].any()


def test_too_many_voxels_that_are_not_finite_are_refused(make_case: MakeCase) -> None:
    image = noise("f4")
    image[:, :, 0] = np.nan
    assert "42 brain voxels" in refused(make_case(t1c=(image, AFFINE)), "E-VALUES").what
    refused(make_case(t1c=(np.full(SHAPE, np.nan, np.float32), AFFINE)), "E-VALUES")


def test_notes_contain_no_paths(make_case: MakeCase, tmp_path: Path) -> None:
    case = make_case(t1c=(noise("f4") - 50, AFFINE))
    patient = Case("pseudonym", case.images)
    (note,) = read_case(patient, tuple(Modality)).notes
    assert note.code == "W-RANGE"
    assert note.what.startswith("the t1c image has intensities")


def test_the_same_image_twice_is_refused_naming_both(make_case: MakeCase, tmp_path: Path) -> None:
    case = make_case()
    shutil.copyfile(case.images[T1N], case.images[T1C])
    error = refused(case, "E-DUPLICATE")
    assert "t1n and t1c are the same image" in error.what
    assert "x-t1n.nii.gz and x-t1c.nii.gz" in error.remedy
    read_case(case, (T1N, T2W))
    given_twice = Case("x", {**make_case().images, T2F: case.images[T2W]})
    error = refused(given_twice, "E-DUPLICATE")
    assert "t2w and t2f" in error.what
    assert error.remedy == "give another file for one of them"


def test_the_same_voxels_in_another_type_are_the_same_image(make_case: MakeCase) -> None:
    refused(make_case(t1c=(noise("i2"), AFFINE), t2f=(noise("f4"), AFFINE)), "E-DUPLICATE")


@pytest.mark.parametrize("value", [0, 7])
def test_a_constant_image_is_refused_naming_the_file(make_case: MakeCase, value: int) -> None:
    case = make_case(t2w=(np.full(SHAPE, value, np.int16), AFFINE))
    error = refused(case, "E-CONSTANT")
    assert str(case.images[T2W]) in error.what
    assert isinstance(error, ImageError)


def test_a_missing_modality_is_refused_before_any_file_is_opened(copy_case: Callable[..., Path]) -> None:
    (case,) = find_cases(copy_case(without=(T2W, T1C)))
    for path in case.images.values():
        path.write_bytes(b"")
    assert "has no t1c, t2w" in refused(case, "E-MODALITY").what


def test_a_broken_file_is_named(copy_case: Callable[..., Path]) -> None:
    (case,) = find_cases(copy_case())
    content = case.images[T2F].read_bytes()
    case.images[T2F].write_bytes(content[: len(content) // 2])
    error = refused(case, "E-TRUNCATED")
    assert case.images[T2F].name in error.what
    case.images[T2F].unlink()
    refused(case, "E-NOFILE")


def test_reading_in_threads_leaves_the_warning_filters_alone(make_case: MakeCase) -> None:
    case = make_case()
    before = list(warnings.filters)
    for _ in range(20):
        read_case(case, tuple(Modality))
    assert warnings.filters == before
    assert threading.active_count() == 1


def test_a_label_outside_the_scheme_names_both_schemes(phantom_case: Case) -> None:
    assert phantom_case.reference is not None
    assert read_labels(phantom_case.reference, BRATS2021).labels.any()
    assert read_labels(phantom_case.reference, BRATS2024).labels.any()  # 4 is a cavity there: not detectable
    with pytest.raises(LabelError) as caught:
        read_labels(phantom_case.reference, BRATS2023)
    assert caught.value.code == "E-LABELS"
    assert str(phantom_case.reference) in caught.value.what
    assert "the label 4" in caught.value.what
    assert "brats2023" in caught.value.what
    assert "--scheme brats2021" in caught.value.remedy


def test_real_cases_have_no_error(real_cases: list[Case]) -> None:
    case = real_cases[0]
    volume = read_case(case, tuple(Modality))
    assert volume.array.shape == (4, 240, 240, 155)
    assert case.reference is not None
    reference = read_labels(case.reference, case.scheme)
    assert reference.grid.matches(volume.grid)
    assert reference.labels.any()
