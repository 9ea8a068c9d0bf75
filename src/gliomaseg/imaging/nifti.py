"""Read NIfTI files completely and validated; write them completely or not at all.

The usual readers open a truncated file, or one with a flipped byte, without an error. Here the whole gzip
stream is decompressed, its checksum compared, and its size bounded by the header.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from gliomaseg.errors import ImageError, Note
from gliomaseg.imaging.affine import make_header
from gliomaseg.imaging.foreign import Converted, is_foreign
from gliomaseg.imaging.gzipped import MAGIC, Gzip, gzip_bytes
from gliomaseg.imaging.header import Header, header_length, no_volume, parse_header, truncated
from gliomaseg.imaging.raw_file import RawFile, open_file
from gliomaseg.imaging.volume import Grid, Segmentation
from gliomaseg.labels import LabelScheme
from gliomaseg.storage import files

#: The largest intensity that float32 holds.
LARGEST = float(np.finfo(np.float32).max)
#: How many bytes after the data are read before the file counts as a gzip bomb.
_SLACK = 1 << 16


def read_header(path: Path, *, channel: int | None = None) -> Header:
    """Return the header of a NIfTI file without reading a voxel; raises ImageError.

    ``channel`` is the volume to read from a file with several, here and in the other functions.
    """
    with _Source(path, [], channel=channel) as source:
        return source.header


def read_grid(path: Path, notes: list[Note] | None = None, *, channel: int | None = None) -> Grid:
    """Return the grid of a NIfTI file from its header alone; raises ImageError.

    A compressed file is read completely if its last four bytes differ from the length in the header: this
    finds truncated files without decompressing the others. Adds to ``notes``.
    """
    with _Source(path, [] if notes is None else notes, channel=channel) as source:
        if not _ends_well(path, source):
            source.read_data()
        return source.header.grid


def read_image(path: Path, *, channel: int | None = None) -> tuple[npt.NDArray[np.generic], Grid]:
    """Return the voxels (x, y, z), all finite, and the grid of an image file.

    Voxels keep their type on disk unless the header scales them (then float32). A four-dimensional file with
    one volume counts as three-dimensional. Raises ImageError.
    """
    ((array, grid, _),) = read_channels(path, [], [channel])
    count = 0 if is_finite(array) else int(np.count_nonzero(~(np.abs(array) <= LARGEST)))
    if count:
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
    with _Source(path, notes, channel=max((c for c in channels if c is not None), default=None)) as source:
        body = source.read_data()
    grid, sha256 = source.header.grid, source.sha256
    return [Voxels(_volume(source, body, channel or 0), grid, sha256) for channel in channels]


def _volume(source: _Source, body: memoryview | bytes, channel: int) -> npt.NDArray[np.generic]:
    """Return one volume of a decompressed file as an array (x, y, z), scaled by its header."""
    header = source.header
    count = math.prod(header.grid.shape)
    start = header.offset - source.start + channel * count * header.dtype.itemsize
    array = np.frombuffer(body, header.dtype, count, start).reshape(header.grid.shape, order="F")
    if not header.dtype.isnative:
        array = array.astype(header.dtype.newbyteorder("="))
    if (header.slope, header.intercept) != (1.0, 0.0):
        with np.errstate(over="ignore", invalid="ignore"):  # E-VALUES reports what overflows
            array = (array * np.float64(header.slope) + header.intercept).astype(np.float32)
    return array


def is_finite(array: npt.NDArray[np.generic]) -> bool:
    """Return whether float32 holds every voxel as a finite number."""
    return array.dtype.kind != "f" or bool(-LARGEST <= array.min() <= array.max() <= LARGEST)


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


class _Source:
    """An open file with its header parsed and its data still to be decompressed."""

    def __init__(self, path: Path, notes: list[Note], *, channel: int | None = None) -> None:
        self._path = path
        self._notes = notes
        self._raw = Converted(path) if is_foreign(path) else open_file(path)
        try:
            self._parse()
            self._require(channel)
            self._raw.compare()
        except BaseException:
            self._raw.close()
            raise

    def _parse(self) -> None:
        first = self._raw.read(len(MAGIC))
        is_gzip = MAGIC.startswith(first)
        self._gzip = (
            Gzip(self._path, self._raw, first) if is_gzip and isinstance(self._raw, RawFile) else None
        )
        block = first if self._gzip is None else b""
        block += self._read(348 - len(block))
        block += self._read(header_length(block) - 348)
        self.start = len(block)
        self.header = parse_header(self._path, block, self._notes)
        if is_gzip != (self._path.suffix.lower() == ".gz"):
            what = f"{self._path} is {'' if is_gzip else 'not '}compressed, unlike its name"
            self._notes.append(Note("W-EXT", what, "its content decided how it was read"))

    def _require(self, channel: int | None) -> None:
        """Raise ImageError (E-NDIM) unless the file has volume ``channel``, or only one volume."""
        volumes = self.header.volumes
        if volumes > 1 if channel is None else channel >= volumes:
            raise no_volume(self._path, (*self.header.grid.shape, volumes), channel)

    def __enter__(self) -> Self:
        """Keep the file open for ``read_data``."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._raw.close()

    @property
    def is_compressed(self) -> bool:
        """Return whether the file is a gzip stream."""
        return self._gzip is not None

    def _read(self, count: int) -> memoryview | bytes:
        return self._gzip.read(count) if self._gzip else self._raw.read(count)

    @property
    def sha256(self) -> str:
        """Return the hash of the whole file; valid after ``read_data``."""
        return self._raw.sha256

    def read_data(self) -> memoryview | bytes:
        """Return all bytes from the header to the end of the voxels, validated; what follows is left out."""
        expected = self.header.size - self.start
        data = self._read(expected + (_SLACK if self._gzip else 0))
        if self._gzip and len(data) == expected + _SLACK:
            raise _bomb(self._path, self.header.size)
        if len(data) < expected or (self._gzip and not self._gzip.ended):
            raise truncated(self._path, len(data) + self.start, self.header.size)
        follows = self._gzip.finish() if self._gzip else self._raw.size > self.header.size
        self._raw.finish()
        if follows or len(data) > expected:
            what = f"{self._path} has bytes after its data"
            self._notes.append(Note("W-TRAILING", what, "they were left out"))
        return data


def _ends_well(path: Path, source: _Source) -> bool:
    """Return whether a file's size, or the length at the end of its gzip stream, agrees with its header."""
    if is_foreign(path):  # it was read completely
        return True
    with path.open("rb") as stream:
        size = stream.seek(0, io.SEEK_END)
        if not source.is_compressed:
            return size >= source.header.size
        stream.seek(max(0, size - 4))
        return int.from_bytes(stream.read(4), "little") == source.header.size % (1 << 32)


def _bomb(path: Path, size: int) -> ImageError:
    return ImageError(
        "E-BOMB",
        f"{path} decompresses to far more than the {size:,} bytes in its header",
        expected="as many bytes as in the header",
        remedy="don't trust this file: get it again from its source",
    )
