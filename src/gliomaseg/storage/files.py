"""Files that are written whole or not at all, and identified by their hash."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from gliomaseg.errors import OutputError
from gliomaseg.storage import locks

#: Inside a draft: the folder that it is about to replace, and its lock.
_BEFORE, _LOCK = "before", "lock"
#: The name of a draft: hidden, with eight letters or digits from tempfile.
_PREFIX = ".tmp-"
_DRAFT = re.compile(re.escape(_PREFIX) + r"\w{8}", re.ASCII)
#: The longest name, in bytes, that leaves room for a prefix (the system's limit is 255).
_LONGEST = 240


@contextlib.contextmanager
def open_atomic(path: Path) -> Iterator[BinaryIO]:
    """Open a binary file that appears at ``path`` only if the block ends without an error.

    A draft in the same folder is written, flushed to the disk and renamed.
    Raises OutputError (E-DISK, E-PERM, E-OUTPUT).
    """
    try:
        with draft_folder(path.parent) as draft, (draft / "new").open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
            stream.close()
            (draft / "new").replace(path)
            _sync_folder(path.parent)
    except OSError as error:
        raise output_error(error, path) from error


@contextlib.contextmanager
def open_folder(target: Path) -> Iterator[Path]:
    """Yield a new folder that replaces ``target`` only if the block ends without an error.

    The old folder is moved aside first, and moved back if the new one can't take its place; after a kill in
    between ``clear_leftovers`` does that. Raises OutputError (E-DISK, E-PERM, E-OUTPUT).
    """
    try:
        with draft_folder(target.parent) as draft:
            folder, before = draft / "new" / target.name, draft / _BEFORE / target.name
            folder.mkdir(parents=True)
            before.parent.mkdir()
            yield folder
            if target.exists():
                target.replace(before)
            folder.replace(target)
            _sync_folder(target.parent)
    except OSError as error:
        raise output_error(error, target) from error


@contextlib.contextmanager
def draft_folder(parent: Path) -> Iterator[Path]:
    """Yield a hidden new folder in ``parent`` that is removed when the block ends.

    A lock inside shows that its process is alive; after a kill ``clear_leftovers`` removes the folder.
    """
    draft, lock = _make_draft(parent)
    try:
        with lock:
            yield draft
    finally:
        _remove(draft)


def _make_draft(parent: Path) -> tuple[Path, locks.Lock]:
    while True:
        draft = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        with contextlib.suppress(FileNotFoundError):
            if lock := locks.take(draft / _LOCK):
                return draft, lock
        # before it was locked, another process took it for a leftover: make another one


def clear_leftovers(folder: Path) -> None:
    """Remove the drafts of killed processes from ``folder``: those that no process holds locked.

    A folder that was moved aside and has no successor is moved back. Without exclusive locks nothing is
    removed.
    """
    for draft in folder.glob(f"{_PREFIX}*"):
        if not _DRAFT.fullmatch(draft.name) or draft.is_symlink() or not draft.is_dir():
            continue
        with contextlib.suppress(OSError):  # another user's folder, or just removed
            if lock := locks.take(draft / _LOCK):
                with lock:
                    if lock.is_exclusive:
                        _remove(draft)


def _remove(draft: Path) -> None:
    """Remove a draft, after moving back a folder in it that has no successor."""
    with contextlib.suppress(OSError):  # what can't be moved back stays in the draft
        for before in draft.glob(f"{_BEFORE}/*"):
            if not (draft.parent / before.name).exists():
                before.replace(draft.parent / before.name)
        shutil.rmtree(draft, ignore_errors=True)


@contextlib.contextmanager
def claim(target: Path) -> Iterator[None]:
    """Keep other processes from working on ``target`` during the block.

    The lock is the file ``.lock-NAME`` beside the target. Without support for locks (Windows, some network
    disks) the block runs without: results still appear whole, at worst they are computed twice.
    Raises OutputError (E-LOCKED; E-OUTPUT if that file is something else).
    """
    name = target.name
    if len(os.fsencode(name)) > _LONGEST:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    path = target.with_name(f".lock-{name}")
    try:
        lock = locks.take(path)
    except OSError as error:
        raise output_error(error, path, remedy="remove it, or choose another folder with -o") from error
    if lock is None:
        raise OutputError(
            "E-LOCKED",
            f"{target} is being written by {locks.holder(path)}",
            expected="one process at a time for a case",
            remedy="wait until it has ended, then give the same command again",
        )
    with lock:
        yield


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path``, whole or not at all."""
    with open_atomic(path) as stream:
        stream.write(data)


def write_text(path: Path, text: str) -> None:
    r"""Write ``text`` as UTF-8 to ``path``, whole or not at all.

    Bytes of a file name that are not UTF-8 are written as \udcXX, which JSON reads as the same name.
    """
    write_bytes(path, text.encode("utf-8", errors="backslashreplace"))


def write_json(path: Path, content: object) -> None:
    """Write ``content`` as readable JSON to ``path``, whole or not at all."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def open_regular(path: Path) -> io.BufferedReader:
    """Open a file for reading; raises OSError also for a pipe or device, which could block for ever."""
    if not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():
        raise OSError(errno.EINVAL, "it is a pipe or device, not a file", str(path))
    return path.open("rb")


def read_json(path: Path) -> Any:
    """Return the content of a JSON file; raises OSError, and ValueError for no JSON or too deep nesting."""
    with open_regular(path) as stream:
        text = stream.read()
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal; raises OSError."""
    with open_regular(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def make_folder(path: Path, *, room: int = 0) -> Path:
    """Create a folder for results, and check before any work that ``room`` bytes can be written there.

    Raises OutputError (E-OUTPUT, E-PERM, E-DISK).
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with draft_folder(path):
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


def output_error(error: OSError, path: Path, *, remedy: str = "choose another folder with -o") -> OutputError:
    """Return the OutputError that explains why ``path`` could not be written."""
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
        remedy=remedy,
    )


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network disks can't; the file is there nevertheless
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
