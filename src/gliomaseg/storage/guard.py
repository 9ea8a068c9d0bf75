"""Protection from overwriting: never an input, and never a file that gliomaseg did not write."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from gliomaseg.errors import OutputError
from gliomaseg.storage import files

#: Files that file browsers create in any folder; they may be lost.
BROWSERS_OWN = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
#: The mark of a page of gliomaseg, in its head.
PAGE = "· gliomaseg</title>".encode()
#: The first bytes of a file, which are searched for a mark.
_FIRST = 4096


def refuse_inputs(output: Path, targets: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Raise OutputError (E-OUTPUT) if results in ``output`` would be mixed with ``inputs``.

    No target may be an input or contain one at any depth, and ``output`` itself may not contain an image.
    Links are followed, and names in another case are recognised.
    """
    paths = {p for path in inputs for p in (path.absolute(), path.resolve())}
    homes = {path.parent for path in paths}
    holders = {parent for path in paths for parent in (path, *path.parents)}
    kept, mixed = set(map(_identity, holders)) - {None}, set(map(_identity, homes)) - {None}
    touched = next((target for target in targets if _identity(target) in kept), None)
    if touched is None and _identity(output) in mixed:
        touched = output
    if touched is not None:
        raise OutputError(
            "E-OUTPUT",
            f"{touched} holds images that are to be segmented: results are never written among them",
            expected="a folder for results that is not a folder of images",
            remedy="choose another folder with -o, such as -o out",
        )


def refuse_file(path: Path, inputs: Iterable[Path], *, overwrite: bool, option: str = "-o") -> None:
    """Raise OutputError if ``path`` can't become a file: one of ``inputs``, a folder, or existing.

    An input is refused under any name, also with ``overwrite``. ``option`` is the option that named the path.
    """
    found = _identity(path)
    if found and found in map(_identity, inputs):
        raise OutputError(
            "E-OUTPUT",
            f"{path} is one of the images that are read",
            expected="the name of a new file",
            remedy=f"choose another name with {option}",
        )
    if path.is_dir():
        raise OutputError(
            "E-OUTPUT",
            f"{path} is a folder",
            expected="the name of a new file, or of a folder for results",
            remedy=f"choose another name with {option}",
        )
    if os.path.lexists(path) and not overwrite:
        raise OutputError(
            "E-EXISTS",
            f"{path} exists already",
            expected="the name of a new file",
            remedy=f"choose another name with {option}, or replace it with --overwrite",
        )


def _identity(path: Path) -> tuple[int, int] | None:
    """Return the device and inode of the file that a path leads to; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def refuse_foreign(path: Path, marks: Iterable[bytes], *, overwrite: bool | None, option: str = "-o") -> None:
    """Raise OutputError (E-EXISTS) if ``path`` is a file of another program, unless ``overwrite``.

    A file of gliomaseg has one of ``marks`` in its first bytes. ``overwrite`` is None for a command without
    --overwrite; ``option`` is the option that named the path.
    """
    if overwrite or not os.path.lexists(path) or path.is_dir():
        return
    try:
        with files.open_regular(path) as stream:
            first = stream.read(_FIRST)
    except OSError:
        first = b""
    if not any(mark in first for mark in marks):
        raise OutputError(
            "E-EXISTS",
            f"{path} exists already, and was not written by gliomaseg",
            expected="a new file, or an older one of the same kind",
            remedy=f"choose another name with {option}"
            + ", or replace it with --overwrite" * (overwrite is not None),
        )
