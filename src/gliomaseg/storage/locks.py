"""Locks between processes: the kernel's own (flock), which end with their process, however that ends.

Nothing else decides who is alive: process numbers repeat, and containers share the names of their hosts. The
library filelock was tried: its import takes 0.1 s, and it leaves its files behind. Windows and some network
disks have no such lock: there ``Lock.is_sure`` is false and the work is done all the same.
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

#: How a lock file of gliomaseg begins. One with other words is somebody else's and is not changed.
_MARK = b"process "
_BUSY = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)


@dataclass(frozen=True)
class Lock:
    """A lock that is held until the block ends; its file is removed then."""

    path: Path
    descriptor: int
    is_sure: bool

    def __enter__(self) -> Self:
        """Write into the file who holds it, for the words of another process."""
        if self._is_ours():
            holder = f"process {os.getpid()} on {platform.node()} since {time.strftime('%Y-%m-%d %H:%M:%S')}"
            with contextlib.suppress(OSError):  # on a full disk the lock holds all the same
                os.ftruncate(self.descriptor, 0)
                os.lseek(self.descriptor, 0, os.SEEK_SET)
                os.write(self.descriptor, holder.encode())
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the file while it is locked, when nobody else can hold this very one, and let it go."""
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
    """Return the lock on the file ``path``, made if need be; None if it is held already.

    No link is followed and nothing but a regular file is opened. Raises OSError.
    """
    while True:
        descriptor = _open(path)
        try:
            is_sure = _try(descriptor)
            if _is_at(descriptor, path):
                return Lock(path, descriptor, is_sure)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its owner ended and removed it just now: try again


def holder(path: Path) -> str:
    """Return who holds the lock on ``path``, as its file says."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | _SAFE)
        try:
            found = os.read(descriptor, 200)
        finally:
            os.close(descriptor)
        if found.startswith(_MARK):
            return found.decode(errors="replace")
    return "another process"


#: A link is not followed, a pipe is not waited for.
_SAFE = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def _open(path: Path) -> int:
    if path.is_symlink():
        raise OSError(errno.ELOOP, "it is a link, not a lock", str(path))
    if path.exists() and not path.is_file():  # opening a device may do something
        raise OSError(errno.EINVAL, "it is a folder, pipe or device, not a lock", str(path))
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _SAFE, 0o666)
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode) and found.st_nlink <= 1:
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "it is a file of another name too, or none, not a lock", str(path))


def _try(descriptor: int) -> bool:
    """Lock a file, and return whether that is sure; raises BlockingIOError if it is locked already."""
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _BUSY:
            raise BlockingIOError(*error.args) from error
        return False  # this file system has no locks
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    return False
