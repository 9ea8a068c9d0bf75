"""Every row of the table of bad inputs, built from the small synthetic exam and given to the command line."""

from __future__ import annotations

import bz2
import errno
import gzip
import hashlib
import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest

from gliomaseg.cases.case import Case
from gliomaseg.cli.app import main
from gliomaseg.errors import CODES, NOTES
from gliomaseg.imaging.phantom import make_phantom, write_phantom
from gliomaseg.inference.bundle import shipped_folder
from gliomaseg.storage import files

Array = npt.NDArray[np.generic]

ROWS = runpy.run_path(str(Path(__file__).with_name("bad_inputs.py")))["ROWS"]

#: No bad input needs more memory than this, traced, in megabytes; an intact small exam needs 270,
#: as one of BraTS does: it is computed at 1 mm.
LIMIT_MB = 350


class Exam:
    """A private copy of the small exam, corrupted by a row; ``args`` are those of the command line."""

    def __init__(self, source: Path, home: Path, patch: pytest.MonkeyPatch) -> None:
        self.id = source.name
        self.home = home
        self.folder = Path(shutil.copytree(source, home / "data" / self.id))
        self.out = home / "out"
        self.patch = patch
        self.args: list[object] = ["segment", home / "data", "-o", self.out]

    def file(self, name: str = "t2") -> Path:
        return self.folder / f"{self.id}_{name}.nii.gz"

    def bytes_of(self, name: str = "t2") -> bytearray:
        return bytearray(gzip.decompress(self.file(name).read_bytes()))

    def put(self, content: bytes, name: str = "t2", *, packed: bool = True) -> None:
        self.file(name).write_bytes(gzip.compress(content, 1) if packed else content)

    def header(self, name: str = "t2", **fields: object) -> None:
        """Overwrite fields of a header."""
        content = self.bytes_of(name)
        header = nib.Nifti1Header(bytes(content[:348]), check=False)
        for field, value in fields.items():
            header[field] = value
        content[:348] = header.binaryblock
        self.put(content, name)

    def image(self, name: str = "t2") -> tuple[Array, npt.NDArray[np.float64]]:
        found = nib.load(self.file(name))
        return np.asarray(found.dataobj).copy(), found.affine

    def save(self, array: Array, affine: npt.NDArray[np.float64], name: str = "t2", dtype: str = "") -> None:
        nib.save(nib.Nifti1Image(array.astype(dtype) if dtype else array, affine), self.file(name))

    def change(self, change: Callable[[Array], Array], *names: str) -> None:
        """Replace the voxels of some sequences, all four if none is named."""
        for name in names or ("t1", "t1ce", "t2", "flair"):
            array, affine = self.image(name)
            self.save(change(array), affine, name)

    def evaluate(self, change: Callable[[Array], Array], *options: str) -> None:
        """Give predictions that are the reference, changed, to evaluate."""
        array, affine = self.image("seg")
        (self.home / "pred").mkdir()
        nib.save(nib.Nifti1Image(change(array), affine), self.home / "pred" / f"{self.id}.nii.gz")
        self.args = ["evaluate", self.home / "pred", self.home / "data", "--jobs", "1", *options]

    def four(self, **other: Path) -> None:
        """Name the four files one by one."""
        names = {"t1n": "t1", "t1c": "t1ce", "t2w": "t2", "t2f": "flair"}
        given = {option: self.file(name) for option, name in names.items()} | other
        self.args = ["segment", *[a for o, f in given.items() for a in (f"--{o}", f)], "-o", self.out]


Corrupt = Callable[[Exam], None]


class Trial(NamedTuple):
    number: int
    name: str
    corrupt: Corrupt
    code: str
    words: str
    exit_code: int


TRIALS: list[Trial] = []


def row(
    number: int, code: str = "", words: str = "", exit_code: int | None = None
) -> Callable[[Corrupt], Corrupt]:
    """Register a way to corrupt the exam: the code that must be shown, words of it, the exit code."""

    def register(corrupt: Corrupt) -> Corrupt:
        code_of = exit_code if exit_code is not None else int(code.startswith("E-"))
        TRIALS.append(Trial(number, corrupt.__name__, corrupt, code, words, code_of))
        return corrupt

    return register


# Files


@row(1, "E-NOFILE", "did you mean phantom-synthetic?")
def a_typo(exam: Exam) -> None:
    exam.args[1] = exam.home / "data" / "phantom-syntetic"


@row(2, "E-NOFILE", "is a folder, not a file")
def a_folder_for_a_file(exam: Exam) -> None:
    exam.four(t2w=exam.folder)


@row(2, "E-NOCASE", "is one image, not a case")
def an_image_for_a_case(exam: Exam) -> None:
    exam.args[1] = exam.file()


@row(3, "E-EMPTY", "0 bytes")
def empty(exam: Exam) -> None:
    exam.file().write_bytes(b"")


@row(4, "E-TRUNCATED", "ends too early")
def cut(exam: Exam) -> None:
    exam.file().write_bytes(exam.file().read_bytes()[:20000])


