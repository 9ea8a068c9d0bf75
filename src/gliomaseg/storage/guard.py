"""What may be written over: never an input, and never a file that gliomaseg did not write."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from gliomaseg.errors import OutputError
from gliomaseg.storage import files

#: What a file browser leaves in any folder it shows; nothing is lost with it.
BROWSERS_OWN = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
#: What the pages of gliomaseg have in their head.
PAGE = "· gliomaseg</title>".encode()
#: How far into a file its mark is looked for, in bytes.
_FIRST = 4096


def refuse_inputs(output: Path, targets: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Raise OutputError (E-OUTPUT) where ``output``, or what is to be written there, touches an input.

    No target may be an input or hold one at any depth, and no image may lie in ``output`` itself: results
    and data are never mixed. Links and names in another case count as what they lead to.
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
    """Raise OutputError where ``path`` can't become a file: one of ``inputs``, a folder, or there already.

    An input is refused by whatever name it has, also with ``overwrite``. ``option`` is what named it.
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
            f"{path} is there already",
            expected="the name of a new file",
            remedy=f"choose another name with {option}, or replace it with --overwrite",
        )


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what a path leads to, whatever it is called; None where there is nothing."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def refuse_foreign(path: Path, marks: Iterable[bytes], *, overwrite: bool | None, option: str = "-o") -> None:
    """Raise OutputError (E-EXISTS) where ``path`` is a file of someone else, unless with ``overwrite``.

    A file of ours has one of ``marks`` in its first bytes. None: there is no --overwrite.
    ``option`` is what named it.
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
            f"{path} is there already, and is not what gliomaseg wrote there before",
            expected="a new file, or an older one of the same kind",
            remedy=f"choose another name with {option}"
            + ", or replace it with --overwrite" * (overwrite is not None),
        )
