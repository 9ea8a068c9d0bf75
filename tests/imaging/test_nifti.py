"""Reading and writing NIfTI: the same voxels at the same place for every reader, and no damage unnoticed."""

from __future__ import annotations

import gzip
import os
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st

from gliomaseg.errors import ImageError, LabelError, Note, OutputError
from gliomaseg.imaging.nifti import (
    read_channels,
    read_grid,
    read_image,
    read_labels,
    write_image,
    write_segmentation,
)
from gliomaseg.imaging.volume import MAX_VOXELS, Grid, Segmentation
from gliomaseg.labels import BRATS2021, BRATS2023
from gliomaseg.storage import files

Array = npt.NDArray[np.generic]

SHAPE = (5, 6, 7)
VOXELS = np.arange(5 * 6 * 7).reshape(SHAPE) % 120
#: 30 degrees about z, then 10 about x, voxels of 1 x 1.5 x 2 mm, to the Left, Posterior, Superior.
OBLIQUE = np.array(
    [
        [-0.8660254, 0.7386058, 0.1736482, 90.5],
        [-0.5, -1.2793029, -0.3007675, 126.25],
        [0.0, -0.2604723, 1.9696155, -72.125],
        [0.0, 0.0, 0.0, 1.0],
    ]
)
STRAIGHT = np.array([[-1.0, 0, 0, 0], [0, -1, 0, 239], [0, 0, 1, 0], [0, 0, 0, 1]])
GEOMETRY = (
    *("xyzt_units", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z"),
)


def nifti(
    array: Array = VOXELS,
    dtype: str = "<i2",
    *,
    affine: npt.NDArray[np.float64] = STRAIGHT,
    codes: tuple[int, int] = (1, 1),
    version: int = 1,
    gap: bytes = b"\0\0\0\0",
    **fields: object,
) -> bytes:
    """Return the bytes of an uncompressed file; ``codes`` are qform and sform, ``fields`` overwrite."""
    stored = array.astype(dtype)
    kind = nib.Nifti1Header if version == 1 else nib.Nifti2Header
    header = kind(endianness=">" if dtype[0] == ">" else "<")
    header.set_data_dtype(stored.dtype)
    header.set_data_shape(array.shape)
    header["pixdim"][1:4] = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    if codes[0]:
        header.set_qform(affine, codes[0])
    if codes[1]:
        header.set_sform(affine, codes[1])
    header.set_xyzt_units("mm")
    header["vox_offset"] = header.sizeof_hdr + len(gap)
    header["magic"] = b"n+1" if version == 1 else b"n+2"
    header["descrip"] = b"JOHN DOE"
    for name, value in fields.items():
        header[name] = value
    return bytes(header.binaryblock) + gap + stored.tobytes(order="F")


def store(folder: Path, content: bytes, name: str = "image.nii") -> Path:
    """Write ``content``, compressed when the name ends in .gz."""
    path = folder / name
    path.write_bytes(gzip.compress(content, mtime=0) if name.endswith(".gz") else content)
    return path


def refused(path: Path, code: str) -> ImageError:
    """Prove that reading fails with ``code``, in a message that names the file and a remedy."""
    with pytest.raises(ImageError) as caught:
        read_image(path)
    assert caught.value.code == code, caught.value
    assert str(path) in caught.value.what
    assert caught.value.expected
    assert caught.value.remedy
    return caught.value


@contextmanager
def at_most(megabytes: float) -> Iterator[None]:
    """Prove that the block needs no more memory than this."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < megabytes * 1e6
    finally:
        tracemalloc.stop()


# Files that are read


@pytest.mark.parametrize("name", ["image.nii", "image.nii.gz"])
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"])
def test_written_and_read_back_by_all_three_readers(tmp_path: Path, dtype: str, name: str) -> None:
    path = tmp_path / name
    array = VOXELS.astype(dtype)
    write_image(path, array, Grid(SHAPE, OBLIQUE))
    back, grid = read_image(path)
    assert back.dtype == array.dtype
    assert grid.shape == SHAPE
    np.testing.assert_allclose(grid.affine, OBLIQUE, atol=1e-4)
    np.testing.assert_array_equal(back, array)
    np.testing.assert_array_equal(np.asarray(nib.Nifti1Image.from_filename(path).dataobj), array)
    itk = SimpleITK.ReadImage(str(path))
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(itk).transpose(2, 1, 0), array)
    np.testing.assert_allclose(itk.GetOrigin(), OBLIQUE[:3, 3] * (-1, -1, 1), atol=1e-4)


@pytest.mark.parametrize("dtype", ["<i2", ">i2", "<f4", ">f4", ">u8"])
@pytest.mark.parametrize("version", [1, 2])
def test_both_versions_in_both_byte_orders(tmp_path: Path, version: int, dtype: str) -> None:
    for name in ("a.nii", "a.nii.gz"):
        path = store(tmp_path, nifti(dtype=dtype, affine=OBLIQUE, version=version), name)
        array, grid = read_image(path)
        assert array.dtype.isnative
        assert array.dtype == np.dtype(dtype).newbyteorder("=")
        np.testing.assert_array_equal(array, VOXELS)
        np.testing.assert_allclose(grid.affine, nib.load(path).affine)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "content",
    [
        nifti(affine=OBLIQUE),
        nifti(affine=STRAIGHT),
        nifti(affine=OBLIQUE, codes=(1, 0)),
        nifti(affine=OBLIQUE, codes=(0, 2)),
        nifti(affine=OBLIQUE, codes=(1, 4)),
        nifti(affine=OBLIQUE, codes=(0, 0)),
        nifti(affine=np.diag([1.0, -2.0, 3.0, 1.0]), codes=(1, 0)),  # left-handed: qfac is -1
        nifti(affine=OBLIQUE, dtype=">f4"),
        nifti(affine=OBLIQUE, dtype=">f4", codes=(3, 0)),
        nifti(affine=OBLIQUE, version=2),
        nifti(affine=OBLIQUE, version=2, dtype=">i2", codes=(1, 0)),
        nifti(affine=OBLIQUE, scl_slope=2.0, scl_inter=-3.0),
        nifti(affine=OBLIQUE, xyzt_units=0),
        nifti(affine=OBLIQUE, gap=bytes(4 + 64)),
    ],
    ids=[
        *("oblique", "straight", "only-qform", "only-sform", "mixed-codes", "no-code", "left-handed"),
        *("big-endian", "big-endian-qform", "nifti2", "nifti2-big-qform", "scaled", "no-units", "far-data"),
    ],
)
def test_a_result_has_exactly_the_place_of_its_image(tmp_path: Path, content: bytes) -> None:
    source, result = store(tmp_path, content, "in.nii.gz"), tmp_path / "out.nii.gz"
    array, grid = read_image(source)
    labels = (array > 50).astype(np.uint8)
    write_segmentation(result, Segmentation(labels, grid, BRATS2021))
    before, after = nib.load(source), nib.Nifti1Image.from_filename(result)  # type: ignore[attr-defined]
    assert after.shape == before.shape
    is_double = isinstance(before.header, nib.Nifti2Header)  # a result has the float32 of NIfTI-1
    np.testing.assert_allclose(after.affine, before.affine, rtol=0, atol=1e-5 if is_double else 0)
    for name in GEOMETRY:
        value = np.asarray(before.header[name], after.header[name].dtype)
        assert value.tobytes() == after.header[name].tobytes(), name
    np.testing.assert_array_equal(after.header["pixdim"][:4], np.float32(before.header["pixdim"][:4]))
    assert read_grid(result).matches(grid, 1e-4)
    if is_double:
        return  # SimpleITK does not read NIfTI-2
    one, two = SimpleITK.ReadImage(str(source)), SimpleITK.ReadImage(str(result))
    assert two.GetSize() == one.GetSize()
    for place in ("GetSpacing", "GetOrigin", "GetDirection"):
        np.testing.assert_allclose(getattr(two, place)(), getattr(one, place)(), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(two).transpose(2, 1, 0), labels)


@pytest.mark.parametrize("sign", [0.0, 3.0, np.nan])
def test_an_undefined_sign_of_the_z_axis_is_positive(tmp_path: Path, sign: float) -> None:
    content = nifti(affine=OBLIQUE, codes=(1, 0), pixdim=[sign, 1, 1.5, 2, 0, 0, 0, 0])
    path = store(tmp_path, content)
    expected = nib.load(path).affine  # type: ignore[attr-defined]
    np.testing.assert_allclose(read_grid(path).affine, expected)
    np.testing.assert_allclose(expected, OBLIQUE, atol=1e-4)


def test_a_result_is_uint8_unscaled_little_endian_and_nameless(tmp_path: Path) -> None:
    source = store(tmp_path, nifti(dtype=">i2", scl_slope=2.0, scl_inter=5.0, cal_max=900.0))
    result = tmp_path / "seg.nii.gz"
    labels = np.ones(SHAPE, dtype=np.uint8)
    write_segmentation(result, Segmentation(labels, read_grid(source), BRATS2021))
    raw = gzip.decompress(result.read_bytes())
    header = nib.Nifti1Header(raw[:348])
    assert header.endianness == "<"
    assert header.get_data_dtype() == np.uint8
    assert int(header["bitpix"]) == 8
    assert (float(header["scl_slope"]), float(header["scl_inter"])) == (1.0, 0.0)
    assert float(header["cal_max"]) == 0
    assert raw[344:352] == b"n+1\0\0\0\0\0"
    assert len(raw) == 352 + labels.size
    assert b"JOHN" not in raw
    assert not any(bytes(header[name]).strip(b"\0") for name in ("descrip", "aux_file", "intent_name"))


def test_the_same_labels_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = read_grid(store(tmp_path, nifti()))
    one, two = tmp_path / "one.nii.gz", tmp_path / "other-name.nii.gz"
    write_image(one, VOXELS.astype(np.uint8), grid)
    monkeypatch.setattr("time.time", lambda: 4e9)
    write_image(two, np.asfortranarray(VOXELS.astype(np.uint8)), grid)
    assert one.read_bytes() == two.read_bytes()
    assert one.read_bytes()[3:8] == bytes(5)  # no name, no time


def test_a_failed_write_leaves_the_old_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "seg.nii.gz"
    write_image(path, VOXELS.astype(np.uint8), Grid(SHAPE, STRAIGHT))
    before = path.read_bytes()

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(OutputError) as caught:
        write_image(path, np.zeros(SHAPE, np.uint8), Grid(SHAPE, STRAIGHT))
    assert caught.value.code == "E-DISK"
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["seg.nii.gz"]


def test_read_grid_reads_the_header_and_the_end_alone(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 30000, SHAPE)
    for name in ("a.nii", "a.nii.gz"):
        path = store(tmp_path, nifti(noise, affine=OBLIQUE), name)
        assert read_grid(path).matches(read_image(path)[1], 0)
        content = bytearray(path.read_bytes())
        content[-20] ^= 1  # in the middle of the data: only reading all of it finds that
        path.write_bytes(content)
        assert read_grid(path).matches(Grid(SHAPE, OBLIQUE), 1e-3)
        path.write_bytes(content[:-30])
        with pytest.raises(ImageError, match="E-TRUNCATED"):
            read_grid(path)


def test_bytes_after_the_stream_are_no_damage_for_read_grid(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(nifti()) + bytes(512))
    assert read_grid(path).shape == SHAPE


def test_a_file_that_changes_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, stat = store(tmp_path, nifti()), os.fstat

    def grow(descriptor: int) -> os.stat_result:
        found = stat(descriptor)
        with path.open("ab") as stream:
            stream.write(b"more")
        return found

    monkeypatch.setattr("gliomaseg.imaging.stored_file.os.fstat", grow)
    refused(path, "E-CHANGED")


def test_a_handedness_too_small_for_float32_is_kept(tmp_path: Path) -> None:
    """Found by benchmarks/fuzz.py: the result's qform lay mirrored to its sform."""
    pixdim = [-1e-300, 1, 1, 1, 1, 1, 1, 1]
    path = store(tmp_path, nifti(version=2, affine=np.diag([1.0, 1, -1, 1]), pixdim=pixdim))
    write_image(tmp_path / "out.nii", VOXELS.astype(np.uint8), read_grid(path))
    after = nib.Nifti1Image.from_filename(tmp_path / "out.nii")
    np.testing.assert_array_equal(after.get_qform(), after.get_sform())


def test_header_extensions_are_skipped(tmp_path: Path) -> None:
    image = nib.Nifti1Image(VOXELS.astype(np.int16), STRAIGHT)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"J. Doe" * 30))
    path = tmp_path / "a.nii.gz"
    nib.save(image, path)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(read_image(path)[0], VOXELS)


