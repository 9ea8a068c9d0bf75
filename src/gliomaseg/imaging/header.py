"""NIfTI headers: where voxels lie in a file and in space, or in words why not. Door: nibabel.

Nothing is believed: sizes, types, codes and affines are proven before a voxel is read.
Ignorant of compression and of voxels.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
import numpy.typing as npt

from gliomaseg.errors import ImageError
from gliomaseg.imaging.volume import Affine, Grid

#: Largest image that is read, in voxels: 512 x 512 x 512; a BraTS image has 8.9 million.
MAX_VOXELS = 512**3

#: Farthest place of a voxel from the origin of space; float32 still tells 0.1 mm there.
_FARTHEST_MM = 1e6

#: How a file begins that stands for another.
_POINTERS = {
    rb"version https://git-lfs": ("a Git LFS pointer", "run: git lfs pull"),
    rb"[./]*(git)?/annex/objects": ("a git-annex pointer", "run: git annex get"),
    rb"(md5: \w+\s+)?outs:": ("a DVC pointer", "run: dvc pull"),
    rb"<(!doctype|html)": ("a web page", "download the file itself again"),
    rb"<\?xml": ("an XML message", "download the file itself again"),
    rb"[{\[]": ("a JSON message", "download the file itself again"),
}
#: How a NIfTI file begins, in both byte orders: with the length of its header.
_STARTS = {
    348: (b"\x5c\x01\0\0", b"\0\0\x01\x5c"),
    540: (b"\x1c\x02\0\0", b"\0\0\x02\x1c"),
}
#: The fields that say where an image lies; pixdim too, but only its first four numbers.
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


def header_length(start: bytes) -> int:
    """Return the length of a header that begins so: 540 bytes for NIfTI-2, else 348."""
    return 540 if start[:4] in _STARTS[540] else 348


def parse_header(path: Path, block: bytes) -> Layout:
    """Return what a header says, proven to make sense; raises ImageError naming ``path``."""
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
    starts = (*_STARTS[348], *_STARTS[540])
    if len(block) < header_length(block) and any(start.startswith(block[:4]) for start in starts):
        return truncated(path, len(block), header_length(block))
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
    codes = int(header["qform_code"]), int(header["sform_code"])
    if not all(0 <= code <= 5 for code in codes):  # readers disagree on what others mean
        raise _bad_header(path, f"qform_code and sform_code are {codes}", "codes from 0 to 5")
    if not header["sform_code"]:
        _check_spacing(path, header["pixdim"][1:4])
    with np.errstate(all="ignore"):
        fields = {name: _field(header[name]) for name in _GEOMETRY}
        fields["pixdim"] = _field(header["pixdim"][:4])
        affine = _affine(path, header)
        spacing = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    _check_spacing(path, spacing)
    if abs(np.linalg.det(affine[:3, :3] / spacing)) < 0.5:
        raise _bad_affine(path, "its axes are not independent (singular or strongly sheared)")
    return Grid(shape, affine, fields)


def _field(value: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """Return a header field as NIfTI-1 holds it."""
    return np.array(value, dtype=np.float32 if value.dtype.kind == "f" else value.dtype)


def _affine(path: Path, header: nib.Nifti1Header) -> Affine:
    if abs(header["pixdim"][0]) != 1:  # as the standard's own reader does: 0 and any other number are a sign
        header["pixdim"][0] = -1 if header["pixdim"][0] < 0 else 1
    try:
        affine = np.asarray(header.get_best_affine(), dtype=np.float64)
    except (nib.spatialimages.HeaderDataError, ValueError) as error:
        raise _bad_affine(path, "its orientation fields contradict each other") from error
    if not np.all(np.abs(affine) < _FARTHEST_MM):
        raise _bad_affine(path, "its orientation fields are not numbers, or place it a kilometre away")
    return affine


def _check_spacing(path: Path, spacing: npt.NDArray[np.floating[Any]]) -> None:
    if not np.all((spacing >= 0.1) & (spacing <= 20)):
        raise ImageError(
            "E-SPACING",
            f"{path} has a voxel size of {' x '.join(f'{s:g}' for s in spacing)} mm",
            expected="0.1 to 20 mm along each axis",
            remedy="repair the header: pixdim, sform or qform is wrong",
        )


def make_header(array: npt.NDArray[np.generic], grid: Grid) -> bytes:
    """Return a NIfTI-1 header for ``array`` (x, y, z) with the geometry of ``grid``, and no other text."""
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
    return bytes(header.binaryblock) + b"\0\0\0\0"


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


def truncated(path: Path, got: int, wanted: int) -> ImageError:
    """Return the E-TRUNCATED error of a file that ends after ``got`` bytes, as counted when inflated."""
    return ImageError(
        "E-TRUNCATED",
        f"{path} ends too early: {got:,} of {wanted:,} bytes and its checksum"
        if got >= wanted
        else f"{path} ends too early: {got:,} of {wanted:,} bytes",
        expected="a whole file",
        remedy="copy it again from its source, and test it with: gzip -t",
    )
