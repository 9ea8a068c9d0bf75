"""Locks between processes: the kernel's own (flock), which end with their process, however it ends.

filelock (4.3) is not used: it leaves its file beside every result and can't name the process that holds it.
On Windows and some network disks there is no such lock: ``Lock.is_exclusive`` is false, and the work goes on.
"""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import stat
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

#: The first bytes of a lock file of gliomaseg. A file with other content is never changed.
_MARK = b"process "
_BUSY = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
#: No link is followed, and a pipe doesn't block.
_SAFE = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


@dataclass(frozen=True)
class Lock:
    """A lock that is held until the block ends; then its file is removed."""

    path: Path
    descriptor: int
    is_exclusive: bool

    def __enter__(self) -> Self:
        """Write the holder into the file, for the error message of another process."""
        if self._is_ours():
            holder = f"process {os.getpid()} on {platform.node()} since {time.strftime('%Y-%m-%d %H:%M:%S')}"
            with contextlib.suppress(OSError):  # the lock holds on a full disk, too
                os.ftruncate(self.descriptor, 0)
                os.lseek(self.descriptor, 0, os.SEEK_SET)
                os.write(self.descriptor, holder.encode())
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the file while it is still locked, so that no other process can hold it; then unlock."""
        try:
            if self._is_ours() and _is_at(self.descriptor, self.path):
                with contextlib.suppress(OSError):
                    self.path.unlink()
        finally:
            os.close(self.descriptor)

    def _is_ours(self) -> bool:
        os.lseek(self.descriptor, 0, os.SEEK_SET)
        return os.read(self.descriptor, len(_MARK)) in (b"", _MARK)


def take(path: Path) -> Lock | None:
    """Return the lock on the file ``path``, created if needed; None if another process holds it.

    No link is followed and only a regular file is opened. Raises OSError.
    """
    while True:
        descriptor = _open(path)
        try:
            is_exclusive = _flock(descriptor)
            if _is_at(descriptor, path):
                return Lock(path, descriptor, is_exclusive)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its owner has just finished and removed it: try again


def holder(path: Path) -> str:
    """Return the process that holds the lock on ``path``, as written in the file."""
    with contextlib.suppress(OSError), os.fdopen(os.open(path, os.O_RDONLY | _SAFE), "rb") as stream:
        if (found := stream.read(200)).startswith(_MARK):
            return found.decode(errors="replace")
    return "another process"


def _open(path: Path) -> int:
    if path.is_symlink():
        raise OSError(errno.ELOOP, "it is a link, not a lock", str(path))
    if path.exists() and not path.is_file():  # opening a device can have effects
        raise OSError(errno.EINVAL, "it is a folder, pipe or device, not a lock", str(path))
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _SAFE, 0o666)
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode) and found.st_nlink <= 1:
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "it is a file with another name, too, or with none, not a lock", str(path))


def _flock(descriptor: int) -> bool:
    """Lock a file; return whether the system supports that. Raises BlockingIOError if it is locked."""
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _BUSY:
            raise BlockingIOError(*error.args) from error
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    return False
