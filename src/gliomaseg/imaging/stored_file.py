"""The bytes of a file: read piece by piece, decompressed if it is gzip, hashed, and checked for changes.

gzip is read and written through isal. This module also has the errors of files that can't be opened.
"""

from __future__ import annotations

import difflib
import errno
import hashlib
import os
import re
from pathlib import Path

import numpy as np
from isal import isal_zlib

from gliomaseg.errors import ImageError

_MAGIC = b"\x1f\x8b"
_GZIP = 31  # window bits 15, plus 16 for gzip framing (zlib manual, inflateInit2)
#: How many bytes of a gzip file are read and decompressed at a time; fewer at first, for the header.
_PIECE, _FIRST = 1 << 14, 1 << 12
#: Deflate can't compress by more than 1032 times (zlib's technical details).
_LARGEST_RATIO = 1032
#: Reserved bits of a member's fourth byte: a file that sets them must be refused (RFC 1952, 2.3.1.2).
_RESERVED = 0xE0
#: How many bytes after the data are read at a time, for the hash: there may be gigabytes.
_REST = 1 << 20


class StoredFile:
    """A file that is open for reading from front to back; the caller closes it.

    A gzip stream of one or more members is decompressed on demand, and each member's checksum is compared.
    """

    def __init__(self, path: Path) -> None:
        """Open a file; raises OSError, and ImageError (E-EMPTY) for an empty one."""
        self._path = path
        self._stream = path.open("rb")
        self._before = os.fstat(self._stream.fileno())
        self._hash = hashlib.sha256()
        self._given = b""  # stored bytes that were read, but not returned yet
        if not self.size:
            self.close()
            raise ImageError(
                "E-EMPTY",
                f"{path} has 0 bytes",
                expected="a NIfTI image",
                remedy="copy it again: interrupted copies leave empty files",
            )
        try:
            self.is_compressed = _MAGIC.startswith(self._peek(len(_MAGIC), len(_MAGIC)))
            if self.is_compressed:
                self._begin_member()
        except BaseException:
            self.close()
            raise

    @property
    def size(self) -> int:
        """Return the stored size of the file in bytes."""
        return self._before.st_size

    @property
    def sha256(self) -> str:
        """Return the hash of the stored bytes read so far: of the whole file after ``finish``."""
        return self._hash.hexdigest()

    @property
    def is_whole(self) -> bool:
        """Return whether the checksum of the last gzip member was reached, if there is one."""
        return not self.is_compressed or bool(self._inflater.eof)

    def read(self, count: int) -> memoryview | bytes:
        """Return the next ``count`` bytes of the content, fewer at the end.

        Raises ImageError (E-PERM, E-CORRUPT). Decompressed bytes are collected in a NumPy array, because
        NumPy requests large memory pages: mapping many small ones takes longer than decompressing.
        """
        if not self.is_compressed:
            start, self._given = self._given[:count], self._given[count:]
            return start + self._stored(count - len(start)) if start else self._stored(count)
        count = min(count, _LARGEST_RATIO * self.size)
        content, filled = np.empty(count, dtype=np.uint8), 0
        while filled < count and (block := self._inflate(count - filled)):
            content[filled : filled + len(block)] = np.frombuffer(block, dtype=np.uint8)
            filled += len(block)
        return content[:filled].data.toreadonly()

    def finish(self) -> bool:
        """Read the rest, and return whether any stored byte of it is not 0; raises ImageError (E-CHANGED)."""
        has_more = bool(self._given.strip(b"\0"))
        while piece := self._stored(_REST):
            has_more = has_more or bool(piece.strip(b"\0"))
        self.compare()
        return has_more

    def compare(self) -> None:
        """Raise ImageError (E-CHANGED) if the file was changed since it was opened."""
        now, before = os.fstat(self._stream.fileno()), self._before
        if (before.st_size, before.st_mtime_ns) != (now.st_size, now.st_mtime_ns):
            raise ImageError(
                "E-CHANGED",
                f"{self._path} changed while it was read",
                expected="a file that no program is writing to",
                remedy="wait until it is copied or saved, then try again",
            )

    def ends_after(self, size: int) -> bool:
        """Return whether the size, or the length at the end of the gzip stream, fits ``size`` bytes."""
        if not self.is_compressed:
            return self.size >= size
        with self._path.open("rb") as stream:
            stream.seek(max(0, self.size - 4))
            return int.from_bytes(stream.read(4), "little") == size % (1 << 32)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def _stored(self, count: int) -> bytes:
        """Return the next ``count`` stored bytes, fewer at the end."""
        try:
            data = self._stream.read(min(count, self.size))  # for a larger count, Python would allocate it
        except OSError as error:
            raise unreadable(self._path, error) from error
        self._hash.update(data)
        return data

    def _peek(self, count: int, piece: int = _PIECE) -> bytes:
        """Return the next ``count`` stored bytes without consuming them; fewer at the end."""
        while len(self._given) < count and (more := self._stored(piece)):
            self._given += more
        return self._given[:count]

    def _begin_member(self) -> None:
        flags = self._peek(4, _FIRST)[3:]
        if flags and flags[0] & _RESERVED:
            raise _corrupt(self._path, f"its gzip header has the reserved flags {flags[0]:#04x}")
        self._inflater = isal_zlib.decompressobj(wbits=_GZIP)

    def _inflate(self, most: int) -> bytes:
        """Return the next piece of at most ``most`` decompressed bytes; empty at the end."""
        while True:
            if self._inflater.eof:
                if self._peek(len(_MAGIC)) != _MAGIC:
                    return b""
                self._begin_member()
            given = self._peek(1)
            try:
                block = self._inflater.decompress(self._given, most)
            except isal_zlib.error as error:  # type: ignore[misc]  # isal's stub calls it an instance
                raise _corrupt(self._path, str(error)) from error
            ended = self._inflater.eof
            self._given = self._inflater.unused_data if ended else self._inflater.unconsumed_tail
            if block or not given:
                return block


