"""Convert other formats to NIfTI in memory, so that one reader validates and reads them all.

nibabel reads MGH and MGZ (FreeSurfer); SimpleITK, an extra, reads NRRD and MetaImage. Both ignore some
damage, which is detected here.
"""

from __future__ import annotations

import io
import math
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from gliomaseg.errors import ImageError
from gliomaseg.imaging.header import require_size, truncated
from gliomaseg.imaging.stored_file import StoredFile, open_file

_MGH = (".mgh", ".mgz")
_ITK = (".nrrd", ".mha")
#: The length of an MGH header (FreeSurfer's wiki, MghFormat).
_MGH_HEADER = 284
#: The most bytes after the voxels: scan parameters and the history of commands.
_MGH_END = 1 << 20
#: How many bytes are searched for an orientation.
_START = 1 << 12


def is_foreign(path: Path) -> bool:
    """Return whether a file's ending is that of a format other than NIfTI."""
    return path.suffix.lower() in (*_MGH, *_ITK)


class Converted(io.BytesIO):
    """A file of another format, read as if it were NIfTI; ``sha256`` is the hash of the original bytes."""

    is_compressed, is_whole = False, True

    def __init__(self, path: Path) -> None:
        """Open and convert a file; raises ImageError."""
        with closing(open_file(path)) as file:
            image = _read_mgh(path, file) if path.suffix.lower() in _MGH else _read_itk(path)
            file.finish()
        content = image.to_bytes()
        self.sha256, self.size = file.sha256, len(content)
        super().__init__(content)

    def ends_after(self, size: int) -> bool:
        """Return whether no voxel is missing."""
        return self.size >= size

    def finish(self) -> bool:
        """Return False, because nothing follows the data."""
        return False

    def compare(self) -> None:
        """Do nothing: the file was compared when it was closed."""


def _read_mgh(path: Path, file: StoredFile) -> nib.Nifti1Image:
    start = bytes(file.read(_MGH_HEADER))
    try:
        header = nib.freesurfer.mghformat.MGHHeader(start)
        shape, dtype = tuple(map(int, header.get_data_shape())), header.get_data_dtype()
        affine = header.get_affine()
    except Exception as error:
        raise _damaged(path, "an MGH image", str(error)) from error
    require_size(path, shape)
    size = math.prod(shape) * dtype.itemsize
    body = file.read(size)
    if file.is_compressed:
        file.read(_MGH_END)
    if len(body) < size or not file.is_whole:
        raise truncated(path, len(body) + _MGH_HEADER, size + _MGH_HEADER)
    array = np.frombuffer(body, dtype).reshape(shape, order="F")
    return nib.Nifti1Image(array.astype(dtype.newbyteorder("=")), affine)


def _read_itk(path: Path) -> nib.Nifti1Image:
    itk = _simpleitk(path)
    try:
        reader = itk.ImageFileReader()
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        components = reader.GetNumberOfComponents()
        require_size(path, [*reader.GetSize(), *([components] if components > 1 else [])])
        image = reader.Execute()
        array = itk.GetArrayFromImage(image)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise _damaged(path, "an image that SimpleITK reads", reason) from error
    start = path.read_bytes()[:_START]
    _check_metaimage(path, array.nbytes)
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    converted = nib.Nifti1Image(array.transpose(), np.diag([-1, -1, 1, 1]) @ affine)  # LPS to RAS
    if not any(word in start for word in (b"space:", b"TransformMatrix", b"Orientation", b"Rotation")):
        converted.set_sform(None, code=0)
        converted.set_qform(None, code=0)
    return converted


def _check_metaimage(path: Path, size: int) -> None:
    """Raise ImageError (E-CORRUPT) for compressed data that fail their checksum, which SimpleITK ignores."""
    content = path.read_bytes()
    header, mark, data = content.partition(b"ElementDataFile = LOCAL")
    if not mark or b"CompressedData = True" not in header:
        return
    stream = zlib.decompressobj()
    try:
        stream.decompress(data.lstrip(b"\r").removeprefix(b"\n"), size + 1)
        stream.decompress(stream.unconsumed_tail, 1)
        reason = "" if stream.eof else "its data end too early"
    except zlib.error as error:
        reason = str(error)
    if reason:
        raise _damaged(path, "compressed data that pass their checksum", reason)


def _simpleitk(path: Path) -> Any:
    try:
        import SimpleITK
    except ModuleNotFoundError as error:
        raise ImageError(
            "E-EXTRA",
            f"reading {path} needs SimpleITK, which is not installed",
            expected="the extra [formats], or NIfTI",
            remedy="pip install simpleitk, or convert the image to .nii.gz",
        ) from error
    SimpleITK.ProcessObject.GlobalWarningDisplayOff()  # relevant damage raises an error, or is detected here
    return SimpleITK


def _damaged(path: Path, expected: str, reason: str) -> ImageError:
    return ImageError(
        "E-CORRUPT",
        f"{path} is damaged, or of another format than its name: {reason}",
        expected=expected,
        remedy="copy it again from its source, or save it there as .nii.gz",
    )