@pytest.mark.parametrize(("name", "compressed"), [("a.nii.gz", False), ("a.nii", True), ("a", True)])
def test_the_content_decides_not_the_name(tmp_path: Path, name: str, compressed: bool) -> None:
    content = nifti()
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if compressed else content)
    np.testing.assert_array_equal(read_image(path)[0], VOXELS)


@pytest.mark.parametrize("size", [7, 100, 348, 352, 400])
def test_a_gzip_file_of_several_members_is_one_stream(tmp_path: Path, size: int) -> None:
    content = nifti()
    members = [gzip.compress(content[i : i + size]) for i in range(0, len(content), size)]
    path = tmp_path / "a.nii.gz"
    path.write_bytes(b"".join(members))
    np.testing.assert_array_equal(read_image(path)[0], VOXELS)
    path.write_bytes(b"".join([gzip.compress(b""), *members, gzip.compress(b"")]))
    np.testing.assert_array_equal(read_image(path)[0], VOXELS)
    path.write_bytes(b"".join(members[:-1]))
    refused(path, "E-TRUNCATED")
    path.write_bytes(b"".join(members)[:-3])
    refused(path, "E-TRUNCATED")
    last = bytearray(members[-1])
    last[-7] ^= 1
    path.write_bytes(b"".join(members[:-1]) + last)
    refused(path, "E-CORRUPT")


