"""Gzip streams: inflated as far as asked, proven by their checksums; written. Door: isal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from isal import isal_zlib

from gliomaseg.errors import ImageError

MAGIC = b"\x1f\x8b"
_GZIP = 31  # window bits 15, plus 16 for gzip framing (zlib manual, inflateInit2)
#: How many bytes of a compressed file are inflated at once.
_PIECE = 1 << 14
#: Deflate can't shrink anything more than 1032 times (zlib's technical details).
_LARGEST_RATIO = 1032


class Gzip:
    """A gzip stream of one member or several, inflated as far as asked, each member's checksum compared."""

    def __init__(self, path: Path, raw: bytes) -> None:
        self._path = path
        self._raw = memoryview(raw)
        self._at = 0
        self._inflater = isal_zlib.decompressobj(wbits=_GZIP)

    @property
    def ended(self) -> bool:
        """Return whether the last member's checksum was reached."""
        return self._inflater.eof

    @property
    def has_more(self) -> bool:
        """Return whether bytes follow the last member that are not one."""
        return self.ended and bool(bytes(self._raw[self._at :]).strip(b"\0"))

    def read(self, count: int) -> memoryview:
        """Return the next ``count`` bytes, fewer at the end.

        They are gathered piece by piece in an array of numpy's, which asks the system for large pages:
        mapping many small ones takes longer than inflating.
        """
        count = min(count, _LARGEST_RATIO * len(self._raw))
        room, filled = np.empty(count, dtype=np.uint8), 0
        while filled < count and (block := self._next(count - filled)):
            room[filled : filled + len(block)] = np.frombuffer(block, dtype=np.uint8)
            filled += len(block)
        return room[:filled].data.toreadonly()

    def _next(self, most: int) -> bytes:
        """Inflate the next piece, to ``most`` bytes; none at the end."""
        while True:
            if self.ended and self._raw[self._at : self._at + 2] == MAGIC:
                self._inflater = isal_zlib.decompressobj(wbits=_GZIP)
            given = self._raw[self._at : self._at + _PIECE]
            if self.ended:
                return b""
            try:
                block = self._inflater.decompress(given, most)
            except isal_zlib.error as error:  # type: ignore[misc]  # isal's stub calls it an instance
                raise _corrupt(self._path, str(error)) from error
            left = self._inflater.unused_data if self.ended else self._inflater.unconsumed_tail
            self._at += len(given) - len(left)
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
        expected="a gzip stream that passes its checksum",
        remedy="copy it again from its source, and test it with: gzip -t",
    )
