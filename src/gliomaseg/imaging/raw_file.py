"""Read the stored bytes of a file piece by piece: hashed, and checked for changes meanwhile."""

from __future__ import annotations

import difflib
import errno
import hashlib
import os
import re
from pathlib import Path

from gliomaseg.errors import ImageError

#: How many bytes after the data are read at a time, for the hash: there may be gigabytes.
_PIECE = 1 << 20


class RawFile:
    """A file that is open for reading from front to back; the caller closes it."""

    def __init__(self, path: Path) -> None:
        """Open a file; raises OSError, and ImageError (E-EMPTY) for an empty one."""
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
                remedy="copy it again: interrupted copies leave empty files",
            )

    @property
    def size(self) -> int:
        """Return the size of the file in bytes."""
        return self._before.st_size

    def read(self, count: int) -> bytes:
        """Return the next ``count`` bytes, fewer at the end; raises ImageError (E-PERM)."""
        try:
            data = self._stream.read(min(count, self.size))  # for a larger count, Python would allocate it
        except OSError as error:
            raise unreadable(self._path, error) from error
        self._hash.update(data)
        return data

    def finish(self) -> bool:
        """Read the rest, and return whether any of it is not 0; raises ImageError (E-CHANGED)."""
        has_more = False
        while piece := self.read(_PIECE):
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

    @property
    def sha256(self) -> str:
        """Return the hash of the bytes read so far: of the whole file after ``finish``."""
        return self._hash.hexdigest()

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


def unreadable(path: Path, error: OSError, expected: str = "a readable file") -> ImageError:
    """Return the E-PERM error of a file or folder that the system refuses to read."""
    return ImageError(
        "E-PERM",
        f"{path} can't be read: {error.strerror}",
        expected=expected,
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
