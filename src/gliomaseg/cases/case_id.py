"""The id of a case: which patient and session it names, and whether a folder can bear it."""

from __future__ import annotations

import re

from gliomaseg.errors import CaseError, UsageError

#: Ids that name a patient and a session (in BraTS 2023 and later: the timepoint).
_SESSIONS = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(BraTS-[a-z]+-\d+)-(\d{3})",
        r"(sub-[a-z0-9]+)_(ses-[a-z0-9]+)",
        r"(UCSF-PDGM-\d+)_(FU\d+d)",
        r"(UPENN-GBM-\d+)_(\d+)",
        r"(TCGA-\w\w-\w{4})_(\d{4}\.\d\d\.\d\d)",
        r"(BraTSReg_\d+)_(\d\d(?:_\d{4})?)",
        r"(Patient-\d+)_(week-[\d-]+)",
    )
]
#: The longest id, in bytes: a file system allows names of 255, and locks and drafts put something before it.
_LONGEST_ID = 200
#: What no folder can be called on Windows, or lies beside the cases' folders in the results.
_RESERVED = re.compile(
    r"(?:con|prn|aux|nul|com[1-9]|lpt[1-9])(?:\..*)?|summary\.csv", re.IGNORECASE | re.DOTALL
)
#: What an error says.
ID_EXPECTED = f"a name of at most {_LONGEST_ID} bytes that a folder can bear, also on Windows"


def split_id(case_id: str) -> tuple[str, str]:
    """Return the patient and the session that an id names; the id itself and "" where it names none."""
    found = next((match for pattern in _SESSIONS if (match := pattern.fullmatch(case_id))), None)
    return (found[1], found[2]) if found else (case_id, "")


def is_id(text: str) -> bool:
    """Return whether a folder can be called so, here and on Windows."""
    return (
        bool(text)
        and len(text.encode(errors="surrogateescape")) <= _LONGEST_ID
        and text[0] != "."
        and text[-1] not in ". "
        and not set("/\\\0") & set(text)
        and not _RESERVED.fullmatch(text)
    )


def bad_id(text: str) -> CaseError:
    """Return the error of an id that can't be the name of a folder."""
    shown = text if len(text) < 60 else f"{text[:50]}..., {len(text)} characters"
    return CaseError(
        "E-ID",
        f"{shown!r} can't be the id of a case",
        expected=ID_EXPECTED,
        remedy="give the cases other ids in a CSV list: no slash, no dot at the beginning, no dot or space "
        "at the end, not con, nul or the like",
    )


def require_id(case_id: str) -> None:
    """Raise UsageError (E-USAGE) for an id that can't be a folder's name."""
    if not is_id(case_id):
        raise UsageError("E-USAGE", bad_id(case_id).what, expected=ID_EXPECTED, remedy="give another --id")