def test_padding_after_the_data_is_no_damage(tmp_path: Path) -> None:
    for name, content in (("a.nii", nifti()), ("a.nii.gz", gzip.compress(nifti()))):
        (tmp_path / name).write_bytes(content + bytes(512))
        np.testing.assert_array_equal(read_image(tmp_path / name)[0], VOXELS)
    path = store(tmp_path, nifti() + bytes(1000), "b.nii.gz")
    np.testing.assert_array_equal(read_image(path)[0], VOXELS)


def test_four_dimensions_with_one_volume_are_three(tmp_path: Path) -> None:
    for shape in ((*SHAPE, 1), (*SHAPE, 1, 1)):
        path = store(tmp_path, nifti(VOXELS.reshape(shape), affine=OBLIQUE))
        array, grid = read_image(path)
        assert array.shape == grid.shape == SHAPE
        np.testing.assert_array_equal(array, VOXELS)
        np.testing.assert_allclose(grid.affine, nib.load(path).affine)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("slope", "intercept"), [(2.5, -10.0), (-1.0, 0.0), (1.0, 7.0), (0.5, 0.0)])
@pytest.mark.parametrize("dtype", ["<i2", ">u2", "<u1", "<f4"])
def test_scaling_is_applied(tmp_path: Path, dtype: str, slope: float, intercept: float) -> None:
    path = store(tmp_path, nifti(dtype=dtype, scl_slope=slope, scl_inter=intercept))
    array, _ = read_image(path)
    assert array.dtype == np.float32
    np.testing.assert_allclose(array, VOXELS * slope + intercept, rtol=1e-6)
    expected = nib.load(path).get_fdata()  # type: ignore[attr-defined]
    np.testing.assert_allclose(array, expected, rtol=1e-6)


