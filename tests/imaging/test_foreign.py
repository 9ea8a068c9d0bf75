"""Other formats than NIfTI: the same voxels in the same place, damage found, words for a missing reader."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gliomaseg.cases.find import find_cases
from gliomaseg.cases.read import read_case
from gliomaseg.errors import ImageError, Note
from gliomaseg.imaging.nifti import read_channels, read_grid, read_image
from gliomaseg.labels import Modality
from gliomaseg.storage.files import sha256_of

SHAPE = (9, 8, 7)
#: Oblique, of uneven voxels, left-handed.
AFFINE = np.array([[-0.9, 0.3, 0.1, 40], [0.25, 1.2, -0.2, -30], [-0.05, 0.15, 2.1, 20], [0, 0, 0, 1.0]])
ORTHOGONAL = nib.affines.from_matvec(
    np.linalg.qr(AFFINE[:3, :3])[0] @ np.diag([0.9, 1.2, 2.1]), [40.0, -30.0, 20.0]
)
VOXELS = np.random.default_rng(0).integers(0, 3000, SHAPE).astype(np.int16)


def save(path: Path, array: np.ndarray = VOXELS, *, packed: bool = True) -> Path:  # type: ignore[type-arg]
    """Write an image by the library that owns its format."""
    if path.suffix in (".mgz", ".mgh"):
        nib.save(nib.MGHImage(array, ORTHOGONAL), path)
        return path
    itk = pytest.importorskip("SimpleITK")
    image = itk.GetImageFromArray(array.transpose())
    lps = np.diag([-1, -1, 1, 1]) @ ORTHOGONAL
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    itk.WriteImage(image, str(path), useCompression=packed)
    return path


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int32, np.float32])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("end", [".mgz", ".mgh", ".nrrd", ".mha"])
def test_the_same_voxels_at_the_same_place(tmp_path: Path, end: str, packed: bool, kind: type) -> None:
    path = save(tmp_path / f"a{end}", VOXELS.astype(kind), packed=packed)
    notes: list[Note] = []
    image = read_channels(path, notes, [None])[0]
    np.testing.assert_array_equal(image.array, VOXELS.astype(kind))
    np.testing.assert_allclose(image.grid.affine, ORTHOGONAL, atol=1e-4)
    assert read_grid(path).matches(image.grid)
    assert image.sha256 == sha256_of(path)
    assert notes == []


@pytest.mark.parametrize("end", [".mgz", ".mgh", ".nrrd", ".mha"])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("part", [0.02, 0.5, 0.9, -8])
def test_a_truncated_file(tmp_path: Path, end: str, packed: bool, part: float) -> None:
    path = save(tmp_path / f"a{end}", packed=packed)
    content = path.read_bytes()
    if end == ".mgh" and part == -8:
        part = -30  # 20 bytes follow the data that no reader needs
    path.write_bytes(content[: int(part) if part < 0 else int(len(content) * part)])
    with pytest.raises(ImageError) as caught:
        read_image(path)
    assert caught.value.code in ("E-CORRUPT", "E-TRUNCATED")
    assert str(path) in caught.value.what


@pytest.mark.parametrize("end", [".mgz", ".nrrd", ".mha"])
def test_a_flipped_byte(tmp_path: Path, end: str) -> None:
    path = save(tmp_path / f"a{end}")
    content = bytearray(path.read_bytes())
    content[len(content) * 2 // 3] ^= 1
    path.write_bytes(content)
    with pytest.raises(ImageError) as caught:
        read_image(path)
    assert caught.value.code == "E-CORRUPT"


@pytest.mark.parametrize("end", [".mgz", ".mgh", ".nrrd", ".mha"])
@pytest.mark.parametrize("content", [b"x", b"\0" * 5000, b"NRRD0004\n\n", gzip.compress(b"x" * 400, mtime=0)])
def test_content_of_another_format_than_the_name(tmp_path: Path, end: str, content: bytes) -> None:
    if end in (".nrrd", ".mha"):
        pytest.importorskip("SimpleITK")
    path = tmp_path / f"a{end}"
    path.write_bytes(content)
    with pytest.raises(ImageError) as caught:
        read_image(path)
    assert caught.value.code in ("E-CORRUPT", "E-NDIM", "E-TRUNCATED")


@pytest.mark.parametrize("end", [".mgz", ".nrrd", ".mha"])
def test_more_than_three_dimensions(tmp_path: Path, end: str) -> None:
    if end == ".mgz":
        save(tmp_path / f"a{end}", np.stack([VOXELS, VOXELS], axis=-1))
    else:
        itk = pytest.importorskip("SimpleITK")
        image = itk.GetImageFromArray(np.stack([VOXELS, VOXELS], axis=-1), isVector=True)
        itk.WriteImage(image, str(tmp_path / f"a{end}"))
    with pytest.raises(ImageError) as caught:
        read_image(tmp_path / f"a{end}")
    assert caught.value.code == "E-NDIM"


@pytest.mark.parametrize("end", [".nrrd", ".mha"])
def test_without_simpleitk_the_error_names_the_package(
    tmp_path: Path, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / f"a{end}")
    monkeypatch.setitem(sys.modules, "SimpleITK", None)  # as where it is not installed
    with pytest.raises(ImageError) as caught:
        read_image(path)
    assert caught.value.code == "E-EXTRA"
    assert "pip install simpleitk" in caught.value.remedy


def test_a_header_without_orientation_is_noted(tmp_path: Path) -> None:
    pytest.importorskip("SimpleITK")
    path = tmp_path / "a.nrrd"
    fields = b"NRRD0004\ntype: int16\ndimension: 3\nsizes: 9 8 7\nencoding: raw\nendian: little\n\n"
    path.write_bytes(fields + VOXELS.tobytes(order="F"))
    notes: list[Note] = []
    np.testing.assert_array_equal(read_channels(path, notes, [None])[0].array, VOXELS)
    assert [note.code for note in notes] == ["W-ORIENT"]


def test_a_case_may_mix_formats(copy_case: Callable[..., Path], tmp_path: Path) -> None:
    pytest.importorskip("SimpleITK")
    folder = copy_case("a", tmp_path / "data", reference=False)
    (before,) = find_cases(folder)
    volume = read_case(before, tuple(Modality))
    for name, end in (("t1", ".mgz"), ("t2", ".nrrd"), ("flair", ".mha")):
        path = folder / f"a_{name}.nii.gz"
        image = nib.load(path)
        if end == ".mgz":
            nib.save(nib.MGHImage(np.asarray(image.dataobj), image.affine), folder / f"a_{name}.mgz")
        else:
            itk = pytest.importorskip("SimpleITK")
            itk.WriteImage(itk.ReadImage(str(path)), str(folder / f"a_{name}{end}"))
        path.unlink()
    (after,) = find_cases(folder)
    mixed = read_case(after, tuple(Modality))
    np.testing.assert_array_equal(mixed.array, volume.array)
    assert mixed.grid.matches(volume.grid, 1e-3)
