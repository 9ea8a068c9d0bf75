"""NIfTI files: read whole and proven, written whole or not at all. Door: nibabel, isal.

The usual readers open a file cut in half, or one with a flipped byte, without a word. Here the whole
gzip stream is inflated, its checksum compared, and its size bounded by what the header announces.
Ignorant of cases and of what the voxels mean.
"""

from __future__ import annotations

import difflib
import io
import math
import re
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
import numpy.typing as npt
from isal import isal_zlib

from gliomaseg import files
from gliomaseg.errors import ImageError
from gliomaseg.imaging.volume import Affine, Grid, Segmentation
from gliomaseg.labels import LabelScheme

#: Largest image that is read, in voxels: 512 x 512 x 512; a BraTS image has 8.9 million.
MAX_VOXELS = 512**3

#: Intensities beyond this can't be held as float32.
_LARGEST = float(np.finfo(np.float32).max)

#: What may follow the data without being called a bomb, in bytes.
_SLACK = 1 << 16
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP = 31  # window bits 15, plus 16 for gzip framing (zlib manual, inflateInit2)
#: How a file begins that stands for another.
_POINTERS = {
    rb"version https://git-lfs": ("a Git LFS pointer", "run: git lfs pull"),
    rb"[./]*(git)?/annex/objects": ("a git-annex pointer", "run: git annex get"),
    rb"(md5: \w+\s+)?outs:": ("a DVC pointer", "run: dvc pull"),
    rb"<(!doctype|html)": ("a web page", "download the file itself again"),
    rb"<\?xml": ("an XML message", "download the file itself again"),
    rb"[{\[]": ("a JSON message", "download the file itself again"),
}
#: The header's length, 348 or 540, as the first bytes of every NIfTI file.
_SIZES = (b"\x5c\x01\0\0", b"\0\0\x01\x5c", b"\x1c\x02\0\0", b"\0\0\x02\x1c")
_GEOMETRY = (
    "xyzt_units",
    "qform_code",
    "sform_code",
    "quatern_b",
    "quatern_c",
    "quatern_d",
    "qoffset_x",
    "qoffset_y",
    "qoffset_z",
    "srow_x",
    "srow_y",
    "srow_z",
)
_SCALARS = frozenset(np.dtype(kind) for kind in np.typecodes["AllInteger"] + "fd")


class Layout(NamedTuple):
    """Where the voxels lie in a file and how they become intensities."""

    grid: Grid
    dtype: np.dtype[np.generic]
    offset: int
    slope: float
    intercept: float

    @property
    def size(self) -> int:
        """Return the number of bytes that a whole file has at least."""
        return self.offset + math.prod(self.grid.shape) * self.dtype.itemsize


def read_grid(path: Path) -> Grid:
    """Return the grid of a NIfTI file from its header alone; raises ImageError."""
    return _Source(path, first=1 << 16).layout.grid


def read_image(path: Path) -> tuple[npt.NDArray[np.generic], Grid]:
    """Return the voxels (x, y, z) and the grid of a .nii or .nii.gz file.

    Voxels keep their type on disk unless the header scales them (then float32). Four-dimensional
    files with one volume are taken as three-dimensional. Raises ImageError, see ``errors.CODES``.
    """
    source = _Source(path)
    layout = source.layout
    body = source.read_data()
    array = np.frombuffer(body, layout.dtype, math.prod(layout.grid.shape), layout.offset - source.start)
    array = array.reshape(layout.grid.shape, order="F")
    if not layout.dtype.isnative:
        array = array.astype(layout.dtype.newbyteorder("="))
    if (layout.slope, layout.intercept) != (1.0, 0.0):
        with np.errstate(over="ignore", invalid="ignore"):  # _check_values tells it in words
            array = (array * np.float64(layout.slope) + layout.intercept).astype(np.float32)
    _check_values(path, array)
    return array, layout.grid


def read_labels(path: Path, scheme: LabelScheme) -> Segmentation:
    """Return a label map whose values are proven to be of ``scheme``.

    Raises ImageError for the file, LabelError (E-LABEL, E-LABELS) for its values.
    """
    array, grid = read_image(path)
    return Segmentation(scheme.check(array, str(path)), grid, scheme)