@pytest.mark.parametrize("slope", [0.0, np.nan, np.inf, -np.inf])
def test_a_slope_that_is_not_finite_means_unscaled(tmp_path: Path, slope: float) -> None:
    array, _ = read_image(store(tmp_path, nifti(scl_slope=slope, scl_inter=3.0)))
    assert array.dtype == np.int16
    np.testing.assert_array_equal(array, VOXELS)


def test_labels_saved_under_a_scaled_header_come_back_whole(tmp_path: Path) -> None:
    labels = np.array([0, 1, 2, 3] * 2).reshape(2, 2, 2)
    stored = nifti(labels * 21845, "<u2", scl_slope=1 / 21845)
    segmentation = read_labels(store(tmp_path, stored), BRATS2023)
    assert segmentation.labels.dtype == np.uint8
    np.testing.assert_array_equal(segmentation.labels, labels)
    assert segmentation.scheme is BRATS2023
    with pytest.raises(LabelError, match=r"image\.nii"):
        read_labels(store(tmp_path, stored), BRATS2021)


# Files that are refused


def test_a_missing_file_suggests_the_nearest_name(tmp_path: Path) -> None:
    store(tmp_path, nifti(), "patient_t1ce.nii.gz")
    error = refused(tmp_path / "patient_t1c.nii.gz", "E-NOFILE")
    assert "did you mean patient_t1ce.nii.gz" in error.remedy
    assert "spelling" in refused(tmp_path / "no" / "such.nii", "E-NOFILE").remedy
    assert "spelling" in refused(tmp_path / "patient_t1ce.nii.gz" / "inside", "E-NOFILE").remedy


def test_a_broken_link_does_not_suggest_itself(tmp_path: Path) -> None:
    link = tmp_path / "patient_t1.nii.gz"
    link.symlink_to(tmp_path / "away")
    assert "did you mean" not in refused(link, "E-NOFILE").remedy


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").mkdir()
    assert "folder" in refused(tmp_path / "a.nii.gz", "E-NOFILE").what


def test_a_file_without_read_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = store(tmp_path, nifti())

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert "Permission denied" in refused(path, "E-PERM").what


def test_an_empty_file(tmp_path: Path) -> None:
    for name in ("a.nii", "b.nii.gz"):
        (tmp_path / name).write_bytes(b"")
        refused(tmp_path / name, "E-EMPTY")


