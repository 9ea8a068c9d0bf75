"""Files written whole or not at all, and known by their hash. Ignorant of what is in them."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TextIO

from gliomaseg.errors import GliomasegError, OutputError


@contextlib.contextmanager
def open_atomic(path: Path) -> Iterator[BinaryIO]:
    """Open a binary file that appears under ``path`` only when the block ends without an error.

    A temporary file in the same folder is written, flushed to the disk and renamed.
    Raises OutputError (E-DISK, E-PERM, E-OUTPUT).
    """
    temporary: Path | None = None
    try:
        descriptor, name = tempfile.mkstemp(prefix=draft_prefix(), suffix=path.suffix, dir=path.parent)
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise output_error(error, path) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def open_folder(target: Path) -> Iterator[Path]:
    """Give a new folder that takes the place of ``target`` only when the block ends without an error.

    What was there before is moved aside first, and moved back if the new folder can't take its place; a
    kill in between leaves it to ``clear_leftovers``. Raises OutputError (E-DISK, E-PERM, E-OUTPUT).
    """
    try:
        with tempfile.TemporaryDirectory(prefix=draft_prefix(), dir=target.parent) as draft:
            folder, before = Path(draft, "new", target.name), Path(draft, _BEFORE, target.name)
            folder.mkdir(parents=True)
            before.parent.mkdir()
            yield folder
            if target.exists():
                target.replace(before)
            try:
                folder.replace(target)
            except OSError:
                if not target.exists():
                    before.replace(target)
                raise
            _sync_folder(target.parent)
    except OSError as error:
        raise output_error(error, target) from error


#: Where a draft keeps the folder that it is about to replace.
_BEFORE = "before"


@contextlib.contextmanager
def claim(target: Path) -> Iterator[None]:
    """Keep every other process from working on ``target`` during the block.

    The lock is the kernel's (flock) on ``.lock-NAME`` beside the target, so that it ends with its
    process, however that ends: a file left by a killed process is no lock. Where a file system or Windows
    knows no such lock the block runs without: results still appear whole, at worst they are made twice.
    Raises OutputError (E-LOCKED).
    """
    path = target.with_name(f".lock-{target.name}")
    try:
        stream = _lock(path)
    except OSError as error:
        raise output_error(error, path) from error
    if stream is None:
        raise _locked(target, path)
    with stream:
        holder = f"process {os.getpid()} on {_machine()} since {time.strftime('%Y-%m-%d %H:%M:%S')}"
        with contextlib.suppress(OSError):  # on a full disk the lock holds all the same
            stream.truncate(0)
            os.write(stream.fileno(), holder.encode())
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # while it is locked: nobody else can hold this very file
                path.unlink()


def _lock(path: Path) -> TextIO | None:
    """Return the locked file, or None if another process holds it."""
    while True:
        stream = path.open("a", encoding="utf-8")
        try:
            if sys.platform != "win32":
                import fcntl

                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_file_at(stream, path):
                return stream
        except BlockingIOError:
            stream.close()
            return None
        except OSError:  # this file system has no locks
            return stream
        stream.close()  # its owner finished and removed it just now: try again


def _is_file_at(stream: TextIO, path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    return False


def _locked(target: Path, path: Path) -> OutputError:
    try:
        holder = path.read_text(encoding="utf-8") or "another process"
    except OSError:
        holder = "another process"
    return OutputError(
        "E-LOCKED",
        f"{target} is being written by {holder}",
        expected="one process at a time for a case",
        remedy="wait until it has ended, then give the same command again",
    )


def draft_prefix() -> str:
    """Return how the names of this process's unfinished files begin: with its number and its machine."""
    return f".tmp-{os.getpid()}-{_machine()}-"


def clear_leftovers(folder: Path) -> None:
    """Remove what killed processes of this machine left unfinished in ``folder``; others are left alone.

    A folder that was moved aside by a process killed before it could put the new one there is put back.
    """
    for path in folder.glob(".tmp-*"):
        match = re.fullmatch(r"\.tmp-(\d{1,9})-(?:(\w*)-)?[^-]*", path.name, re.ASCII)
        if not match or match[2] not in (None, _machine()) or _is_alive(int(match[1])):
            continue
        for before in path.glob(f"{_BEFORE}/*"):
            if not (folder / before.name).exists():
                before.replace(folder / before.name)
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def _machine() -> str:
    return re.sub(r"\W", "", platform.node(), flags=re.ASCII)


def _is_alive(process: int) -> bool:
    if os.name != "posix":  # there, os.kill would end the process instead of asking for it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` whole or not at all."""
    with open_atomic(path) as stream:
        stream.write(data)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8 to ``path`` whole or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, content: object) -> None:
    """Write ``content`` as readable JSON to ``path`` whole or not at all."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def make_folder(path: Path, *, room: int = 0) -> Path:
    """Create a folder for results and prove that ``room`` bytes can be written, before any work is done.

    Raises OutputError (E-OUTPUT, E-PERM, E-DISK).
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(prefix=draft_prefix(), dir=path):
            pass
        free = shutil.disk_usage(path).free
    except OSError as error:
        raise output_error(error, path) from error
    if free < room:
        raise OutputError(
            "E-DISK",
            f"{path} has room for {free / 1e6:,.0f} MB",
            expected=f"about {room / 1e6:,.0f} MB for the results",
            remedy="free some space or choose another folder with -o; nothing was written",
        )
    return path


def output_error(error: OSError, path: Path) -> GliomasegError:
    """Return the OutputError that tells in words why ``path`` could not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutputError(
            "E-DISK",
            f"no room left while writing {path}",
            expected="free space for the result",
            remedy="free some space or choose another folder with -o; nothing half-written was left",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return OutputError(
            "E-PERM",
            f"{path} can't be written: {error.strerror}",
            expected="a folder where you may write",
            remedy="choose another folder with -o, or change its permissions",
        )
    return OutputError(
        "E-OUTPUT",
        f"{path} can't be written: {error.strerror or error}",
        expected="a folder, existing or new",
        remedy="choose another folder with -o",
    )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network disks can't; the file is there all the same
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