def write_image(path: Path, array: npt.NDArray[np.generic], grid: Grid) -> None:
    """Write ``array`` (x, y, z) on ``grid`` as NIfTI-1, compressed when the name ends in .gz.

    The geometry fields are those of the file that the grid came from; no other header text is
    written. The same input gives the same bytes. Raises OutputError.
    """
    header = _header(array, grid)
    content = b"".join((header.binaryblock, b"\0\0\0\0", array.tobytes(order="F")))
    if path.suffix == ".gz":
        packer = isal_zlib.compressobj(level=1, wbits=_GZIP)
        content = packer.compress(content) + packer.flush()
    files.write_bytes(path, content)


def write_segmentation(path: Path, segmentation: Segmentation) -> None:
    """Write a label map as uint8 on the grid of its case; raises OutputError."""
    write_image(path, segmentation.labels.astype(np.uint8, copy=False), segmentation.grid)


def _header(array: npt.NDArray[np.generic], grid: Grid) -> nib.Nifti1Header:
    header = nib.Nifti1Header()
    header.set_data_dtype(array.dtype)
    header.set_data_shape(array.shape)
    if grid.header:
        header["pixdim"][:4] = grid.header["pixdim"]
        for name in _GEOMETRY:
            header[name] = grid.header[name]
    else:
        header.set_qform(grid.affine, code=1)
        header.set_sform(grid.affine, code=1)
        header.set_xyzt_units("mm")
    header["scl_slope"], header["scl_inter"] = 1.0, 0.0
    header["magic"], header["vox_offset"] = b"n+1", 352
    return header


class _Source:
    """One file, opened: its header parsed, its data still to be inflated."""

    def __init__(self, path: Path, *, first: int = -1) -> None:
        self._path = path
        raw = _read_raw(path, first)
        self._stream = _Gzip(path, raw) if raw[:2] == _GZIP_MAGIC else io.BytesIO(raw)
        block = self._stream.read(348)
        if block[:4] in _SIZES[2:]:  # NIfTI-2
            block += self._stream.read(192)
        self.start = len(block)
        self.layout = _parse(path, block)

    def read_data(self) -> bytes:
        """Return everything behind the header, proven to be whole."""
        expected = self.layout.size - self.start
        data = self._stream.read(expected + _SLACK)
        if isinstance(self._stream, _Gzip) and len(data) == expected + _SLACK:
            raise _bomb(self._path, self.layout.size)
        is_cut = isinstance(self._stream, _Gzip) and not self._stream.ended
        if len(data) < expected or is_cut:
            raise _truncated(self._path, len(data) + self.start, self.layout.size)
        return data


class _Gzip:
    """A gzip stream of one member or several, inflated as far as asked, each member's checksum compared."""

    def __init__(self, path: Path, raw: bytes) -> None:
        self._path = path
        self._rest = raw
        self._inflater = isal_zlib.decompressobj(wbits=_GZIP)

    @property
    def ended(self) -> bool:
        """Return whether the last member's checksum was reached."""
        return self._inflater.eof

    def read(self, count: int) -> bytes:
        """Return the next ``count`` bytes, fewer at the end."""
        blocks: list[bytes] = []
        while count > 0:
            try:
                blocks.append(self._inflater.decompress(self._rest, count))
            except isal_zlib.error as error:  # type: ignore[misc]  # isal's stub calls it an instance
                raise _corrupt(self._path, str(error)) from error
            count -= len(blocks[-1])
            self._rest = self._inflater.unconsumed_tail
            if not self.ended or self._inflater.unused_data[:2] != _GZIP_MAGIC:
                break
            self._rest = self._inflater.unused_data
            self._inflater = isal_zlib.decompressobj(wbits=_GZIP)
        return b"".join(blocks)


def _read_raw(path: Path, first: int) -> bytes:
    try:
        if path.is_dir():
            raise ImageError(
                "E-NOFILE",
                f"{path} is a folder, not a file",
                expected="a .nii or .nii.gz file",
                remedy="name the file inside it",
            )
        with path.open("rb") as stream:
            raw = stream.read(first)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise missing_file(path) from error
    except OSError as error:
        raise ImageError(
            "E-PERM",
            f"{path} can't be read: {error.strerror}",
            expected="a readable file",
            remedy="check its permissions and the disk",
        ) from error
    if not raw:
        raise ImageError(
            "E-EMPTY",
            f"{path} has 0 bytes",
            expected="a NIfTI image",
            remedy="copy it again: an interrupted copy leaves such files",
        )
    return raw