@pytest.mark.parametrize("version", [1, 2])
def test_an_uncompressed_file_truncated_anywhere(tmp_path: Path, version: int) -> None:
    content = nifti(version=version)
    path = tmp_path / "a.nii"
    for length in {*range(1, 700, 3), len(content) - 1}:
        path.write_bytes(content[:length])
        assert "gzip" not in refused(path, "E-TRUNCATED").remedy


def test_a_compressed_file_truncated_anywhere(tmp_path: Path) -> None:
    content = gzip.compress(nifti())
    path = tmp_path / "a.nii.gz"
    for length in range(1, len(content)):
        path.write_bytes(content[:length])
        error = refused(path, "E-TRUNCATED")
        assert error.remedy.endswith("gzip -t a.nii.gz")


def test_an_image_without_orientation_is_placed_as_the_note_states(tmp_path: Path) -> None:
    notes: list[Note] = []
    grid = read_grid(store(tmp_path, nifti(codes=(0, 0)), "a.nii.gz"), notes)
    assert [note.code for note in notes] == ["W-ORIENT"]
    assert "x is assumed to run to the left, y to the front, z upwards" in notes[0].remedy
    assert np.sign(np.diag(grid.affine)).tolist() == [-1, 1, 1, 1]


@given(st.data())
def test_one_changed_bit_is_detected_or_harmless(tmp_path: Path, data: st.DataObject) -> None:
    """Behind the ten bytes of the gzip header every bit counts; in it the time does not."""
    noise = np.random.default_rng(0).integers(0, 99, SHAPE)
    content = bytearray(gzip.compress(nifti(noise)))
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path / "a.nii.gz"
    path.write_bytes(content)
    try:
        array, _ = read_image(path)
    except ImageError:
        return
    assert position < 10
    np.testing.assert_array_equal(array, noise)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda c: c[:-8] + bytes(4) + c[-4:], "E-CORRUPT"),
        (lambda c: c[:-4] + bytes(4), "E-CORRUPT"),
        (lambda c: c[:-4], "E-TRUNCATED"),
        (lambda c: c[:-8], "E-TRUNCATED"),
        (lambda c: c[:2] + b"\x07" + c[3:], "E-CORRUPT"),
        (lambda c: c[:10] + b"\xff" * 20 + c[30:], "E-CORRUPT"),
        (lambda c: c + b"\x1f\x8b\x08\0garbage that is no deflate stream", "E-CORRUPT"),
    ],
    ids=["crc", "size", "no-size", "no-trailer", "method", "stream", "second-member"],
)
def test_a_damaged_gzip_stream(tmp_path: Path, change: object, code: str) -> None:
    path = tmp_path / "a.nii.gz"
    path.write_bytes(change(gzip.compress(nifti())))  # type: ignore[operator]
    refused(path, code)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "git lfs pull"),
        (b"/annex/objects/SHA256E-s2--4d7a.nii.gz\n", "git annex get"),
        (b"../../.git/annex/objects/a/b/SHA256E-s2--4d7a.nii.gz", "git annex get"),
        (b"outs:\n- md5: abc\n  path: t1.nii.gz\n", "dvc pull"),
        (b"md5: d41d8cd98f00b204e9800998ecf8427e\nouts:\n- path: t1.nii.gz\n", "dvc pull"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "download"),
        (b"\n  <html lang='en'>" + b"x" * 600, "download"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "download"),
        (b'{"error": "not found"}', "download"),
        (b'{\n  "error": "not found"\n}' + b" " * 600, "download"),
        (b'[{"a": 1}]', "download"),
    ],
)
def test_placeholders_are_named(tmp_path: Path, content: bytes, words: str) -> None:
    for name in ("a.nii", "a.nii.gz"):
        assert words in refused(store(tmp_path, content, name), "E-POINTER").remedy
    (tmp_path / "plain.nii.gz").write_bytes(content)
    refused(tmp_path / "plain.nii.gz", "E-POINTER")


@pytest.mark.parametrize(
    "content",
    [
        b"hello",
        bytes(1000),
        b"\x89PNG\r\n\x1a\n" + bytes(600),
        bytes(128) + b"DICM" + bytes(600),
        nifti(magic=b"ni1"),
        nifti(magic=b"abc"),
        b"PK\x03\x04" + bytes(600),
    ],
    ids=["text", "zeros", "png", "dicom", "hdr-img-pair", "no-magic", "zip"],
)
def test_other_formats_are_named(tmp_path: Path, content: bytes) -> None:
    refused(store(tmp_path, content), "E-FORMAT")
    refused(store(tmp_path, content, "a.nii.gz"), "E-FORMAT")


