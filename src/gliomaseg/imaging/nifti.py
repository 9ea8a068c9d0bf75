"""Read NIfTI files completely and validated; write them completely or not at all.

The usual readers open a truncated file, or one with a flipped byte, without an error. Here the whole gzip
stream is decompressed, its checksum compared, and its size bounded by the header.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gliomaseg.errors import ImageError, Note
from gliomaseg.imaging.affine import make_header
from gliomaseg.imaging.foreign import Converted, is_foreign
from gliomaseg.imaging.header import Header, header_length, no_volume, parse_header, truncated
from gliomaseg.imaging.stored_file import StoredFile, gzip_bytes, open_file
from gliomaseg.imaging.volume import LARGEST, Grid, Segmentation
from gliomaseg.labels import LabelScheme
from gliomaseg.storage import files

#: How many bytes after the data are read before the file counts as a gzip bomb.
_SLACK = 1 << 16

_Bytes = memoryview | bytes


def read_header(path: Path, *, channel: int | None = None) -> Header:
    """Return the header of a NIfTI file without reading a voxel; raises ImageError.

    ``channel`` is the volume to read from a file with several, here and in the other functions.
    """
    with _opened(path, [], channel) as (_, header):
        return header


def read_grid(path: Path, notes: list[Note] | None = None, *, channel: int | None = None) -> Grid:
    """Return the grid of a NIfTI file from its header alone; raises ImageError.

    A compressed file is read completely if its last four bytes differ from the length in the header: this
    finds truncated files without decompressing the others. Adds to ``notes``.
    """
    notes = [] if notes is None else notes
    with _opened(path, notes, channel) as (file, header):
        if not file.ends_after(header.size):
            _read_data(path, file, header, notes)
        return header.grid


def read_image(path: Path, *, channel: int | None = None) -> tuple[npt.NDArray[np.generic], Grid]:
    """Return the voxels (x, y, z), all finite, and the grid of an image file.

    Voxels keep their type on disk unless the header scales them (then float32). A four-dimensional file with
    one volume counts as three-dimensional. Raises ImageError.
    """
    ((array, grid, _),) = read_channels(path, [], [channel])
    if array.dtype.kind == "f" and not -LARGEST <= array.min() <= array.max() <= LARGEST:
        count = np.count_nonzero(~(np.abs(array) <= LARGEST))
        raise ImageError(
            "E-VALUES",
            f"{path} has {count} voxels that are NaN, infinite or beyond {LARGEST:.1g}",
            expected="a finite number in every voxel",
            remedy="replace them by 0 and save the image again",
        )
    return array, grid


class Voxels(NamedTuple):
    """An image (x, y, z), its grid, and the SHA-256 of the file's bytes as they were read."""

    array: npt.NDArray[np.generic]
    grid: Grid
    sha256: str


def read_channels(path: Path, notes: list[Note], channels: Sequence[int | None]) -> list[Voxels]:
    """Return volumes of one file, which is decompressed once; voxels may be not finite. Adds to ``notes``."""
    last = max((c for c in channels if c is not None), default=None)
    with _opened(path, notes, last) as (file, header):
        body, sha256 = _read_data(path, file, header, notes), file.sha256
    count, found = math.prod(header.grid.shape), []
    for channel in channels:
        start = header.offset - header.length + (channel or 0) * count * header.dtype.itemsize
        array = np.frombuffer(body, header.dtype, count, start).reshape(header.grid.shape, order="F")
        if not header.dtype.isnative:
            array = array.astype(header.dtype.newbyteorder("="))
        if (header.slope, header.intercept) != (1.0, 0.0):
            with np.errstate(over="ignore", invalid="ignore"):  # E-VALUES reports what overflows
                array = (array * np.float64(header.slope) + header.intercept).astype(np.float32)
        found.append(Voxels(array, header.grid, sha256))
    return found


def read_labels(path: Path, scheme: LabelScheme) -> Segmentation:
    """Return a label map that holds only values of ``scheme``.

    Raises ImageError for the file, LabelError (E-LABEL, E-LABELS) for its values.
    """
    array, grid = read_image(path)
    return Segmentation(scheme.check(array, str(path)), grid, scheme)


def write_image(path: Path, array: npt.NDArray[np.generic], grid: Grid) -> None:
    """Write ``array`` (x, y, z) on ``grid`` as NIfTI-1, compressed when the name ends in .gz.

    The geometry fields are those of the grid's own file; no description is written. The same input gives
    the same bytes. Raises OutputError.
    """
    content = make_header(array, grid) + array.tobytes(order="F")
    files.write_bytes(path, gzip_bytes(content) if path.suffix == ".gz" else content)


def write_segmentation(path: Path, segmentation: Segmentation) -> None:
    """Write a label map as uint8 on the grid of its case; raises OutputError."""
    write_image(path, segmentation.labels.astype(np.uint8, copy=False), segmentation.grid)


@contextmanager
def _opened(
    path: Path, notes: list[Note], channel: int | None = None
) -> Iterator[tuple[StoredFile | Converted, Header]]:
    """Yield an open file and its header; raises ImageError (E-NDIM) unless it has the volume ``channel``.

    Without ``channel`` it must have only one volume.
    """
    with closing(Converted(path) if is_foreign(path) else open_file(path)) as file:
        block = bytes(file.read(348))
        block += file.read(header_length(block) - 348)
        header = parse_header(path, block, notes)
        if file.is_compressed != (path.suffix.lower() == ".gz"):
            what = f"{path} is {'' if file.is_compressed else 'not '}compressed, unlike its name"
            notes.append(Note("W-EXT", what, "its content decided how it was read"))
        if header.volumes > 1 if channel is None else channel >= header.volumes:
            raise no_volume(path, (*header.grid.shape, header.volumes), channel)
        yield file, header
        file.compare()


def _read_data(path: Path, file: StoredFile | Converted, header: Header, notes: list[Note]) -> _Bytes:
    """Return all bytes from the header to the end of the voxels, validated; what follows is left out."""
    expected = header.size - header.length
    slack = _SLACK if file.is_compressed else 0
    data = file.read(expected + slack)
    if slack and len(data) == expected + slack:
        raise _bomb(path, header.size)
    if len(data) < expected or not file.is_whole:
        raise truncated(path, len(data) + header.length, header.size)
    follows = file.finish() if file.is_compressed else file.size > header.size
    file.finish()
    if follows or len(data) > expected:
        notes.append(Note("W-TRAILING", f"{path} has bytes after its data", "they were left out"))
    return data


def _bomb(path: Path, size: int) -> ImageError:
    return ImageError(
        "E-BOMB",
        f"{path} decompresses to far more than the {size:,} bytes in its header",
        expected="as many bytes as in the header",
        remedy="don't trust this file: get it again from its source",
    )