def missing_file(path: Path) -> ImageError:
    """Return the E-NOFILE error for ``path``, naming what lies nearest to it."""
    try:
        near = [p.name for p in path.parent.iterdir() if p.name != path.name]  # itself: a broken link
    except OSError:
        near = []
    close = difflib.get_close_matches(path.name, near, n=3)
    return ImageError(
        "E-NOFILE",
        f"{path} does not exist",
        expected="an existing file",
        remedy=f"did you mean {', '.join(close)}?" if close else "check the spelling of the path",
    )


def _parse(path: Path, block: bytes) -> Layout:
    header = _nifti_header(path, block)
    dims = [int(n) for n in header["dim"]]
    shape = _shape(path, dims)
    dtype = _dtype(path, header)
    offset = float(header["vox_offset"])
    least = int(header.single_vox_offset)
    if not math.isfinite(offset) or not least <= offset <= 1 << 24:
        raise _bad_header(path, f"vox_offset is {offset:g}", f"a number from {least} on")
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if not math.isfinite(slope) or slope == 0:  # the standard: such a slope means "not scaled"
        slope, intercept = 1.0, 0.0
    return Layout(_grid(path, header, shape), dtype, int(offset), slope, intercept or 0.0)


def _nifti_header(path: Path, block: bytes) -> nib.Nifti1Header:
    if len(block) >= 348 and block[344:347] == b"n+1":
        kind: type[nib.Nifti1Header] = nib.Nifti1Header
    elif len(block) >= 540 and block[4:7] == b"n+2":
        kind = nib.Nifti2Header
    else:
        raise _no_nifti(path, block)
    return kind(block[:348] if kind is nib.Nifti1Header else block, check=False)


def _no_nifti(path: Path, block: bytes) -> ImageError:
    for mark, (kind, remedy) in _POINTERS.items():
        if re.match(mark, block.lstrip(), re.IGNORECASE):
            return ImageError(
                "E-POINTER", f"{path} is {kind}, not an image", expected="a NIfTI image", remedy=remedy
            )
    if len(block) < 540 and any(start.startswith(block[:4]) for start in (*_SIZES, _GZIP_MAGIC)):
        return _truncated(path, len(block), 352)
    return ImageError(
        "E-FORMAT",
        f"{path} is not a NIfTI image",
        expected="NIfTI-1 or NIfTI-2 in one file (.nii or .nii.gz)",
        remedy="convert it, for example with dcm2niix (DICOM) or SimpleITK (NRRD, MetaImage)",
    )


def _shape(path: Path, dims: list[int]) -> tuple[int, int, int]:
    count = dims[0]
    if not 1 <= count <= 7 or any(n < 1 for n in dims[1 : count + 1]):
        raise _bad_header(path, f"dim is {dims}", "1 to 7 dimensions of at least one voxel")
    sizes = dims[1 : count + 1]
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    if len(sizes) != 3 or min(sizes) < 2:
        raise ImageError(
            "E-NDIM",
            f"{path} has the shape {' x '.join(map(str, sizes))}",
            expected="three dimensions with at least two voxels each",
            remedy="give one file per sequence: a 4D file is a time series or several sequences",
        )
    if math.prod(sizes) > MAX_VOXELS:
        raise ImageError(
            "E-TOOBIG",
            f"{path} announces {' x '.join(map(str, sizes))} voxels",
            expected=f"at most {MAX_VOXELS:,} voxels",
            remedy="crop or resample it to about 1 mm; or the header is damaged: copy the file again",
        )
    return sizes[0], sizes[1], sizes[2]