def test_a_gzip_bomb_is_not_decompressed(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    packer = zlib.compressobj(wbits=31)
    blocks = [packer.compress(nifti()), *(packer.compress(bytes(1 << 20)) for _ in range(64)), packer.flush()]
    path.write_bytes(b"".join(blocks))
    with at_most(5):
        refused(path, "E-BOMB")
    path.write_bytes(gzip.compress(nifti()) + gzip.compress(bytes(1 << 20)) * 20)
    with at_most(5):
        refused(path, "E-BOMB")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("mark", [b"", b"\1"])
def test_gigabytes_after_the_data_are_not_held_in_memory(tmp_path: Path, name: str, mark: bytes) -> None:
    """A sparse file: what follows is read and hashed, as the record names the hash of the whole file."""
    path, notes = store(tmp_path, nifti(), name), list[Note]()
    whole = path.stat().st_size
    with path.open("r+b") as stream:
        stream.truncate(whole + (200 << 20))
        stream.seek(0, os.SEEK_END)
        stream.write(mark)
    with at_most(8):
        array, *_ = read_channels(path, notes, [None])[0]
    np.testing.assert_array_equal(array, VOXELS)
    is_noted = name == "a.nii" or mark  # gzip's own padding is zeros
    assert [note.code for note in notes] == (["W-TRAILING"] if is_noted else [])


def test_a_gzip_header_with_a_long_name_is_read_through(tmp_path: Path) -> None:
    """Also where the header alone is wanted: it is a megabyte from the front."""
    packed = gzip.compress(nifti())
    path = tmp_path / "a.nii.gz"
    path.write_bytes(packed[:3] + b"\x08" + packed[4:10] + b"n" * (1 << 20) + b"\0" + packed[10:])
    assert read_grid(path).shape == SHAPE
    np.testing.assert_array_equal(read_image(path)[0], VOXELS)


@pytest.mark.parametrize("flag", [0x20, 0x40, 0x80])
@pytest.mark.parametrize("member", [0, 1])
def test_reserved_bits_of_gzip_are_refused(tmp_path: Path, flag: int, member: int) -> None:
    """As RFC 1952 asks: a later version may give them a meaning that changes the content."""
    content = nifti()
    members = [gzip.compress(content[:400]), gzip.compress(content[400:])]
    members[member] = members[member][:3] + bytes([flag]) + members[member][4:]
    path = tmp_path / "a.nii.gz"
    path.write_bytes(b"".join(members))
    assert hex(flag) in refused(path, "E-CORRUPT").what


@pytest.mark.parametrize("codes", [(0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize(("unit", "mm"), [(1, 1000.0), (3, 0.001)])
def test_lengths_in_metres_and_micrometres(
    tmp_path: Path, unit: int, mm: float, codes: tuple[int, int]
) -> None:
    """The grid is in mm; a result carries the very fields that were read."""
    stored = np.diag([1 / mm, 1 / mm, 1 / mm, 1.0]) @ OBLIQUE
    path = store(tmp_path, nifti(affine=stored, codes=codes, xyzt_units=unit))
    grid = read_grid(path)
    np.testing.assert_allclose(grid.affine, OBLIQUE, atol=1e-3)
    np.testing.assert_allclose(grid.spacing, (1, 1.5, 2), rtol=1e-4)
    write_image(tmp_path / "out.nii", VOXELS.astype(np.uint8), grid)
    again = nib.load(tmp_path / "out.nii")
    np.testing.assert_allclose(again.affine, nib.load(path).affine, rtol=1e-5)
    assert int(again.header["xyzt_units"]) == unit
    np.testing.assert_allclose(read_grid(tmp_path / "out.nii").affine, grid.affine, rtol=1e-6)


@pytest.mark.parametrize("unit", [1, 3])
def test_an_impossible_unit_is_noted_and_ignored(tmp_path: Path, unit: int) -> None:
    path, notes = store(tmp_path, nifti(affine=OBLIQUE, xyzt_units=unit)), list[Note]()
    np.testing.assert_allclose(read_grid(path, notes).affine, OBLIQUE, atol=1e-5)
    assert [note.code for note in notes] == ["W-SPACING"]
    refused(store(tmp_path, nifti(affine=np.diag([50.0, 50, 50, 1]), xyzt_units=unit)), "E-SPACING")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_header_with_a_huge_size_allocates_nothing(tmp_path: Path, name: str) -> None:
    for dims in ([3, 32767, 32767, 32767, 1, 1, 1, 1], [3, 1024, 1024, 129, 1, 1, 1, 1]):
        path = store(tmp_path, nifti(dim=dims), name)
        with at_most(2):
            assert "32767" in refused(path, "E-TOOBIG").what or dims[1] == 1024
    path = store(tmp_path, nifti(version=2, dim=[3, 2**40, 2**40, 2**40, 1, 1, 1, 1]), name)
    with at_most(2):
        refused(path, "E-TOOBIG")
    path = store(tmp_path, nifti(dim=[3, 512, 512, 512, 1, 1, 1, 1]), name)
    assert MAX_VOXELS == 512**3
    with at_most(2):
        refused(path, "E-TRUNCATED")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"dim": [3, -5, 6, 7, 1, 1, 1, 1]}, "E-HEADER"),
        ({"dim": [3, 5, 0, 7, 1, 1, 1, 1]}, "E-HEADER"),
        ({"dim": [0, 5, 6, 7, 1, 1, 1, 1]}, "E-HEADER"),
        ({"dim": [8, 5, 6, 7, 1, 1, 1, 1]}, "E-HEADER"),
        ({"dim": [-3, 5, 6, 7, 1, 1, 1, 1]}, "E-HEADER"),
        ({"dim": [2, 5, 6, 1, 1, 1, 1, 1]}, "E-NDIM"),
        ({"dim": [3, 5, 42, 1, 1, 1, 1, 1]}, "E-NDIM"),
        ({"dim": [1, 210, 1, 1, 1, 1, 1, 1]}, "E-NDIM"),
        ({"dim": [4, 5, 6, 1, 7, 1, 1, 1]}, "E-NDIM"),
        ({"dim": [4, 5, 3, 2, 7, 1, 1, 1]}, "E-NDIM"),
        ({"dim": [5, 5, 6, 1, 1, 7, 1, 1]}, "E-NDIM"),
        ({"vox_offset": np.nan}, "E-HEADER"),
        ({"vox_offset": np.inf}, "E-HEADER"),
        ({"vox_offset": -352}, "E-HEADER"),
        ({"vox_offset": 0}, "E-HEADER"),
        ({"vox_offset": 348}, "E-HEADER"),
        ({"vox_offset": 1e9}, "E-HEADER"),
        ({"vox_offset": 2000}, "E-TRUNCATED"),
        ({"sizeof_hdr": 0, "vox_offset": 0}, "E-HEADER"),
        ({"datatype": 0, "bitpix": 0}, "E-DTYPE"),
        ({"datatype": 1, "bitpix": 1}, "E-DTYPE"),
        ({"datatype": 9999}, "E-DTYPE"),
        ({"datatype": 32, "bitpix": 64}, "E-DTYPE"),
        ({"datatype": 128, "bitpix": 24}, "E-DTYPE"),
        ({"datatype": 2304, "bitpix": 32}, "E-DTYPE"),
        ({"datatype": 1792, "bitpix": 128}, "E-DTYPE"),
        ({"datatype": 1536, "bitpix": 128}, "E-DTYPE"),
        ({"bitpix": 8}, "E-DTYPE"),
        ({"srow_x": [np.nan] * 4}, "E-AFFINE"),
        ({"srow_x": [-1, 0, 0, np.nan]}, "E-AFFINE"),
        ({"srow_x": [-1, 0, 0, np.inf]}, "E-AFFINE"),
        ({"srow_x": [-1, 0, 0, 1e7]}, "E-AFFINE"),
        ({"srow_x": [-1, 0, 0, -1e7]}, "E-AFFINE"),
        ({"srow_x": [0] * 4, "srow_y": [0] * 4, "srow_z": [0] * 4}, "E-SPACING"),
        ({"srow_x": [1, 1, 0, 0], "srow_y": [1, 1, 0, 0]}, "E-AFFINE"),
        ({"srow_x": [1, 0, 0, 0], "srow_y": [0, 1, 1, 0], "srow_z": [0, 0, 0.1, 0]}, "E-AFFINE"),
        ({"srow_x": [25, 0, 0, 0]}, "E-SPACING"),
        ({"srow_x": [0.05, 0, 0, 0]}, "E-SPACING"),
        ({"srow_x": [3e38] * 4}, "E-AFFINE"),
        ({"sform_code": -1}, "E-HEADER"),
        ({"qform_code": 6}, "E-HEADER"),
        ({"sform_code": 0, "quatern_b": np.nan}, "E-AFFINE"),
        ({"sform_code": 0, "quatern_b": 0.9, "quatern_c": 0.9}, "E-AFFINE"),
        ({"sform_code": 0, "qoffset_x": np.inf}, "E-AFFINE"),
        ({"sform_code": 0, "pixdim": [1, 0, 1, 1, 0, 0, 0, 0]}, "E-SPACING"),
        ({"sform_code": 0, "pixdim": [1, -1, 1, 1, 0, 0, 0, 0]}, "E-SPACING"),
        ({"sform_code": 0, "pixdim": [1, 1, np.nan, 1, 0, 0, 0, 0]}, "E-SPACING"),
        ({"sform_code": 0, "qform_code": 0, "pixdim": [0] * 8}, "E-SPACING"),
        ({"sform_code": 0, "qform_code": 0, "pixdim": [0, 1, 1, -1, 0, 0, 0, 0]}, "E-SPACING"),
        ({"sform_code": 0, "qform_code": 0, "pixdim": [0, 1, 1, 30, 0, 0, 0, 0]}, "E-SPACING"),
        ({"scl_slope": 1.0, "scl_inter": np.nan}, "E-VALUES"),
        ({"scl_slope": 1.0, "scl_inter": np.inf}, "E-VALUES"),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else value,
)
def test_a_header_that_contradicts_itself(tmp_path: Path, fields: dict[str, object], code: str) -> None:
    for name in ("a.nii", "a.nii.gz"):
        refused(store(tmp_path, nifti(**fields), name), code)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300, -1e300])
