"""What verbs are given: cases by a path or by files, a JSON file, the extra [train]."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from gliomaseg.cases.case import Case, by_modality
from gliomaseg.cases.find import case_of_files, find_cases
from gliomaseg.errors import UsageError, missing_extra
from gliomaseg.imaging.formats import is_nifti_name
from gliomaseg.imaging.stored_file import missing_file
from gliomaseg.labels import Modality
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


def with_mask(cases: Sequence[Case], mask: Path) -> list[Case]:
    """Return the only case with its brain mask; raises UsageError for several, ImageError for no file."""
    if len(cases) > 1:
        raise UsageError(
            "E-USAGE",
            f"--mask is the brain mask of one exam, but there are {len(cases)} cases",
            expected="one case with --mask",
            remedy="give the cases one by one, each with its own mask",
        )
    if not mask.is_file():
        raise missing_file(mask)
    return [replace(case, brain_mask=mask) for case in cases]


def choose_sequences(text: str) -> tuple[Modality, ...] | Literal["all"]:
    """Return the sequences that ``text`` lists with commas, or "all"; raises CaseError (E-MODALITY)."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    return "all" if names == ["all"] else tuple(by_modality(dict.fromkeys(names)))


def bids_folder(output: Path, cases: Sequence[Case]) -> Path:
    """Return the folder of the BIDS data set in ``output``, which can become one.

    Raises UsageError (E-USAGE) if ``output`` is a file, OutputError (E-EXISTS, E-OUTPUT).
    """
    from gliomaseg.exchange.bids import FOLDER, require_bids

    if is_nifti_name(output.name):
        raise UsageError(
            "E-USAGE",
            f"-o {output} names one file, but --bids writes a data set",
            expected="a folder for results with --bids",
            remedy="give a folder with -o, or leave --bids out",
        )
    require_bids(output / FOLDER, cases)
    return output / FOLDER


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
