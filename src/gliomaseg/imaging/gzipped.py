"""Read gzip streams piece by piece, with their checksums; write them. All through isal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from isal import isal_zlib

from gliomaseg.errors import ImageError
from gliomaseg.imaging.raw_file import RawFile

MAGIC = b"\x1f\x8b"
_GZIP = 31  # window bits 15, plus 16 for gzip framing (zlib manual, inflateInit2)
#: How many bytes of a compressed file are read and decompressed at a time; fewer at first, for the header.
_PIECE, _FIRST = 1 << 14, 1 << 12
#: Deflate can't compress by more than 1032 times (zlib's technical details).
_LARGEST_RATIO = 1032
#: Reserved bits of a member's fourth byte: a file that sets them must be refused (RFC 1952, 2.3.1.2).
_RESERVED = 0xE0


class Gzip:
    """A gzip stream of one or more members, decompressed on demand; each member's checksum is compared."""

    def __init__(self, path: Path, raw: RawFile, given: bytes = b"") -> None:
        """Take a file, and the bytes at its front that were already read."""
        self._path = path
        self._raw = raw
        self._given = given
        self._begin_member()

    @property
    def ended(self) -> bool:
        """Return whether the checksum of the last member was reached."""
        return self._inflater.eof

    def finish(self) -> bool:
        """Read the file to its end; return whether other bytes than 0 follow the last member."""
        return bool(self._raw.finish() or self._given.strip(b"\0"))

    def read(self, count: int) -> memoryview:
        """Return the next ``count`` bytes, fewer at the end.

        They are collected in a NumPy array, because NumPy requests large memory pages: mapping many small
        ones takes longer than decompressing.
        """
        count = min(count, _LARGEST_RATIO * self._raw.size)
        room, filled = np.empty(count, dtype=np.uint8), 0
        while filled < count and (block := self._next(count - filled)):
            room[filled : filled + len(block)] = np.frombuffer(block, dtype=np.uint8)
            filled += len(block)
        return room[:filled].data.toreadonly()

    def _next(self, most: int) -> bytes:
        """Return the next piece of at most ``most`` decompressed bytes; empty at the end."""
        while True:
            if self.ended:
                if self._peek(len(MAGIC)) != MAGIC:
                    return b""
                self._begin_member()
            given = self._peek(1)
            try:
                block = self._inflater.decompress(self._given, most)
            except isal_zlib.error as error:  # type: ignore[misc]  # isal's stub calls it an instance
                raise _corrupt(self._path, str(error)) from error
            self._given = self._inflater.unused_data if self.ended else self._inflater.unconsumed_tail
            if block or not given:
                return block

    def _begin_member(self) -> None:
        flags = self._peek(4, _FIRST)[3:]
        if flags and flags[0] & _RESERVED:
            raise _corrupt(self._path, f"its gzip header has the reserved flags {flags[0]:#04x}")
        self._inflater = isal_zlib.decompressobj(wbits=_GZIP)

    def _peek(self, count: int, piece: int = _PIECE) -> bytes:
        """Return the next ``count`` stored bytes without consuming them; fewer at the end."""
        while len(self._given) < count and (more := self._raw.read(piece)):
            self._given += more
        return self._given[:count]


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