def test_voxels_that_are_not_finite(tmp_path: Path, bad: float) -> None:
    array = VOXELS.astype(np.float64)
    array[2, 3, 4] = array[0, 0, 0] = bad
    kinds = ["<f8", ">f8"] if abs(bad) == 1e300 else ["<f4", ">f4", "<f8"]
    for kind in kinds:
        assert "2 voxels" in refused(store(tmp_path, nifti(array, kind)), "E-VALUES").what


def test_voxels_of_opposite_infinities_do_not_cancel(tmp_path: Path) -> None:
    array = VOXELS.astype(np.float32)
    array[0, 0, :2] = np.inf, -np.inf
    assert "2 voxels" in refused(store(tmp_path, nifti(array, "<f4")), "E-VALUES").what


def test_scaled_values_that_overflow(tmp_path: Path) -> None:
    refused(store(tmp_path, nifti(scl_slope=3e38)), "E-VALUES")


def test_large_but_ordinary_values_are_read(tmp_path: Path) -> None:
    array = np.full(SHAPE, 3e38, dtype=np.float32)
    np.testing.assert_array_equal(read_image(store(tmp_path, nifti(array, "<f4")))[0], array)


def test_a_colour_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    colour = np.zeros(SHAPE, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(colour, STRAIGHT), path)  # type: ignore[attr-defined]
    assert "colour" in refused(path, "E-DTYPE").remedy
    nib.save(nib.Nifti1Image(VOXELS.astype(np.complex64), STRAIGHT), path)  # type: ignore[attr-defined]
    refused(path, "E-DTYPE")


