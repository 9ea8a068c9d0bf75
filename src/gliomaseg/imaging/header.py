"""NIfTI headers: where the voxels are in the file, of what type, and how they are scaled.

Nothing is trusted: sizes, types and offsets are validated before a voxel is read; ``affine`` validates the
geometry.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np

from gliomaseg.errors import ImageError, Note
from gliomaseg.imaging.affine import bad_header, read_place
from gliomaseg.imaging.formats import format_of, pointer_of
from gliomaseg.imaging.volume import MAX_VOXELS, Grid

#: The first bytes of a NIfTI file by the length of its header, which they are, in both byte orders.
_STARTS = {
    348: (b"\x5c\x01\0\0", b"\0\0\x01\x5c"),
    540: (b"\x1c\x02\0\0", b"\0\0\x02\x1c"),
}
_SCALARS = frozenset(np.dtype(kind) for kind in np.typecodes["AllInteger"] + "fd")


class Header(NamedTuple):
    """The grid of an image, and how its voxels are stored: type, offset in bytes, scaling.

    ``length`` is that of the header itself, ``size`` the least of a complete file, in bytes.
    """

    grid: Grid
    dtype: np.dtype[np.generic]
    offset: int
    slope: float
    intercept: float
    volumes: int = 1
    length: int = 348
    size: int = 0


def header_length(start: bytes) -> int:
    """Return the length of a header with these first bytes: 540 for NIfTI-2, else 348."""
    return 540 if start[:4] in _STARTS[540] else 348


def parse_header(path: Path, block: bytes, notes: list[Note]) -> Header:
    """Return the validated content of a header; raises ImageError naming ``path``.

    Oddities with only one reading are added to ``notes``.
    """
    header = _nifti_header(path, block)
    dims = [int(n) for n in header["dim"]]
    shape, volumes = _shape(path, dims)
    if dims[0] > 3 and volumes == 1:
        notes.append(Note("W-NDIM", f"{path} has {dims[0]} dimensions", "its only volume was used"))
    dtype = _dtype(path, header)
    offset = float(header["vox_offset"])
    least = int(header.single_vox_offset)
    if not math.isfinite(offset) or not least <= offset <= 1 << 24:
        raise bad_header(path, f"vox_offset is {offset:g}", f"at least {least}")
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if math.isinf(slope):
        what = f"{path} has the scl_slope {slope:g}"
        notes.append(Note("W-SCALE", what, "the stored values were used unscaled"))
    if not math.isfinite(slope) or slope == 0:  # in the standard it means "not scaled"
        slope, intercept = 1.0, 0.0
    grid = read_place(path, header, shape, notes)
    size = int(offset) + volumes * math.prod(shape) * dtype.itemsize
    return Header(grid, dtype, int(offset), slope, intercept or 0.0, volumes, len(block), size)


def _nifti_header(path: Path, block: bytes) -> nib.Nifti1Header:
    if len(block) >= 348 and block[344:347] == b"n+1":
        kind: type[nib.Nifti1Header] = nib.Nifti1Header
    elif len(block) >= 540 and block[4:7] == b"n+2":
        kind = nib.Nifti2Header
    else:
        raise _no_nifti(path, block)
    return kind(block[:348] if kind is nib.Nifti1Header else block, check=False)


def _no_nifti(path: Path, block: bytes) -> ImageError:
    if found := pointer_of(block):
        kind, remedy = found
        return ImageError(
            "E-POINTER", f"{path} is {kind}, not an image", expected="a NIfTI image", remedy=remedy
        )
    if found := format_of(block):
        kind, remedy = found
        return ImageError(
            "E-FORMAT", f"{path} is {kind}", expected="NIfTI in one file (.nii or .nii.gz)", remedy=remedy
        )
    starts = (*_STARTS[348], *_STARTS[540])
    if len(block) < header_length(block) and any(start.startswith(block[:4]) for start in starts):
        return truncated(path, len(block), header_length(block))
    return ImageError(
        "E-FORMAT",
        f"{path} is not a NIfTI image",
        expected="NIfTI-1 or NIfTI-2 in one file (.nii or .nii.gz)",
        remedy="convert it, for example with dcm2niix or SimpleITK",
    )


def _shape(path: Path, dims: list[int]) -> tuple[tuple[int, int, int], int]:
    """Return the shape of one volume, and the number of volumes."""
    count = dims[0]
    if not 1 <= count <= 7 or any(n < 1 for n in dims[1 : count + 1]):
        raise bad_header(path, f"dim is {dims}", "1 to 7 dimensions of at least one voxel")
    sizes = dims[1 : count + 1]
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    require_size(path, sizes, most=4)
    return (sizes[0], sizes[1], sizes[2]), (*sizes, 1)[3]


def require_size(path: Path, sizes: Sequence[int], most: int = 3) -> None:
    """Raise ImageError for less than 3 or over ``most`` dimensions (E-NDIM) or too many voxels (E-TOOBIG)."""
    if not 3 <= len(sizes) <= most or min(sizes) < 2:
        raise no_volume(path, sizes)
    if math.prod(sizes) > MAX_VOXELS:
        raise ImageError(
            "E-TOOBIG",
            f"{path} has {' x '.join(map(str, sizes))} voxels by its header",
            expected=f"at most {MAX_VOXELS:,} voxels",
            remedy="crop it, or resample it to about 1 mm; if the header is damaged, copy the file again",
        )


def no_volume(path: Path, sizes: Sequence[int], channel: int | None = None) -> ImageError:
    """Return the E-NDIM error of a file that is not one image, or has no volume ``channel``."""
    return ImageError(
        "E-NDIM",
        f"{path} has the shape {' x '.join(map(str, sizes))}",
        expected="three dimensions with at least two voxels each"
        if channel is None
        else f"a fourth dimension of at least {channel + 1}, as dataset.json or the CSV list requires",
        remedy="give one file per sequence; if this file holds several sequences, name them in a "
        "dataset.json (as in the MSD) or a CSV list (FILE#0, FILE#1); a time series can't be read",
    )


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
            expected="integers or real numbers, one per voxel",
            remedy="export the MRI itself: a colour picture or a complex image can't be segmented",
        )
    return dtype


def truncated(path: Path, got: int, wanted: int) -> ImageError:
    """Return the E-TRUNCATED error of a file that ends after ``got`` of ``wanted`` bytes (decompressed)."""
    return ImageError(
        "E-TRUNCATED",
        f"{path} ends too early: {got:,} of {wanted:,} bytes"
        + ", and its checksum is missing" * (got >= wanted),
        expected="a complete file",
        remedy="copy it again from its source"
        + f", and test the copy with: gzip -t {path.name}" * (path.suffix.lower() in (".gz", ".mgz")),
    )
