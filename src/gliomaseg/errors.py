"""The errors of gliomaseg, each with a stable code and three lines: given, expected, remedy.

    GliomasegError
    ├── UsageError        the command or call itself is wrong            exit 2
    ├── ImageError        one file can't be read as an image
    ├── CaseError         the files of one case don't fit together, or no case was found
    ├── LabelError        a label map contradicts its label scheme
    ├── OutputError       a result can't be written
    ├── ModelError        a bundle is missing, damaged or of another kind
    ├── SettingsError     a setting or preset is misspelled or out of range
    └── TrainingError     a training can't start or continue

``CODES`` is the only list of their codes. A ``Note`` is a warning with a code of ``NOTES``: the work
continued.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

CODES: dict[str, str] = {
    "E-USAGE": "the command was called in a way that can't be carried out",
    "E-NOFILE": "a file or folder that was named does not exist",
    "E-PERM": "a file can't be read or written with the present permissions",
    "E-EMPTY": "a file has no content",
    "E-TRUNCATED": "a file ends before its data do",
    "E-CORRUPT": "a compressed file fails its own checksum",
    "E-POINTER": "a file is a placeholder (Git LFS, git-annex, DVC, a web page), not an image",
    "E-FORMAT": "a file is not a NIfTI image",
    "E-BOMB": "a compressed file holds far more than its header announces",
    "E-TOOBIG": "an image is larger than the limit",
    "E-HEADER": "a NIfTI header contradicts itself",
    "E-DTYPE": "an image has a voxel type that is not a scalar intensity",
    "E-NDIM": "an image does not have three dimensions",
    "E-CONSTANT": "an image has the same value everywhere",
    "E-VALUES": "an image has voxels that are not numbers",
    "E-WRAPPED": "bright voxels of an image are too large for its integer type and became negative",
    "E-SPACING": "a voxel size is missing or impossible",
    "E-AFFINE": "the place of an image in space is undefined",
    "E-GRID": "images of one case lie on different grids",
    "E-REGISTER": "a sequence can't be moved onto the others of its exam",
    "E-STRIP": "no plausible brain was found in a head",
    "E-MODALITY-ORDER": "the sequences of a case seem to be swapped",
    "E-SKULL": "an image shows the whole head, not the brain alone",
    "E-NOTBRAIN": "the images don't look like a brain's",
    "E-NOTMRI": "an image is not an MRI sequence, but a CT",
    "E-FLIP": "a reference fits its images better when it is mirrored",
    "E-CHANGED": "a file changed while it was read",
    "E-DUPLICATE": "two sequences of a case are the same image",
    "E-MODALITY": "a sequence that the model needs is missing",
    "E-UNKNOWN": "a case lacks a sequence, and an image in its folder was not understood by its name",
    "E-NOCASE": "no case was found",
    "E-ID": "the id of a case can't be the name of a folder",
    "E-DUPID": "two cases bear the same id, or a case has two files for one sequence",
    "E-MANIFEST": "a CSV list of cases can't be understood",
    "E-NOREF": "a case has no reference label map",
    "E-LABELS": "a label map has values outside its label scheme",
    "E-LABEL": "a label map has values that are not whole numbers",
    "E-OUTPUT": "the output folder can't be used",
    "E-EXISTS": "the output folder already holds a result",
    "E-LOCKED": "another process is writing the same result",
    "E-DISK": "there is no room left on the disk",
    "E-MEM": "there is not enough memory",
    "E-LIMIT": "the system grants no more threads, processes or open files",
    "E-MODEL": "a model bundle is missing, incomplete or damaged",
    "E-SETTING": "a setting is unknown or has an impossible value",
    "E-PRESET": "a preset is unknown",
    "E-EXTRA": "an optional part of gliomaseg is not installed",
    "E-REPORT": "a result is not as gliomaseg wrote it, or its report is of another version",
    "E-RUN": "a run folder belongs to a training with other settings",
    "E-LOSS": "the training loss is not a number any more",
    "E-FEWCASES": "there are too few cases for the wanted split",
    "E-INTERNAL": "something went wrong that gliomaseg does not know how to name",
}

NOTES: dict[str, str] = {
    "W-EXT": "a file's name does not say how it is stored",
    "W-TRAILING": "bytes follow the data of an image",
    "W-NDIM": "a file with four dimensions and one volume was taken as three-dimensional",
    "W-SCALE": "the header's scaling is not a number and was ignored",
    "W-VALUES": "voxels that were NaN or infinite were replaced",
    "W-RANGE": "an image has negative or very large intensities",
    "W-BACKGROUND": "the background is one number other than 0, and was set to 0",
    "W-SPACING": "the voxels are not 1 mm: computed at 1 mm, labelled on the case's own grid",
    "W-THICK": "slices are thicker than 3 mm: computed at 1 mm, with more uncertainty",
    "W-COARSE": "voxels are longer than 10 mm: the result is unreliable",
    "W-ORIENT": "a header does not define the orientation: left and right are not certain",
    "W-AFFINE": "the two transforms of a header differ slightly",
    "W-GRID": "an image was resampled to the grid of another",
    "W-MOVED": "registration moved a sequence far from where its header places it",
    "W-SKULL": "some sequences showed the whole head, others the brain alone",
    "W-ALIGN": "the sequences seem not to be registered to each other",
    "W-WINDOW": "the brain was computed in windows, because memory was short",
    "W-MISSING": "a sequence is missing; the case was segmented without it",
    "W-UNKNOWN": "images in a case's folder were not recognised by their names, and ignored",
    "W-UNLIKE": "the sequences differ in appearance from those of BraTS",
    "W-CONTRAST": "the T1 with contrast shows no more enhancement than the T1 without",
    "W-STRIP": "the mask of the brain has an unusual shape, or may cut a tumour",
    "W-COVER": "a sequence does not cover the whole brain",
    "W-EDGE": "the brain touches the edge of the image",
    "W-FORCED": "a failed content check was ignored: with --force, or in training",
    "W-NOTUMOUR": "no tumour was found: all volumes are 0",
    "W-EMPTYREF": "a reference contains no tumour",
    "W-OUTSIDE": "part of a reference lies outside the brain",
}


class Note(NamedTuple):
    """A warning: what was noticed, and what was done or can be done about it."""

    code: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.code}: {self.what}; {self.remedy}"


class GliomasegError(Exception):
    """An error with three lines: what was given, what was expected, the remedy. Codes keep their meaning."""

    exit_code = 1

    def __init__(self, code: str, what: str, *, expected: str = "", remedy: str = "") -> None:
        super().__init__(what)
        self.code = code
        self.what = what
        self.expected = expected or CODES[code]
        self.remedy = remedy

    def __str__(self) -> str:
        parts = [f"{self.code}: {self.what}", f"expected: {self.expected}"]
        return "\n".join([*parts, f"remedy: {self.remedy}"] if self.remedy else parts)

    def __reduce__(self) -> tuple[object, ...]:
        return partial(type(self), expected=self.expected, remedy=self.remedy), (self.code, self.what)

    def reworded(self, change: Callable[[str], str]) -> GliomasegError:
        """Return the same error with ``change`` applied to its sentences."""
        words = {"expected": change(self.expected), "remedy": change(self.remedy)}
        again = type(self)(self.code, change(self.what), **words)
        again.__cause__ = self
        return again

    def as_dict(self) -> dict[str, str]:
        """Return the error as plain strings, for ``--json``."""
        return {name: getattr(self, name) for name in ("code", "what", "expected", "remedy")}


class UsageError(GliomasegError):
    """The command or call itself is wrong."""

    exit_code = 2


class ImageError(GliomasegError):
    """One file can't be read as an image."""