def test_several_volumes_in_one_file(tmp_path: Path) -> None:
    error = refused(store(tmp_path, nifti(np.zeros((*SHAPE, 4)))), "E-NDIM")
    assert "5 x 6 x 7 x 4" in error.what
    refused(store(tmp_path, nifti(np.zeros((5, 6)))), "E-NDIM")


@pytest.mark.parametrize("seed", range(4))
def test_random_damage_ends_in_an_image_error_or_in_an_image(tmp_path: Path, seed: int) -> None:
    """An accepted file is a finite image on a grid onto which a result can be written."""
    random = np.random.default_rng(seed)
    contents = [nifti(), nifti(dtype=">f4", affine=OBLIQUE, codes=(1, 0)), nifti(version=2, codes=(0, 0))]
    accepted = 0
    for number in range(100):
        content = bytearray(contents[number % 3])
        for _ in range(random.integers(1, 7)):
            end = 560 if random.random() < 0.8 else len(content)
            content[random.integers(end)] = random.integers(256)
        path = store(tmp_path, bytes(content), "a.nii.gz" if number % 2 else "a.nii")
        try:
            array, grid = read_image(path)
        except ImageError:
            continue
        accepted += 1
        assert array.shape == grid.shape
        assert np.isfinite(array).all()
        if max(grid.shape) > 32767:
            continue
        write_image(tmp_path / "out.nii", np.ones(grid.shape, dtype=np.uint8), grid)
        assert read_grid(tmp_path / "out.nii").matches(grid, max(1e-3, 1e-6 * np.abs(grid.affine).max()))
    assert accepted > 5
