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
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

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


def draft_prefix() -> str:
    """Return how the names of this process's unfinished files begin: with its number and its machine."""
    return f".tmp-{os.getpid()}-{_machine()}-"


def clear_leftovers(folder: Path) -> None:
    """Remove what killed processes of this machine left unfinished in ``folder``; others are left alone."""
    for path in folder.glob(".tmp-*"):
        match = re.fullmatch(r"\.tmp-(\d{1,9})-(?:(\w*)-)?[^-]*", path.name, re.ASCII)
        if match and match[2] in (None, _machine()) and not _is_alive(int(match[1])):
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


def make_folder(path: Path) -> Path:
    """Create a folder for results and prove that it can be written to, before any work is done.

    Raises OutputError (E-OUTPUT, E-PERM, E-DISK).
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(prefix=draft_prefix(), dir=path):
            pass
    except OSError as error:
        raise output_error(error, path) from error
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