class CaseError(GliomasegError):
    """The files of one case don't fit together, or no case was found."""


class LabelError(GliomasegError):
    """A label map contradicts its label scheme."""


class OutputError(GliomasegError):
    """A result can't be written."""


class ModelError(GliomasegError):
    """A bundle is missing, damaged or of another kind."""


class SettingsError(GliomasegError):
    """A setting or preset is misspelled or out of range."""


class TrainingError(GliomasegError):
    """A training can't start or continue."""


def missing_extra(
    what: str, error: ModuleNotFoundError, *, remedy: str = "", extra: str = "train"
) -> SettingsError:
    """Return the error of ``what`` needing a library of an ``extra``; ``remedy`` is another way out."""
    return SettingsError(
        "E-EXTRA",
        f"{what} needs {error.name}, which is not installed",
        expected=f"the extra [{extra}]",
        remedy=f'pip install ".[{extra}]" in the folder of gliomaseg{remedy}',
    )


def exit_code(failed: int, cases: int) -> int:
    """Return 0 if no case failed, 1 if all did (or the only one), 3 if some of several did."""
    return 0 if not failed else 1 if failed == cases else 3


def as_coded(error: Exception) -> GliomasegError:
    """Return any exception as an error with a code and a remedy, caused by the exception."""
    if isinstance(error, GliomasegError):
        return error
    if isinstance(error, MemoryError):
        coded = GliomasegError(
            "E-MEM",
            "the memory ran out",
            remedy="close other programs, or lower --max-memory (segment) or --jobs (evaluate)",
        )
    elif _is_refused(error):
        coded = GliomasegError(
            "E-LIMIT",
            f"the system grants this process no more threads, processes or open files: {error}",
            remedy="end other programs, or raise the limit (ulimit -u for threads, ulimit -n for files)",
        )
    elif isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        coded = GliomasegError("E-DISK", f"no room left: {error}", remedy="free some space on the disk")
    elif isinstance(error, OSError):
        what = f"{error.filename or 'a file'}: {error.strerror or error}"
        coded = GliomasegError(
            "E-NOFILE" if isinstance(error, FileNotFoundError) else "E-PERM",
            what,
            remedy="check the path, its permissions and the disk",
        )
    else:
        what = f"{type(error).__name__}: {error}"
        coded = GliomasegError(
            "E-INTERNAL", what, remedy="give the same command with --debug, and report the output"
        )
    coded.__cause__ = error
    return coded


def _is_refused(error: Exception) -> bool:
    """Return whether a limit of the system was reached; for threads Python has no specific error."""
    if isinstance(error, OSError):
        return error.errno in (errno.EAGAIN, errno.EMFILE, errno.ENFILE)
    return isinstance(error, RuntimeError) and "can't start new thread" in str(error)


def strip_folders(text: str) -> str:
    """Return ``text`` without folders that could identify the user or the patient.

    These are the folders of the paths on the command line, of the program and of the user.
    """
    given = [argument.rpartition("=")[2] for argument in sys.argv[1:]]
    folders = {str(Path(name).parent) for name in given if Path(name).is_absolute()}
    program = {str(Path(__file__).parents[1]), str(Path(contextlib.__file__).parent), sys.prefix}
    for find in (Path.cwd, Path.home):
        with contextlib.suppress(OSError, RuntimeError):  # deleted, or a user without one
            folders.add(str(find()))
    for folder in sorted(folders | program, key=len, reverse=True):
        if len(folder) > 1:
            text = text.replace(folder + os.sep, "")
    return text