def gzip_bytes(content: bytes) -> bytes:
    """Return ``content`` as a gzip stream without a name or a date; the same input gives the same bytes."""
    packer = isal_zlib.compressobj(level=1, wbits=_GZIP)
    return bytes(packer.compress(content) + packer.flush())


def _corrupt(path: Path, reason: str) -> ImageError:
    return ImageError(
        "E-CORRUPT",
        f"{path} is damaged: {reason}",
        expected="a gzip stream with a valid checksum",
        remedy=f"copy it again from its source, and test the copy with: gzip -t {path.name}",
    )


def unreadable(path: Path, error: OSError, expected: str = "a readable file") -> ImageError:
    """Return the E-PERM error of a file or folder that the system refuses to read."""
    return ImageError(
        "E-PERM",
        f"{path} can't be read: {error.strerror}",
        expected=expected,
        remedy="check its permissions and the disk",
    )


def open_file(path: Path) -> StoredFile:
    """Return a file, open for reading; raises ImageError (E-NOFILE, E-POINTER, E-PERM, E-EMPTY)."""
    try:
        if path.exists() and not path.is_file():
            raise _no_file(path)
        return StoredFile(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise missing_file(path) from error
    except OSError as error:
        raise (missing_file(path) if error.errno == errno.ELOOP else unreadable(path, error)) from error


def _no_file(path: Path) -> ImageError:
    inside = sorted(p.name for p in path.glob("*.nii*"))[:5] if path.is_dir() else []
    return ImageError(
        "E-NOFILE",
        f"{path} is a folder, not a file" if path.is_dir() else f"{path} is a pipe or device, not a file",
        expected="a .nii or .nii.gz file",
        remedy=f"give the file inside it: {', '.join(inside)}"
        if inside
        else "save the image as a file first",
    )


def missing_file(path: Path) -> ImageError:
    """Return the E-NOFILE error of ``path``, with similar names; E-POINTER for a link of git-annex."""
    if path.is_symlink():
        return _broken_link(path)
    if re.match(r"[a-z0-9]+:/|-$", str(path), re.IGNORECASE):
        return ImageError(
            "E-NOFILE",
            f"{path} is not a file on this computer",
            expected="a path: gliomaseg reads no network address and no stream",
            remedy="download or save the images first, then give their folder",
        )
    try:
        near = [p.name for p in path.parent.iterdir() if p.name != path.name]  # not itself
    except OSError:
        near = []
    close = difflib.get_close_matches(path.name, near, n=3)
    return ImageError(
        "E-NOFILE",
        f"{path} does not exist",
        expected="an existing file",
        remedy=f"did you mean {', '.join(close)}?" if close else "check the spelling of the path",
    )


def _broken_link(path: Path) -> ImageError:
    target = str(path.readlink())
    if re.search(r"annex[/\\]objects", target):
        what = f"{path} is a git-annex link without its content"
        return ImageError("E-POINTER", what, expected="the image itself", remedy="run: git annex get")
    return ImageError(
        "E-NOFILE",
        f"{path} is a link to {target}, which does not exist",
        expected="a link to an existing file",
        remedy="copy the file itself here, or mount the disk that holds it",
    )
