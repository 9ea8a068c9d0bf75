"""NIfTI headers: where voxels lie in a file and what they are, or in words why not. Door: nibabel.

Nothing is believed: sizes, types and offsets are proven before a voxel is read; ``place`` does the same for
space. Ignorant of compression and of voxels.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np

from gliomaseg.errors import ImageError, Note
from gliomaseg.imaging.affine import bad_header, read_place
from gliomaseg.imaging.volume import Grid

#: Largest image that is read, in voxels: 512 x 512 x 512; a BraTS image has 8.9 million.
MAX_VOXELS = 512**3

#: How a file begins that stands for another.
_POINTERS = {
    rb"version https://git-lfs": ("a Git LFS pointer", "run: git lfs pull"),
    rb"[./]*(git)?/annex/objects": ("a git-annex pointer", "run: git annex get"),
    rb"(md5: \w+\s+)?outs:": ("a DVC pointer", "run: dvc pull"),
    rb"<(!doctype|html)": ("a web page", "download the file itself again"),
    rb"<\?xml": ("an XML message", "download the file itself again"),
    rb"[{\[]": ("a JSON message", "download the file itself again"),
}
#: How other formats begin.
_FORMATS = {
    rb".{344}ni[12]": (
        "the header of a NIfTI pair",
        "join .hdr and .img: nibabel reads and saves them as .nii",
    ),
    rb"(\x5c\x01\0\0|\0\0\x01\x5c).{344}": (
        "an Analyze 7.5 header, which does not say left from right",
        "export it as NIfTI from where its orientation is known",
    ),
    rb".{128}DICM": ("a DICOM file", "convert the series with dcm2niix"),
    rb"NRRD": ("an NRRD file", "give it the ending .nrrd; reading it takes SimpleITK"),
    rb"ObjectType|NDims": (
        "a MetaImage file",
        "give it the ending .mha; reading it takes SimpleITK",
    ),
    rb"\0\0\0\x01\0\0[\0\x01].\0": ("an MGH file", "give it the ending .mgh, or .mgz if it is compressed"),
    rb"\x08\0[\0-\x20]\0": ("a DICOM file without preamble", "convert the series with dcm2niix"),
    rb"PK\x03\x04": ("a zip archive", "unpack it"),
    rb"7z\xbc\xaf\x27|Rar!": ("an archive", "unpack it"),
    rb"\x89PNG|\xff\xd8\xff|GIF8|BM....\0\0\0\0": (
        "a picture",
        "export the MRI itself",
    ),
    rb"CDF[\x01\x02]|\x89HDF": ("a MINC or HDF5 file", "convert it to NIfTI, as mnc2nii does"),
    rb"\x1f\x8b": ("compressed twice: gzip within gzip", "decompress it once: gunzip -c FILE > COPY.nii.gz"),
    rb"BZh": ("compressed with bzip2", "decompress it: bunzip2 -c FILE > COPY.nii"),
    rb"\x28\xb5\x2f\xfd": ("compressed with zstd", "decompress it: unzstd -c FILE > COPY.nii"),
    rb".{257}ustar": ("a tar archive", "unpack it: tar -xf FILE"),
}
#: How a NIfTI file begins, in both byte orders: with the length of its header.
_STARTS = {
    348: (b"\x5c\x01\0\0", b"\0\0\x01\x5c"),
    540: (b"\x1c\x02\0\0", b"\0\0\x02\x1c"),
}
_SCALARS = frozenset(np.dtype(kind) for kind in np.typecodes["AllInteger"] + "fd")


class Layout(NamedTuple):
    """Where the voxels lie in a file and how they become intensities."""

    grid: Grid
    dtype: np.dtype[np.generic]
    offset: int
    slope: float
    intercept: float
    volumes: int = 1

    @property
    def size(self) -> int:
        """Return the number of bytes that a whole file has at least."""
        return self.offset + self.volumes * math.prod(self.grid.shape) * self.dtype.itemsize


def header_length(start: bytes) -> int:
    """Return the length of a header that begins so: 540 bytes for NIfTI-2, else 348."""
    return 540 if start[:4] in _STARTS[540] else 348


def parse_header(path: Path, block: bytes, notes: list[Note]) -> Layout:
    """Return what a header says, proven to make sense; raises ImageError naming ``path``.

    What is odd but has one reading is added to ``notes``.
    """
    header = _nifti_header(path, block)
    dims = [int(n) for n in header["dim"]]
    shape, volumes = _shape(path, dims)
    if dims[0] > 3 and volumes == 1:
        notes.append(Note("W-NDIM", f"{path} has {dims[0]} dimensions", "its only volume was taken"))
    dtype = _dtype(path, header)
    offset = float(header["vox_offset"])
    least = int(header.single_vox_offset)
    if not math.isfinite(offset) or not least <= offset <= 1 << 24:
        raise bad_header(path, f"vox_offset is {offset:g}", f"a number from {least} on")
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if math.isinf(slope):
        notes.append(
            Note("W-SCALE", f"{path} has the scl_slope {slope:g}", "its values were taken as they are stored")
        )
    if not math.isfinite(slope) or slope == 0:  # the standard: such a slope means "not scaled"
        slope, intercept = 1.0, 0.0
    grid = read_place(path, header, shape, notes)
    return Layout(grid, dtype, int(offset), slope, intercept or 0.0, volumes)


def _nifti_header(path: Path, block: bytes) -> nib.Nifti1Header:
    if len(block) >= 348 and block[344:347] == b"n+1":
        kind: type[nib.Nifti1Header] = nib.Nifti1Header
    elif len(block) >= 540 and block[4:7] == b"n+2":
        kind = nib.Nifti2Header
    else:
        raise _no_nifti(path, block)
    return kind(block[:348] if kind is nib.Nifti1Header else block, check=False)


def format_of(block: bytes) -> tuple[str, str] | None:
    """Return which other format a file is that begins so, and what to do with it; None for none known."""
    return next((said for mark, said in _FORMATS.items() if re.match(mark, block, re.DOTALL)), None)


def kind_of(path: Path) -> tuple[str, str] | None:
    """Return what ``format_of`` says about a file on disk; None, too, for one that can't be read."""
    try:
        with path.open("rb") as stream:
            return format_of(stream.read(540))
    except OSError:
        return None


