"""Gzip streams: inflated as far as asked, proven by their checksums; written. Door: isal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from isal import isal_zlib

from gliomaseg.errors import ImageError
from gliomaseg.imaging.raw_file import RawFile

MAGIC = b"\x1f\x8b"
_GZIP = 31  # window bits 15, plus 16 for gzip framing (zlib manual, inflateInit2)
#: How many bytes of a compressed file are read and inflated at once.
_PIECE = 1 << 14
#: And how many at first: enough for the header of an image.
_FIRST = 1 << 12
#: Deflate can't shrink anything more than 1032 times (zlib's technical details).
_LARGEST_RATIO = 1032


#: Bits of a member's fourth byte that mean nothing yet: whoever meets them must refuse (RFC 1952, 2.3.1.2).
_RESERVED = 0xE0


class Gzip:
    """A gzip stream of one member or several, inflated as far as asked, each member's checksum compared."""

    def __init__(self, path: Path, raw: RawFile, given: bytes = b"") -> None:
        """Take a file, and the bytes at its front that were read already."""
        self._path = path
        self._raw = raw
        self._given = given
        self._begin_member()

    @property
    def ended(self) -> bool:
        """Return whether the last member's checksum was reached."""
        return self._inflater.eof

    def finish(self) -> bool:
        """Read the file to its end, and return whether bytes follow the last member that are not one."""
        return bool(self._raw.finish() or self._given.strip(b"\0"))

    def read(self, count: int) -> memoryview:
        """Return the next ``count`` bytes, fewer at the end.

        They are gathered piece by piece in an array of numpy's, which asks the system for large pages:
        mapping many small ones takes longer than inflating.
        """
        count = min(count, _LARGEST_RATIO * self._raw.size)
        room, filled = np.empty(count, dtype=np.uint8), 0
        while filled < count and (block := self._next(count - filled)):
            room[filled : filled + len(block)] = np.frombuffer(block, dtype=np.uint8)
            filled += len(block)
        return room[:filled].data.toreadonly()

    def _next(self, most: int) -> bytes:
        """Inflate the next piece, to ``most`` bytes; none at the end."""
        while True:
            if self.ended:
                if self._look(len(MAGIC)) != MAGIC:
                    return b""
                self._begin_member()
            given = self._look(1)
            try:
                block = self._inflater.decompress(self._given, most)
            except isal_zlib.error as error:  # type: ignore[misc]  # isal's stub calls it an instance
                raise _corrupt(self._path, str(error)) from error
            self._given = self._inflater.unused_data if self.ended else self._inflater.unconsumed_tail
            if block or not given:
                return block

    def _begin_member(self) -> None:
        flags = self._look(4, _FIRST)[3:]
        if flags and flags[0] & _RESERVED:
            raise _corrupt(
                self._path, f"its gzip header has the flags {flags[0]:#04x}, which no program writes"
            )
        self._inflater = isal_zlib.decompressobj(wbits=_GZIP)

    def _look(self, count: int, piece: int = _PIECE) -> bytes:
        """Return the next ``count`` stored bytes, which stay there; fewer at the end."""
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
        expected="a gzip stream that passes its checksum",
        remedy=f"copy it again from its source, and test the copy with: gzip -t {path.name}",
    )