@row(4, "E-TRUNCATED", "ends too early")
def cut_found_by_check(exam: Exam) -> None:
    cut(exam)
    exam.args = ["check", exam.home / "data", "--json"]


@row(5, "E-CORRUPT", "is damaged")
def flipped_byte(exam: Exam) -> None:
    content = bytearray(exam.file().read_bytes())
    content[len(content) // 2] ^= 1
    exam.file().write_bytes(content)


@row(5, "E-TRUNCATED", "its checksum")
def no_trailer(exam: Exam) -> None:
    exam.file().write_bytes(exam.file().read_bytes()[:-8])


@row(6, "W-TRAILING", "has bytes after its data")
def garbage_behind(exam: Exam) -> None:
    exam.file().write_bytes(exam.file().read_bytes() + b"garbage")


@row(6)
def two_members(exam: Exam) -> None:
    content = bytes(exam.bytes_of())
    exam.put(gzip.compress(content[:5000]) + gzip.compress(content[5000:]), packed=False)


@row(7, "E-TRUNCATED", "ends too early")
def cut_plain(exam: Exam) -> None:
    exam.file().unlink()
    Path(str(exam.file()).removesuffix(".gz")).write_bytes(bytes(exam.bytes_of("t1")[:-1]))


@row(8, "W-EXT", "not compressed, unlike its name")
def plain_named_gz(exam: Exam) -> None:
    exam.put(bytes(exam.bytes_of()), packed=False)


@row(9, "E-POINTER", "git lfs pull")
def lfs_pointer(exam: Exam) -> None:
    exam.put(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 12\n", packed=False)


@row(9, "E-POINTER", "a web page")
def web_page(exam: Exam) -> None:
    exam.put(b"<!DOCTYPE html><html><title>404</title></html>", packed=False)


@row(10, "E-BOMB", "far more than")
def gzip_bomb(exam: Exam) -> None:
    exam.put(bytes(exam.bytes_of()) + bytes(1 << 28))


@row(11, "E-TOOBIG", "32767 x 32767 x 32767")
def dimensions_bomb(exam: Exam) -> None:
    exam.header(dim=[3, 32767, 32767, 32767, 1, 1, 1, 1])


@row(12, "E-HEADER", "dim is")
def negative_dimension(exam: Exam) -> None:
    exam.header(dim=[3, -80, 80, 52, 1, 1, 1, 1])


@row(12, "E-HEADER", "dim is")
def eight_dimensions(exam: Exam) -> None:
    exam.header(dim=[8, 80, 80, 52, 1, 1, 1, 1])


@row(13, "E-HEADER", "vox_offset is nan")
def offset_nan(exam: Exam) -> None:
    exam.header(vox_offset=np.nan)


@row(13, "E-TRUNCATED", "ends too early")
def offset_past_the_end(exam: Exam) -> None:
    exam.header(vox_offset=1e6)


@row(14, "E-DTYPE", "NIfTI type 9999")
def unknown_type(exam: Exam) -> None:
    exam.header(datatype=9999)


@row(14, "E-DTYPE", "8 bits")
def wrong_bits(exam: Exam) -> None:
    exam.header(bitpix=8)


@row(15)
def big_endian(exam: Exam) -> None:
    array, affine = exam.image()
    image = nib.Nifti1Image(array.astype(">i2"), affine, nib.Nifti1Header(endianness=">"))
    nib.save(image, exam.file())


@row(16)
def nifti2(exam: Exam) -> None:
    array, affine = exam.image()
    nib.save(nib.Nifti2Image(array, affine), exam.file())


@row(16, "E-FORMAT", "the header of a NIfTI pair")
def header_of_a_pair(exam: Exam) -> None:
    exam.header(magic=b"ni1")


@row(16, "E-FORMAT", "Analyze 7.5")
def analyze(exam: Exam) -> None:
    exam.header(magic=b"")


@row(17, "E-FORMAT", "an NRRD file")
def nrrd(exam: Exam) -> None:
    exam.put(b"NRRD0004\ntype: short\n", packed=False)


@row(17, "E-FORMAT", "a DICOM file")
def dicom(exam: Exam) -> None:
    exam.put(bytes(128) + b"DICM" + bytes(600), packed=False)


@row(18, "E-DTYPE", "colour")
def colour(exam: Exam) -> None:
    array, affine = exam.image()
    colour = np.zeros(array.shape, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    exam.save(colour, affine)


@row(18, "E-DTYPE", "complex")
def complex_numbers(exam: Exam) -> None:
    array, affine = exam.image()
    exam.save(array, affine, dtype="c8")


@row(19, "E-NDIM", "three dimensions")
def two_dimensional(exam: Exam) -> None:
    array, affine = exam.image()
    exam.save(array[:, :, 20], affine)


@row(20, "W-NDIM", "its only volume was used")
def one_volume(exam: Exam) -> None:
    array, affine = exam.image()
    exam.save(array[..., None], affine)


@row(21, "E-NDIM", "several sequences")
def four_volumes(exam: Exam) -> None:
    array, affine = exam.image()
    exam.save(np.stack([array] * 4, axis=-1), affine)


@row(22, "E-NDIM", "time series")
def time_series(exam: Exam) -> None:
    array, affine = exam.image()
    exam.save(np.stack([array] * 30, axis=-1), affine)


# Voxels


def some_bad(value: float, part: float = 0.0) -> Callable[[Array], Array]:
    def corrupt(array: Array) -> Array:
        image = array.astype(np.float32)
        brain = np.flatnonzero(image.ravel())
        image.ravel()[brain[: max(100, int(part * brain.size))]] = value
        return image

    return corrupt


@row(23, "W-VALUES", "that are not finite")
def some_nan(exam: Exam) -> None:
    exam.change(some_bad(np.nan), "t2")


@row(23, "E-VALUES", "brain voxels")
def many_nan(exam: Exam) -> None:
    exam.change(some_bad(np.nan, 0.2), "t2")


@row(24, "W-VALUES", "100 voxels")
def some_infinite(exam: Exam) -> None:
    exam.change(some_bad(np.inf), "t2")


@row(25, "E-CONSTANT", "same value everywhere")
def constant(exam: Exam) -> None:
    exam.change(np.zeros_like, "t2")


@row(26, "W-SCALE", "scl_slope inf")
def infinite_slope(exam: Exam) -> None:
    exam.header(scl_slope=np.inf)


@row(26, "E-VALUES", "brain voxels")
def overflowing_slope(exam: Exam) -> None:
    exam.header(scl_slope=3e38, scl_inter=0)


@row(27, "W-RANGE", "are clipped")
def outliers(exam: Exam) -> None:
    exam.change(lambda a: np.where(a == a.max(), 1e9, a).astype(np.float32), "t2")


# Space


@row(28, "E-SPACING", "voxel size")
def spacing_zero(exam: Exam) -> None:
    exam.header(sform_code=0, pixdim=[1, 0, 3, 3, 0, 0, 0, 0])


@row(28, "E-SPACING", "0.05")
def spacing_tiny(exam: Exam) -> None:
    exam.header(srow_x=[0.05, 0, 0, 0])


@row(29, "E-AFFINE", "not finite")
def affine_nan(exam: Exam) -> None:
    exam.header(srow_x=[np.nan] * 4)


@row(29, "E-AFFINE", "sheared")
def sheared(exam: Exam) -> None:
    exam.header(srow_x=[-3, 1, 0, 0], qform_code=0)


@row(29, "W-AFFINE", "off right angles")
def hardly_sheared(exam: Exam) -> None:
    for name in ("t1", "t1ce", "t2", "flair"):
        exam.header(name, srow_x=[-3, 0.005, 0, 0], qform_code=0)


@row(30, "W-AFFINE", "the sform was used")
def forms_differ(exam: Exam) -> None:
    for name in ("t1", "t1ce", "t2", "flair"):
        exam.header(name, qoffset_x=nib.load(exam.file(name)).affine[0, 3] + 0.5)


@row(30, "E-AFFINE", "mm apart")
def forms_differ_much(exam: Exam) -> None:
    exam.header(qoffset_x=30)


@row(31, "W-ORIENT", "left and right may be swapped")
def no_code(exam: Exam) -> None:
    for name in ("t1", "t1ce", "t2", "flair"):
        exam.header(name, qform_code=0, sform_code=0)


@row(31, "E-GRID", "has no orientation")
def one_without_code(exam: Exam) -> None:
    exam.header("t1", qform_code=0, sform_code=0)


def turned(exam: Exam, change: Callable[[nib.Nifti1Image], nib.Nifti1Image]) -> None:
    for name in ("t1", "t1ce", "t2", "flair"):
        nib.save(change(nib.load(exam.file(name))), exam.file(name))


@row(32)
def another_orientation(exam: Exam) -> None:
    turned(exam, nib.as_closest_canonical)


@row(33)
def oblique(exam: Exam) -> None:
    c, s = np.cos(0.3), np.sin(0.3)
    turn = np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    turned(exam, lambda image: nib.Nifti1Image(np.asarray(image.dataobj), turn @ image.affine))


@row(34, "W-SPACING", "3 x 3 x 3 mm")
def coarse(exam: Exam) -> None:
    """The small exam as it is."""


@row(34, "W-THICK", "3 x 3 x 6 mm")
def uneven(exam: Exam) -> None:
    thick = np.diag([1, 1, 2, 1])
    turned(exam, lambda i: nib.Nifti1Image(np.asarray(i.dataobj)[:, :, ::2].copy(), i.affine @ thick))


@row(34, "W-COARSE", "3 x 3 x 12 mm")
def coarser(exam: Exam) -> None:
    thick = np.diag([1, 1, 4, 1])
    turned(exam, lambda i: nib.Nifti1Image(np.asarray(i.dataobj)[:, :, ::4].copy(), i.affine @ thick))


# The sequences of a case


@row(35, "W-GRID", "it was resampled")
def another_shape(exam: Exam) -> None:
    array, affine = exam.image()
    moved = affine.copy()
    moved[:3, 3] -= affine[:3, :3] @ (2, 2, 2)
    exam.save(np.pad(array, 2), moved)


@row(35, "W-COVER", "t2w lacks 52% of the brain")
def another_half(exam: Exam) -> None:
    array, affine = exam.image()
    exam.save(array[:40], affine)


@row(36, "W-MOVED", "moved t2w by 866 mm")
def another_place(exam: Exam) -> None:
    array, affine = exam.image()
    affine[:3, 3] += 500
    exam.save(array, affine)


@row(37, "W-ALIGN", "seems misregistered to")
def unregistered(exam: Exam) -> None:
    exam.change(lambda a: np.roll(a, 3, 1), "flair")


@row(38, "E-MODALITY-ORDER", "t2w looks like t2f")
def swapped(exam: Exam) -> None:
    t2, affine = exam.image("t2")
    flair, _ = exam.image("flair")
    exam.save(flair, affine, "t2")
    exam.save(t2, affine, "flair")


@row(38, "W-FORCED", "E-MODALITY-ORDER")
def swapped_but_forced(exam: Exam) -> None:
    swapped(exam)
    exam.args.append("--force")


@row(39, "E-DUPLICATE", "are the same image")
def twice(exam: Exam) -> None:
    shutil.copy(exam.file("t1"), exam.file("t1ce"))


@row(39, "E-DUPLICATE", "differ only in scale or noise")
def twice_scaled(exam: Exam) -> None:
    array, affine = exam.image("t1")
    exam.save(array * 2, affine, "t1ce")


@row(40, "W-CONTRAST", "nearly identical to t1n")
def no_contrast(exam: Exam) -> None:
    array, affine = exam.image("t1")
    noise = np.random.default_rng(0).normal(0, 12, array.shape)
    exam.save(np.where(array > 0, np.clip(array + noise, 1, None), 0), affine, "t1ce", "i2")


@row(41, "W-MISSING", "has no t2w")
def missing(exam: Exam) -> None:
    exam.file().unlink()


@row(42)
def whole_head(exam: Exam) -> None:
    noise = np.random.default_rng(0)
    exam.change(lambda a: np.where(a == 0, noise.integers(1, 20, a.shape), a).astype(np.int16))


@row(42, "E-SKULL", "nonzero voxels")
def whole_head_not_stripped(exam: Exam) -> None:
    whole_head(exam)
    exam.args.append("--no-strip")


@row(43)
def stripped_before(exam: Exam) -> None:
    exam.args.append("--keep-standardised")


@row(104, "E-NOTMRI", "near -1000 Hounsfield units")
def a_ct(exam: Exam) -> None:
    noise = np.random.default_rng(0)
    exam.change(lambda a: np.where(a == 0, noise.normal(-1000, 15, a.shape), a / 10).astype(np.int16))


@row(44, "E-NOTBRAIN", "500 ml")
def too_small(exam: Exam) -> None:
    turned(exam, lambda i: nib.Nifti1Image(np.asarray(i.dataobj), i.affine @ np.diag([0.4, 0.4, 0.4, 1])))


@row(44, "E-NOTBRAIN", "unlike a brain's sequences")
def one_sequence_four_times(exam: Exam) -> None:
    t1, affine = exam.image("t1")
    for seed, name in enumerate(("t1", "t1ce", "t2", "flair")):
        noise = np.random.default_rng(seed).normal(0, 15, t1.shape)
        exam.save(np.where(t1 > 0, np.clip(t1 + noise, 1, None), 0), affine, name, "i2")


@row(44, "E-NOTBRAIN", "anything in common")
def no_brain(exam: Exam) -> None:
    def shuffle(array: Array) -> Array:
        brain = array > 0
        array[brain] = np.random.default_rng(int(array.sum()) % 97).permutation(array[brain])
        return array

    exam.change(shuffle)


@row(46, "W-NOTUMOUR", "no tumour was found")
def healthy(exam: Exam) -> None:
    shutil.rmtree(exam.folder)
    folder = write_phantom(make_phantom("small", tumour=None), exam.home / "data", case_id=exam.id)
    for name in ("t1", "t1ce", "t2"):  # in FLAIR alone the model finds nothing
        (folder / f"{exam.id}_{name}.nii.gz").unlink()


@row(47, "W-EDGE", "reaches the top edge")
def cut_off(exam: Exam) -> None:
    exam.change(lambda a: a[:, :, :38])


@row(47, "W-COVER", "t1n lacks")
def one_sequence_cut_off(exam: Exam) -> None:
    exam.change(lambda a: np.where((a != 0) & (np.arange(a.shape[0]) < 36)[:, None, None], 1, a), "t1")


@row(88, "E-UNKNOWN", "has no t1c; in")
def named_otherwise(exam: Exam) -> None:
    exam.file("t1ce").rename(exam.file("T1wCE"))


@row(88, "W-UNKNOWN", "not understood by name: phantom-synthetic_T1wCE.nii.gz")
def named_otherwise_but_allowed(exam: Exam) -> None:
    named_otherwise(exam)
    exam.args.append("--allow-missing")


@row(88, "E-UNKNOWN", "--draft cases.csv")
def named_otherwise_in_check(exam: Exam) -> None:
    named_otherwise(exam)
    exam.args = ["check", exam.home / "data", "--json"]


@row(89, "E-ID", "can't be the id of a case")
def an_id_that_is_too_long(exam: Exam) -> None:
    for file in exam.folder.glob("*.nii.gz"):
        file.rename(file.with_name(file.name.replace(exam.id, "x" * 220)))


@row(90, "W-BACKGROUND", "a background of -1, not 0; it was set to 0")
def filled_with_minus_one(exam: Exam) -> None:
    exam.change(lambda a: np.where(a == 0, -1, a).astype(np.int16))


@row(90, "W-BACKGROUND", "it was set to 0")
def z_scored_with_its_background(exam: Exam) -> None:
    exam.change(lambda a: ((a - a.mean()) / a.std()).astype(np.float32))


@row(91, "E-WRAPPED", "t1c has black islands of negative values")
def wrapped_to_negative(exam: Exam) -> None:
    exam.change(lambda a: wrapped(a, percentile=97), "t1ce")


@row(81, "W-ALIGN", "seems misregistered to")
def another_patient(exam: Exam) -> None:
    other = make_phantom("small", seed=5).images.array[2]
    exam.change(lambda _: np.roll(other, (3, -3), (0, 1)), "t2")


def wrapped(array: Array, percentile: float) -> Array:
    """Return an image scaled so that voxels above a percentile of the brain overflow int16."""
    scale = 32767 / np.percentile(array[array != 0], percentile)
    return (array * scale).astype(np.int64).astype(np.int16)


# Labels


@row(49)
def nearly_whole_labels(exam: Exam) -> None:
    exam.evaluate(lambda a: a * np.float32(0.9999))


@row(50, "E-LABEL", "fractional values")
def fractional_labels(exam: Exam) -> None:
    exam.evaluate(lambda a: a / np.float32(2))


@row(51, "E-LABELS", "--prediction-scheme brats2023")
def labels_of_another_year(exam: Exam) -> None:
    exam.evaluate(lambda a: np.where(a == 4, 3, a).astype(np.uint8))


@row(51, "E-LABELS", "if 3 is non-enhancing core and 4 enhancing (BraTS 2012 to 2016): write 1 in place of 3")
def labels_three_and_four(exam: Exam) -> None:
    exam.evaluate(lambda a: np.where(a == 1, 3, a).astype(np.uint8))


@row(92, "E-NDIM", "numpy.argmax over that axis")
def one_hot_prediction(exam: Exam) -> None:
    exam.evaluate(lambda a: np.stack([a == v for v in (0, 1, 2, 4)], -1).astype(np.uint8))


@row(93, "", "holds no label but 1 (necrotic / non-enhancing core)", 0)
def mask_of_one(exam: Exam) -> None:
    exam.evaluate(lambda a: (a > 0).astype(np.uint8))


@row(94, "E-FORMAT", "gunzip -c FILE")
def compressed_twice(exam: Exam) -> None:
    exam.put(exam.file().read_bytes())


@row(94, "E-FORMAT", "bunzip2 -c FILE")
def bzip2_named_gz(exam: Exam) -> None:
    exam.put(bz2.compress(bytes(exam.bytes_of())), packed=False)


@row(52, "E-LABELS", "brats2024")
def ambiguous_four(exam: Exam) -> None:
    exam.evaluate(lambda a: a, "--prediction-scheme", "brats2023")


@row(53, "E-LABELS", "the label 255")
def mask_of_255(exam: Exam) -> None:
    exam.evaluate(lambda a: np.where(a > 0, 255, 0).astype(np.uint8))


@row(53, "E-LABELS", "the label -1")
def negative_label(exam: Exam) -> None:
    exam.evaluate(lambda a: np.where(a > 0, -1, 0).astype(np.int16))


@row(54, "E-GRID", "79 x 80 x 52 voxels, the reference 80 x 80 x 52")
def reference_on_another_grid(exam: Exam) -> None:
    exam.evaluate(lambda a: a[1:])


@row(54, "E-GRID", "a reference is never resampled")
def reference_on_another_grid_in_check(exam: Exam) -> None:
    exam.change(lambda a: a[1:], "seg")
    exam.args = ["check", exam.home / "data", "--json"]


@row(55, "W-EMPTYREF", "counts as no tumour")
def empty_reference(exam: Exam) -> None:
    exam.change(np.zeros_like, "seg")
    exam.args = ["check", exam.home / "data", "--deep", "--json"]


@row(56, "E-FLIP", "mirrored left-right")
def mirrored_reference(exam: Exam) -> None:
    exam.change(lambda a: a[::-1].copy(), "seg")
    exam.args = ["check", exam.home / "data", "--deep", "--json"]


@row(56, "W-OUTSIDE", "is outside the brain")
def reference_outside(exam: Exam) -> None:
    exam.change(lambda a: np.roll(a, 40, 1), "seg")
    exam.args = ["check", exam.home / "data", "--deep", "--json"]


# Cases, paths, lists


@row(57, "E-DUPID", "two cases have the id")
def two_of_one_id(exam: Exam) -> None:
    shutil.copytree(exam.folder, exam.home / "data" / "copy")


@row(57, "E-DUPID", "has two t1c images")
def two_files_for_one_sequence(exam: Exam) -> None:
    shutil.copyfile(exam.file("t1ce"), exam.file("t1gd"))


def _as_bids(exam: Exam, subject: str = "sub-1", *, without: str = "") -> Path:
    """Rename the exam's files into a BIDS data set, and return the folder anat."""
    anat = exam.home / "data" / subject / "anat"
    anat.mkdir(parents=True)
    for name, suffix in {"t1": "T1w", "t1ce": "ce-gd_T1w", "t2": "T2w", "flair": "FLAIR"}.items():
        if name != without:
            exam.file(name).rename(anat / f"{subject}_{suffix}.nii.gz")
    shutil.rmtree(exam.folder)
    exam.args = ["check", exam.home / "data", "--json"]
    return anat


@row(101, "E-DUPID", "two t1n images: sub-1_T1w.nii.gz and sub-1_run-2_T1w.nii.gz")
def bids_with_two_runs(exam: Exam) -> None:
    anat = _as_bids(exam)
    shutil.copyfile(anat / "sub-1_T1w.nii.gz", anat / "sub-1_run-2_T1w.nii.gz")


@row(101, "E-DUPID", "two t1c images: sub-1_ce-gadolinium_T1w.nii.gz and sub-1_ce-gd_T1w.nii.gz")
def bids_with_two_t1c(exam: Exam) -> None:
    anat = _as_bids(exam)
    shutil.copyfile(anat / "sub-1_ce-gd_T1w.nii.gz", anat / "sub-1_ce-gadolinium_T1w.nii.gz")


@row(102)
def bids_as_it_is_found(exam: Exam) -> None:
    anat = _as_bids(exam, "sub-TCGA-02-0006")
    (anat / "sub-TCGA-02-0006_T2starw.nii.gz").write_bytes(b"none of the four")
    (anat / "sub-TCGA-02-0006_T1w.json").write_text("{}")
    shutil.copytree(anat.parent, exam.home / "data" / "derivatives" / "x" / anat.parent.name)


@row(102, "E-UNKNOWN", "sub-1_UNIT1.nii.gz")
def bids_with_the_t1_of_an_mp2rage(exam: Exam) -> None:
    anat = _as_bids(exam, without="t1")
    shutil.copyfile(anat / "sub-1_ce-gd_T1w.nii.gz", anat / "sub-1_UNIT1.nii.gz")


@row(103, "E-EXISTS", "no BIDS data set of gliomaseg: notes.txt")
def bids_folder_of_others(exam: Exam) -> None:
    (exam.out / "bids").mkdir(parents=True)
    (exam.out / "bids" / "notes.txt").touch()
    exam.args.append("--bids")


@row(103, "E-OUTPUT", "it is for the result of a case")
def bids_is_a_case(exam: Exam) -> None:
    exam.four()
    exam.args += ["--id", "bids", "--bids"]


@row(103, "E-USAGE", "--bids writes a data set", 2)
def bids_into_a_file(exam: Exam) -> None:
    exam.args[3] = exam.out / "x.nii.gz"
    exam.args.append("--bids")


@row(58)
def one_patient_twice(exam: Exam) -> None:
    from gliomaseg.settings.schema import TrainingSettings
    from gliomaseg.training.cache import PreparedCase
    from gliomaseg.training.split import split_by_patient

    facts = {"voxels": {"et": 1}}
    made = [
        PreparedCase(f"BraTS-GLI-{p:05}-{t:03}", f"BraTS-GLI-{p:05}", exam.home, facts)
        for p in range(8)
        for t in (0, 1)
    ]
    for fold in range(4):
        split = split_by_patient(made, TrainingSettings(folds=4, fold=fold))
        patients = [{case.rpartition("-")[0] for case in part} for part in (split.train, split.validation)]
        assert not patients[0] & patients[1]


@row(59)
def odd_names(exam: Exam) -> None:
    odd = exam.home / "data" / '-it\'s "Zoë" 患者'
    odd.mkdir()
    for file in exam.folder.glob("*.nii.gz"):
        file.rename(odd / file.name.replace(exam.id, odd.name))
    shutil.rmtree(exam.folder)
    exam.args[1] = odd


@row(60)
def links(exam: Exam) -> None:
    (exam.home / "links").mkdir()
    (exam.home / "links" / "case").symlink_to(exam.folder)
    (exam.home / "links" / "loop").symlink_to(exam.home / "links")
    exam.args[1] = exam.home / "links"


@row(60, "E-NOFILE", "is a link to")
def broken_link(exam: Exam) -> None:
    exam.file().unlink()
    exam.file().symlink_to(exam.home / "gone")
    exam.four()


@row(61, "E-PERM", "Permission denied")
def unreadable(exam: Exam) -> None:
    opened = Path.open

    def refuse(self: Path, *args: object, **options: object) -> object:
        if self == exam.file() and sys._getframe(1).f_globals["__name__"].startswith("gliomaseg"):
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return opened(self, *args, **options)  # type: ignore[call-overload]

    exam.patch.setattr(Path, "open", refuse)


@row(82, "E-NOFILE", "reads no network")
def url(exam: Exam) -> None:
    exam.args[1] = "https://example.org/case.nii.gz"


@row(82, "E-NOFILE", "a pipe or device")
def pipe(exam: Exam) -> None:
    os.mkfifo(exam.home / "pipe")
    exam.four(t2w=exam.home / "pipe")


@row(83)
def list_from_a_spreadsheet(exam: Exam) -> None:
    names = {"t1n": "t1", "t1c": "t1ce", "t2w": "t2", "t2f": "flair"}
    cells = [str(exam.file(name).relative_to(exam.home)) for name in names.values()]
    text = "\ufeffCase;" + ";".join(names) + "\r\npseudonym;" + ";".join(cells) + "\r\n"
    (exam.home / "list.csv").write_bytes(text.encode())
    exam.args[1] = exam.home / "list.csv"


@row(83, "E-NOFILE", "list.csv line 2: ")
def list_with_a_wrong_path(exam: Exam) -> None:
    (exam.home / "list.csv").write_text(f"case,t1n,t1c\nx,{exam.file('t1')},nowhere.nii\n")
    exam.args[1] = exam.home / "list.csv"


@row(83, "E-MANIFEST", "its columns are")
def list_without_columns(exam: Exam) -> None:
    (exam.home / "list.csv").write_text("a,b\n1,2\n")
    exam.args[1] = exam.home / "list.csv"


@row(84)
def plain_terminal(exam: Exam) -> None:
    for name, value in {"TERM": "dumb", "NO_COLOR": "1", "LC_ALL": "C", "COLUMNS": "40"}.items():
        exam.patch.setenv(name, value)


@row(85, "E-NOCASE", "no case in")
def nothing_there(exam: Exam) -> None:
    for file in exam.folder.glob("*.nii.gz"):
        file.rename(file.with_name(file.name.replace(f"{exam.id}_", "scan-")))


@row(85, "E-NOCASE", "a DICOM file, 3 times")
def a_folder_of_dicom(exam: Exam) -> None:
    exam.args[1] = exam.home / "dicom"
    exam.args[1].mkdir()
    for number in range(3):
        (exam.home / "dicom" / f"IM{number}").write_bytes(bytes(128) + b"DICM" + bytes(99))


# The output


@row(62, "E-OUTPUT", "can't be written")
def output_is_a_file(exam: Exam) -> None:
    exam.out.write_text("mine")


@row(63, "E-EXISTS", "not a result of gliomaseg")
def output_is_taken(exam: Exam) -> None:
    (exam.out / exam.id).mkdir(parents=True)
    (exam.out / exam.id / "notes.txt").write_text("mine")


@row(64, "E-DISK", "no room left")
def full_disk(exam: Exam) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    exam.patch.setattr("gliomaseg.storage.files.os.fsync", refuse)


@row(65)
def killed(exam: Exam) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "gliomaseg", *map(str, exam.args)], stderr=subprocess.DEVNULL
    )
    while not list(exam.out.glob(".tmp-*/new/*/seg.nii.gz")) and process.poll() is None:
        time.sleep(0.002)
    process.kill()
    process.wait()


@row(66, "E-LOCKED", "is being written by process")
def claimed(exam: Exam) -> None:
    exam.out.mkdir()
    claim = files.claim(exam.out / exam.id)
    claim.__enter__()
    exam.patch.setattr(exam, "claim", claim, raising=False)  # held until the test ends


@row(67)
def no_locks(exam: Exam) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    exam.patch.setattr("fcntl.flock", refuse)


@row(68, "E-MEM", "memory ran out")
def no_memory(exam: Exam) -> None:
    def refuse(*_: object) -> None:
        raise MemoryError

    exam.patch.setattr("gliomaseg.segmenter.prepare", refuse)


def _at_prepare(exam: Exam, number: signal.Signals) -> None:
    def interrupt(*_: object) -> None:
        signal.raise_signal(number)
        time.sleep(5)

    exam.patch.setattr("gliomaseg.segmenter.prepare", interrupt)


@row(69, "", "the same command again goes on", 130)
def interrupted(exam: Exam) -> None:
    _at_prepare(exam, signal.SIGINT)


@row(69, "", "the same command again goes on", 143)
def terminated(exam: Exam) -> None:
    _at_prepare(exam, signal.SIGTERM)


@row(79)
def a_clock_of_tomorrow(exam: Exam) -> None:
    for file in exam.folder.iterdir():
        os.utime(file, (2**32, 2**32))


@row(80, "E-CHANGED", "changed while it was read")
def still_being_copied(exam: Exam) -> None:
    stat = os.fstat

    def grow(descriptor: int) -> os.stat_result:
        found = stat(descriptor)
        if os.path.samestat(found, exam.file().stat()):
            os.utime(exam.file())
        return found

    exam.patch.setattr("gliomaseg.imaging.stored_file.os.fstat", grow)


# Models and settings


@row(70, "E-MODEL", "no CUDA device")
def no_gpu(exam: Exam) -> None:
    exam.args += ["--device", "cuda"]


@row(71, "E-MODEL", "SHA-256 differs")
def damaged_model(exam: Exam) -> None:
    model = shutil.copytree(shipped_folder(), exam.home / "model")
    (model / "model.xml").write_text("<net/>")
    exam.args += ["--model", model]


@row(71, "E-MODEL", "no model bundle")
def no_model(exam: Exam) -> None:
    exam.args += ["--model", exam.home / "nowhere"]


@row(71, "E-MODEL", "of format 99")
def newer_model(exam: Exam) -> None:
    model = shutil.copytree(shipped_folder(), exam.home / "model")
    record = json.loads((model / "bundle.json").read_text())
    (model / "bundle.json").write_text(json.dumps(record | {"format": 99}))
    exam.args += ["--model", model]


@row(71, "E-MODEL", "is a file, not a folder")
def zipped_or_pickled_model(exam: Exam) -> None:
    (exam.home / "model.zip").write_bytes(b"PK\x03\x04")
    exam.args += ["--model", exam.home / "model.zip"]


@row(72, "E-SETTING", "did you mean training.batch")
def misspelled_setting(exam: Exam) -> None:
    exam.args = ["train", exam.home / "data", "-o", exam.out, "--set", "training.bacth=4"]


@row(72, "E-SETTING", "write network.filters=[32, 64, 128, 192], for example")
def a_number_for_a_list(exam: Exam) -> None:
    exam.args = ["train", exam.home / "data", "-o", exam.out, "--set", "network.filters=8"]


@row(72, "E-USAGE", "expected: one of fast, standard, best", 2)
def unknown_choice(exam: Exam) -> None:
    exam.args += ["--quality", "superb"]


@row(72, "E-PRESET", "--preset unet9d: there is no such choice", 2)
def unknown_preset(exam: Exam) -> None:
    exam.args = ["train", exam.home / "data", "-o", exam.out, "--preset", "unet9d"]


# The tests


@pytest.fixture
def exam(phantom_case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Exam:
    source = phantom_case.images[next(iter(phantom_case.images))].parent
    return Exam(source, tmp_path, monkeypatch)


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


def contents(folder: Path, *, without: Path) -> dict[str, str]:
    """Return the hash of every file but those in one folder."""
    found = [p for p in sorted(folder.rglob("*")) if p.is_file() and without not in (p, *p.parents)]
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in found}


@pytest.mark.parametrize("trial", TRIALS, ids=[f"{t.number}-{t.name}" for t in TRIALS])
def test_row(
    trial: Trial,
    exam: Exam,
    traced: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    trial.corrupt(exam)
    before = contents(exam.home, without=exam.out)
    taken = contents(exam.out, without=exam.home / "data") if exam.out.is_dir() else {}
    monkeypatch.setattr(sys, "argv", ["gliomaseg", *map(str, exam.args)])
    tracemalloc.reset_peak()
    with pytest.raises(SystemExit) as end:
        main()
    peak = tracemalloc.get_traced_memory()[1]
    out, err = capsys.readouterr()
    assert int(end.value.code or 0) == trial.exit_code, err
    shown = " ".join((out + err).replace("│", " ").split())
    assert "Traceback" not in shown
    assert trial.code in shown or trial.code in out + err, shown
    assert "".join(trial.words.split()) in "".join(shown.split()), shown
    assert contents(exam.home, without=exam.out) == before
    assert peak < LIMIT_MB * 1e6
    if exam.out.is_dir():
        kept = {p.name for p in exam.out.iterdir()}
        assert kept <= (
            {".lock-" + exam.id}
            if trial.code == "E-LOCKED"
            else {p.name for p in exam.out.iterdir() if p.name[0] != "."}
        )
        if trial.exit_code:
            assert contents(exam.out, without=exam.home / "data").items() <= taken.items() | {
                item
                for item in contents(exam.out, without=exam.home / "data").items()
                if "/.lock-" in item[0]
            }


def test_every_covered_row_has_a_trial_and_every_trial_a_row() -> None:
    rows = {row.number: row for row in ROWS}
    assert {t.number for t in TRIALS} == {n for n, row in rows.items() if row.answer != "open"}
    for trial in TRIALS:
        codes = rows[trial.number].codes.split()
        assert not trial.code or trial.code in codes or trial.code in ("W-FORCED", "E-TRUNCATED"), trial
    for row in ROWS:
        assert set(row.codes.split()) <= {*CODES, *NOTES}, row
        codes = {t.code for t in TRIALS if t.number == row.number}
        assert row.answer == "open" or not row.codes or codes & set(row.codes.split()), row