def _no_nifti(path: Path, block: bytes) -> ImageError:
    for mark, (kind, remedy) in _POINTERS.items():
        if re.match(mark, block.lstrip(), re.IGNORECASE):
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
    """Return the shape of one volume, and how many there are."""
    count = dims[0]
    if not 1 <= count <= 7 or any(n < 1 for n in dims[1 : count + 1]):
        raise bad_header(path, f"dim is {dims}", "1 to 7 dimensions of at least one voxel")
    sizes = dims[1 : count + 1]
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    if not 3 <= len(sizes) <= 4 or min(sizes) < 2:
        raise no_volume(path, sizes)
    if math.prod(sizes) > MAX_VOXELS:
        raise too_big(path, sizes)
    return (sizes[0], sizes[1], sizes[2]), (*sizes, 1)[3]


def too_big(path: Path, sizes: Sequence[int]) -> ImageError:
    """Return the E-TOOBIG error of a file that announces too many voxels."""
    return ImageError(
        "E-TOOBIG",
        f"{path} announces {' x '.join(map(str, sizes))} voxels",
        expected=f"at most {MAX_VOXELS:,} voxels",
        remedy="crop or resample it to about 1 mm; or the header is damaged: copy the file again",
    )


def no_volume(path: Path, sizes: Sequence[int], channel: int | None = None) -> ImageError:
    """Return the E-NDIM error of a file that is not one image, or does not hold the wanted ``channel``."""
    return ImageError(
        "E-NDIM",
        f"{path} has the shape {' x '.join(map(str, sizes))}",
        expected="three dimensions with at least two voxels each"
        if channel is None
        else f"a fourth dimension of at least {channel + 1}, as the data set or list says",
        remedy="give one file per sequence: a 4D file is a time series, which is not read, or several "
        "sequences, which a dataset.json (as in the MSD) or a CSV list (FILE#0, FILE#1) must tell apart",
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
            expected="whole or real numbers, one per voxel",
            remedy="a colour picture or a complex image can't be segmented: export the MRI itself",
        )
    return dtype


def truncated(path: Path, got: int, wanted: int) -> ImageError:
    """Return the E-TRUNCATED error of a file that ends after ``got`` bytes, as counted when inflated."""
    return ImageError(
        "E-TRUNCATED",
        f"{path} ends too early: {got:,} of {wanted:,} bytes and its checksum"
        if got >= wanted
        else f"{path} ends too early: {got:,} of {wanted:,} bytes",
        expected="a whole file",
        remedy="copy it again from its source"
        + f", and test the copy with: gzip -t {path.name}" * (path.suffix.lower() in (".gz", ".mgz")),
    )
