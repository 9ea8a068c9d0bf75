"""A file's bytes as they are stored, read piece by piece, hashed, and proven not to change meanwhile."""

from __future__ import annotations

import difflib
import errno
import hashlib
import os
import re
from pathlib import Path

from gliomaseg.errors import ImageError

#: How much of what nobody needs is read at once, to hash it: a file may go on for gigabytes.
_PIECE = 1 << 20


class RawFile:
    """A file that is open for reading, from the front to the back. Close it."""

    def __init__(self, path: Path) -> None:
        """Open a file; raises OSError, and ImageError (E-EMPTY) for one without a byte."""
        self._path = path
        self._stream = path.open("rb")
        self._before = os.fstat(self._stream.fileno())
        self._hash = hashlib.sha256()
        if not self._before.st_size:
            self.close()
            raise ImageError(
                "E-EMPTY",
                f"{path} has 0 bytes",
                expected="a NIfTI image",
                remedy="copy it again: an interrupted copy leaves such files",
            )

    @property
    def size(self) -> int:
        """Return how many bytes the file has."""
        return self._before.st_size

    def read(self, count: int) -> bytes:
        """Return the next ``count`` bytes, fewer at the end; raises ImageError (E-PERM)."""
        try:
            data = self._stream.read(min(count, self.size))  # asked for more, Python would take the memory
        except OSError as error:
            raise unreadable(self._path, error) from error
        self._hash.update(data)
        return data

    def finish(self) -> bool:
        """Read what is left, and return whether anything in it is not 0; raises ImageError (E-CHANGED)."""
        has_more = False
        while piece := self.read(_PIECE):
            has_more = has_more or bool(piece.strip(b"\0"))
        self.compare()
        return has_more

    def compare(self) -> None:
        """Raise ImageError (E-CHANGED) if something wrote to the file since it was opened."""
        now, before = os.fstat(self._stream.fileno()), self._before
        if (before.st_size, before.st_mtime_ns) != (now.st_size, now.st_mtime_ns):
            raise ImageError(
                "E-CHANGED",
                f"{self._path} changed while it was read",
                expected="a file that nothing is writing to",
                remedy="wait until it is copied or saved, then try again",
            )

    @property
    def sha256(self) -> str:
        """Return the hash of the bytes that were read: all of them after ``finish``."""
        return self._hash.hexdigest()

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


def unreadable(path: Path, error: OSError) -> ImageError:
    """Return the E-PERM error of a file that the system does not let be read."""
    return ImageError(
        "E-PERM",
        f"{path} can't be read: {error.strerror}",
        expected="a readable file",
        remedy="check its permissions and the disk",
    )


def open_file(path: Path) -> RawFile:
    """Return a file, open for reading; raises ImageError (E-NOFILE, E-POINTER, E-PERM, E-EMPTY)."""
    try:
        if path.exists() and not path.is_file():
            raise _no_file(path)
        return RawFile(path)
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
        remedy=f"name the file inside it: {', '.join(inside)}"
        if inside
        else "save the image as a file first",
    )


def missing_file(path: Path) -> ImageError:
    """Return the E-NOFILE error of ``path``, naming what lies nearest; E-POINTER for git-annex's links."""
    if path.is_symlink():
        return _broken_link(path)
    if re.match(r"[a-z0-9]+:/|-$", str(path), re.IGNORECASE):
        return ImageError(
            "E-NOFILE",
            f"{path} is no file on this computer",
            expected="a path: gliomaseg uses no network and reads no stream",
            remedy="download or save the images first, then name their folder",
        )
    try:
        near = [p.name for p in path.parent.iterdir() if p.name != path.name]  # itself: a broken link
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
        what = f"{path} is a git-annex link whose content is not here"
        return ImageError("E-POINTER", what, expected="the image itself", remedy="run: git annex get")
    return ImageError(
        "E-NOFILE",
        f"{path} is a link to {target}, which is not there",
        expected="a link to an existing file",
        remedy="copy the file itself here, or mount the disk that it lies on",
    )
