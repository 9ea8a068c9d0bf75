"""Walk folders at any depth: each folder once, with its files. No file is opened.

Links are followed; hidden names, gliomaseg's own results and, in a BIDS data set, derivatives and sources are
skipped.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from gliomaseg.cases.layouts import parse_name
from gliomaseg.errors import ImageError
from gliomaseg.imaging.formats import is_image_name
from gliomaseg.imaging.stored_file import unreadable
from gliomaseg.storage.result_folder import RECORD, ResultFolder

#: The file that marks a BIDS data set, and its folders that hold no raw images.
_BIDS = "dataset_description.json"
_NOT_RAW = ("derivatives", "sourcedata")
#: A data set without that file is known by its folders of subjects, or of raw data.
_RAW = re.compile(r"sub-.+|rawdata")


@dataclass(frozen=True)
class Folder:
    """One folder and its files as (name, path), or the error of reading it.

    ``depth`` counts from the root of the walk; ``names`` are the last two of its path, each with a slash.
    """

    path: Path
    depth: int
    names: str
    files: tuple[tuple[str, Path], ...] = ()
    error: ImageError | None = None


def walk(root: Path) -> Iterator[Folder]:
    """Yield ``root`` and the folders below it in the order of names, each once."""
    seen: set[tuple[int, int]] = set()
    todo = [(root, 0, root.resolve().parts[-2:])]
    while todo:
        path, depth, names = todo.pop()
        tail = "".join(f"{name}/" for name in names)
        try:
            status = path.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            files, folders = _list(path)
        except OSError as error:
            yield Folder(path, depth, tail, error=unreadable(path, error, "a folder that you may list"))
            continue
        known = {name for name, _ in files}
        if RECORD in known and ResultFolder(path).is_result():
            continue
        yield Folder(path, depth, tail, tuple(files))
        left_out = _NOT_RAW if _BIDS in known or any(map(_RAW.fullmatch, folders)) else ()
        below = [name for name in reversed(folders) if name not in left_out]
        todo += [(path / name, depth + 1, (*names[-1:], name)) for name in below]


def dicom_folders(root: Path, known: Collection[Path]) -> dict[Path, int]:
    """Return the folders below ``root`` with files named like DICOM, and their number, without ``known``."""
    counts = {
        folder.path: sum(
            name.lower().endswith((".dcm", ".ima")) or name.upper() == "DICOMDIR"
            for name, path in folder.files
            if path not in known
        )
        for folder in walk(root)
    }
    return {path: count for path, count in counts.items() if count}


def _list(path: Path) -> tuple[list[tuple[str, Path]], list[str]]:
    """Return the files of a folder by name, and its folders.

    What is neither (a broken link, a pipe) counts as a file: reading it raises the error.
    """
    files: list[tuple[str, Path]] = []
    folders: list[str] = []
    with os.scandir(path) as found:
        entries = sorted((entry for entry in found if entry.name[0] != "."), key=lambda entry: entry.name)
    for entry in entries:
        try:
            is_folder = entry.is_dir()
        except OSError:  # a circular link
            is_folder = False
        file = _file_in_folder(path / entry.name) if is_folder else (entry.name, path / entry.name)
        if file:
            files.append(file)
        else:
            folders.append(entry.name)
    return files, folders


def _file_in_folder(folder: Path) -> tuple[str, Path] | None:
    """Return the only file of a folder that is named like a sequence, as in Kaggle's copies of BraTS.

    A folder whose name even ends like an image's, but that holds no such file, is returned itself.
    """
    has_ending = is_image_name(folder.name)
    name = folder.name if has_ending else f"{folder.name}.nii"
    parsed = parse_name(name)
    if parsed is None or parsed.channel is not None:
        return None
    try:
        inside = [path for path in folder.iterdir() if path.name[0] != "."]
    except OSError:
        inside = []
    if len(inside) == 1 and is_image_name(inside[0].name) and not inside[0].is_dir():
        return name, inside[0]
    return (name, folder) if has_ending else None
