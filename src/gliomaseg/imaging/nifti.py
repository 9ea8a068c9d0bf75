"""NIfTI files: read whole and proven, written whole or not at all.

The usual readers open a file cut in half, or one with a flipped byte, without a word. Here the whole
gzip stream is inflated, its checksum compared, and its size bounded by what the header announces.
Ignorant of cases and of what the voxels mean.
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
from gliomaseg.imaging.header import Layout, header_length, no_volume, parse_header, truncated
from gliomaseg.imaging.raw_file import RawFile, open_file
from gliomaseg.imaging.volume import Grid, Segmentation
from gliomaseg.labels import LabelScheme
from gliomaseg.storage import files

#: Intensities beyond this can't be held as float32.
LARGEST = float(np.finfo(np.float32).max)

#: What may follow the data without being called a bomb, in bytes.
_SLACK = 1 << 16


def read_layout(path: Path, *, channel: int | None = None) -> Layout:
    """Return what the header of a NIfTI file says, no voxel read; raises ImageError.

    ``channel`` is the wanted volume of a file that holds several, here and in the other functions.
    """
    with _Source(path, [], channel=channel) as source:
        return source.layout


def inflate(path: Path) -> int:
    """Inflate and prove a whole file, and return the bytes of its data: the least that reading it takes."""
    with _Source(path, []) as source:
        return len(source.read_data())


def read_grid(path: Path, notes: list[Note] | None = None, *, channel: int | None = None) -> Grid:
    """Return the grid of a NIfTI file from its header alone; raises ImageError.

    A compressed file whose last four bytes don't tell the length that the header announces is read whole:
    so a file that was cut is found without inflating the others. Warnings are added to ``notes``.
    """
    with _Source(path, [] if notes is None else notes, channel=channel) as source:
        if not _ends_well(path, source):
            source.read_data()
        return source.layout.grid


def read_image(path: Path, *, channel: int | None = None) -> tuple[npt.NDArray[np.generic], Grid]:
    """Return the voxels (x, y, z) and the grid of a .nii or .nii.gz file, every voxel a finite number.

    Voxels keep their type on disk unless the header scales them (then float32). Four-dimensional
    files with one volume are taken as three-dimensional. Raises ImageError, see ``errors.CODES``.
    """
    ((array, grid, _),) = read_channels(path, [], [channel])
    count = 0 if is_finite(array) else int(np.count_nonzero(~(np.abs(array) <= LARGEST)))
    if count:
        raise ImageError(
            "E-VALUES",
            f"{path} has {count} voxels that are NaN, infinite or beyond {LARGEST:.1g}",
            expected="an ordinary number in every voxel",
            remedy="replace them by 0 and save the image again",
        )
    return array, grid


class Voxels(NamedTuple):
    """An image (x, y, z), its grid, and the SHA-256 of the very bytes that it was read from."""

    array: npt.NDArray[np.generic]
    grid: Grid
    sha256: str


def read_voxels(path: Path, notes: list[Note]) -> Voxels:
    """Do what ``read_image`` does, but leave voxels in that are no numbers, and add warnings to ``notes``."""
    return read_channels(path, notes, [None])[0]


def read_channels(path: Path, notes: list[Note], channels: Sequence[int | None]) -> list[Voxels]:
    """Do what ``read_voxels`` does for several volumes of one file, which is inflated once."""
    with _Source(path, notes, channel=max((c for c in channels if c is not None), default=None)) as source:
        body = source.read_data()
    grid, sha256 = source.layout.grid, source.sha256
    return [Voxels(_volume(source, body, channel or 0), grid, sha256) for channel in channels]


def _volume(source: _Source, body: memoryview | bytes, channel: int) -> npt.NDArray[np.generic]:
    """Return one volume of an inflated file as an array (x, y, z), scaled as its header says."""
    layout = source.layout
    count = math.prod(layout.grid.shape)
    start = layout.offset - source.start + channel * count * layout.dtype.itemsize
    array = np.frombuffer(body, layout.dtype, count, start).reshape(layout.grid.shape, order="F")
    if not layout.dtype.isnative:
        array = array.astype(layout.dtype.newbyteorder("="))
    if (layout.slope, layout.intercept) != (1.0, 0.0):
        with np.errstate(over="ignore", invalid="ignore"):  # who reads is told in words
            array = (array * np.float64(layout.slope) + layout.intercept).astype(np.float32)
    return array


def is_finite(array: npt.NDArray[np.generic]) -> bool:
    """Return whether every voxel is a number that float32 holds."""
    return array.dtype.kind != "f" or bool(-LARGEST <= array.min() <= array.max() <= LARGEST)


def read_labels(path: Path, scheme: LabelScheme) -> Segmentation:
    """Return a label map whose values are proven to be of ``scheme``.

    Raises ImageError for the file, LabelError (E-LABEL, E-LABELS) for its values.
    """
    array, grid = read_image(path)
    return Segmentation(scheme.check(array, str(path)), grid, scheme)


def names_image(path: Path) -> bool:
    """Return whether a path is called like a NIfTI file, there or not."""
    return path.name.lower().endswith((".nii", ".nii.gz"))


def write_image(path: Path, array: npt.NDArray[np.generic], grid: Grid) -> None:
    """Write ``array`` (x, y, z) on ``grid`` as NIfTI-1, compressed when the name ends in .gz.

    The geometry fields are those of the file that the grid came from; no other header text is
    written. The same input gives the same bytes. Raises OutputError.
    """
    content = make_header(array, grid) + array.tobytes(order="F")
    files.write_bytes(path, gzip_bytes(content) if path.suffix == ".gz" else content)


def write_segmentation(path: Path, segmentation: Segmentation) -> None:
    """Write a label map as uint8 on the grid of its case; raises OutputError."""
    write_image(path, segmentation.labels.astype(np.uint8, copy=False), segmentation.grid)


class _Source:
    """One file, opened: its header parsed, its data still to be inflated."""

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
        self.layout = parse_header(self._path, block, self._notes)
        if is_gzip != (self._path.suffix.lower() == ".gz"):
            how = "compressed" if is_gzip else "not compressed"
            what = f"{self._path} is {how}, unlike its name"
            self._notes.append(Note("W-EXT", what, "it was read by its content"))

    def _require(self, channel: int | None) -> None:
        """Raise ImageError (E-NDIM) unless there is the wanted volume, or only one."""
        volumes = self.layout.volumes
        if volumes > 1 if channel is None else channel >= volumes:
            raise no_volume(self._path, (*self.layout.grid.shape, volumes), channel)

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
        """Return the hash of the whole file once its data were read."""
        return self._raw.sha256

    def read_data(self) -> memoryview | bytes:
        """Return everything behind the header, proven to be whole; what follows it is read and left out."""
        expected = self.layout.size - self.start
        data = self._read(expected + (_SLACK if self._gzip else 0))
        if self._gzip and len(data) == expected + _SLACK:
            raise _bomb(self._path, self.layout.size)
        if len(data) < expected or (self._gzip and not self._gzip.ended):
            raise truncated(self._path, len(data) + self.start, self.layout.size)
        follows = self._gzip.finish() if self._gzip else self._raw.size > self.layout.size
        self._raw.finish()
        if follows or len(data) > expected:
            what = f"{self._path} goes on behind its data"
            self._notes.append(Note("W-TRAILING", what, "what follows was left out"))
        return data


def _ends_well(path: Path, source: _Source) -> bool:
    """Return whether a file is as long as its header says, by its size or by what gzip wrote last."""
    if is_foreign(path):  # it was read whole
        return True
    with path.open("rb") as stream:
        size = stream.seek(0, io.SEEK_END)
        if not source.is_compressed:
            return size >= source.layout.size
        stream.seek(max(0, size - 4))
        return int.from_bytes(stream.read(4), "little") == source.layout.size % (1 << 32)


def _bomb(path: Path, size: int) -> ImageError:
    return ImageError(
        "E-BOMB",
        f"{path} inflates to far more than the {size:,} bytes that its header announces",
        expected="as many bytes as the header says",
        remedy="don't trust this file: get it again from its source",
    )