def _dtype(path: Path, header: nib.Nifti1Header) -> np.dtype[np.generic]:
    code = int(header["datatype"])
    try:
        dtype: np.dtype[np.generic] = np.dtype(header.get_data_dtype())
    except (nib.spatialimages.HeaderDataError, KeyError):
        dtype = np.dtype(object)
    if dtype.newbyteorder("=") not in _SCALARS or int(header["bitpix"]) != 8 * dtype.itemsize:
        raise ImageError(
            "E-DTYPE",
            f"{path} has voxels of NIfTI type {code} with {int(header['bitpix'])} bits",
            expected="whole or real numbers, one per voxel",
            remedy="a colour picture or a complex image can't be segmented: export the MRI itself",
        )
    return dtype


def _grid(path: Path, header: nib.Nifti1Header, shape: tuple[int, int, int]) -> Grid:
    fields = {name: np.array(header[name]) for name in _GEOMETRY}
    fields["pixdim"] = np.array(header["pixdim"][:4], dtype=np.float32)
    if not header["sform_code"]:
        _check_spacing(path, header["pixdim"][1:4])
    with np.errstate(all="ignore"):
        affine = _affine(path, header)
        spacing = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    _check_spacing(path, spacing)
    if abs(np.linalg.det(affine[:3, :3] / spacing)) < 0.5:
        raise _bad_affine(path, "its axes are not independent (singular or strongly sheared)")
    return Grid(shape, affine, fields)


def _affine(path: Path, header: nib.Nifti1Header) -> Affine:
    if abs(header["pixdim"][0]) != 1:  # as the standard's own reader does: 0 and any other number are a sign
        header["pixdim"][0] = -1 if header["pixdim"][0] < 0 else 1
    try:
        affine = np.asarray(header.get_best_affine(), dtype=np.float64)
    except (nib.spatialimages.HeaderDataError, ValueError) as error:
        raise _bad_affine(path, "its orientation fields contradict each other") from error
    if not np.all(np.isfinite(affine)):
        raise _bad_affine(path, "its orientation fields are not numbers")
    return affine


def _check_spacing(path: Path, spacing: npt.NDArray[np.floating[Any]]) -> None:
    if not np.all((spacing >= 0.1) & (spacing <= 20)):
        raise ImageError(
            "E-SPACING",
            f"{path} has a voxel size of {' x '.join(f'{s:g}' for s in spacing)} mm",
            expected="0.1 to 20 mm along each axis",
            remedy="repair the header: pixdim, sform or qform is wrong",
        )


def _check_values(path: Path, array: npt.NDArray[np.generic]) -> None:
    if array.dtype.kind != "f" or -_LARGEST <= array.min() <= array.max() <= _LARGEST:
        return
    count = int(np.count_nonzero(~(np.abs(array) <= _LARGEST)))
    raise ImageError(
        "E-VALUES",
        f"{path} has {count} voxels that are NaN, infinite or beyond {_LARGEST:.1g}",
        expected="an ordinary number in every voxel",
        remedy="replace them by 0 and save the image again",
    )


def _bad_header(path: Path, what: str, expected: str) -> ImageError:
    return ImageError(
        "E-HEADER", f"{path}: {what}", expected=expected, remedy="copy or export the file again"
    )


def _bad_affine(path: Path, what: str) -> ImageError:
    return ImageError(
        "E-AFFINE",
        f"{path}: {what}",
        expected="an sform or qform that places the image in space",
        remedy="export it again from the scanner's DICOM, or copy the geometry of a sound sequence",
    )


def _corrupt(path: Path, reason: str) -> ImageError:
    return ImageError(
        "E-CORRUPT",
        f"{path} is damaged: {reason}",
        expected="a gzip stream that passes its checksum",
        remedy="copy it again from its source, and test it with: gzip -t",
    )


def _truncated(path: Path, got: int, wanted: int) -> ImageError:
    return ImageError(
        "E-TRUNCATED",
        f"{path} ends too early: {got:,} of {wanted:,} bytes and its checksum"
        if got >= wanted
        else f"{path} ends too early: {got:,} of {wanted:,} bytes",
        expected="a whole file",
        remedy="copy it again from its source, and test it with: gzip -t",
    )


def _bomb(path: Path, size: int) -> ImageError:
    return ImageError(
        "E-BOMB",
        f"{path} inflates to far more than the {size:,} bytes that its header announces",
        expected="as many bytes as the header says",
        remedy="don't trust this file: get it again from its source",
    )
