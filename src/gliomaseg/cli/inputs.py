"""What verbs are given: cases by a path or by files, a JSON file, the extra [train]."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gliomaseg.cases.case import Case
from gliomaseg.cases.find import case_of_files, find_cases
from gliomaseg.errors import UsageError, missing_extra
from gliomaseg.storage import files


def choose_cases(
    path: Path | None, images: Mapping[str, Path | None], case_id: str | None, *, allow_missing: bool
) -> list[Case]:
    """Return the cases under ``path``, or the one of ``images``; raises UsageError for neither or both."""
    given = {name: file for name, file in images.items() if file is not None}
    if (path is None) == (not given):
        raise UsageError(
            "E-USAGE",
            "give either a path or the files of one case",
            expected="gliomaseg segment PATH, or --t1n A --t1c B --t2w C --t2f D",
            remedy="see gliomaseg segment --help",
        )
    if path and case_id is not None:
        raise UsageError(
            "E-USAGE",
            "--id names a case of files given one by one, not one of a path",
            expected="--id with --t1n, --t1c, --t2w, --t2f",
            remedy="give the files one by one, or leave --id out",
        )
    return find_cases(path, allow_missing=allow_missing) if path else [case_of_files(given, case_id)]


def read_object(path: Path, option: str) -> dict[str, Any]:
    """Return what a JSON file given with ``option`` holds; raises UsageError."""
    try:
        return dict(files.read_json(path))
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(
            "E-USAGE",
            f"{option} {path} can't be read: {error}",
            expected="a JSON object, as benchmarks/model/summary.py writes it",
            remedy=f"write it again, or leave {option} out",
        ) from error


@contextmanager
def training_extra() -> Iterator[None]:
    """Report a missing extra where the block imports from ``gliomaseg.training``."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise missing_extra("training", error, remedy=" (segmenting works without it)") from error
