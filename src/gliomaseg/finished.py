"""Whether a case's folder holds a whole result, and the one that would be made now.

run.json is written last and lists the hash of every other file, so that a folder can prove itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from gliomaseg import files
from gliomaseg.errors import OutputError

RECORD = "run.json"

#: What decides whether a result that is there is the one that would be made now.
_IDENTITY = (
    "schema_version",
    "gliomaseg",
    "scheme",
    "model",
    "precision",
    "quality",
    "maps",
    "inputs",
    "settings",
)
#: What a result without its record may be made of to be taken for an unfinished one.
_OWN = frozenset(
    {
        RECORD,
        "seg.nii.gz",
        "overview.png",
        "thumbnail.jpg",
        "report.html",
        "measurements.json",
        "measurements.csv",
    }
)


def read_record(folder: Path) -> dict[str, Any]:
    """Return run.json of a folder, empty if it is missing or damaged."""
    try:
        found = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def compare(folder: Path, wanted: Mapping[str, Any]) -> Literal["unchanged", "unfinished"]:
    """Return whether ``folder`` holds the result that ``wanted`` describes, or a part of one.

    Raises OutputError (E-EXISTS) where a new result would destroy something: another result, one that was
    edited since, or files of someone else.
    """
    found = read_record(folder)
    outputs: dict[str, str] = found.get("outputs") or {}
    foreign = sorted({path.name for path in folder.iterdir()} - _OWN - outputs.keys())
    if foreign and not outputs:
        raise _in_the_way(folder, f"holds files that are not a result of gliomaseg: {', '.join(foreign[:3])}")
    there = [name for name in outputs if (folder / name).is_file()]
    if any(files.sha256_of(folder / name) != outputs[name] for name in there):
        raise _in_the_way(folder, "holds a result that was edited since")
    if not outputs or len(there) < len(outputs):
        return "unfinished"
    plain = json.loads(json.dumps(dict(wanted)))
    changed = [key for key in _IDENTITY if found.get(key) != plain[key]]
    if changed:
        raise _in_the_way(folder, f"holds another result: its {', '.join(changed)} differ")
    return "unchanged"


def _in_the_way(folder: Path, what: str) -> OutputError:
    return OutputError(
        "E-EXISTS",
        f"{folder} {what}",
        expected="a case folder that is not there yet, or the same result",
        remedy="choose another folder with -o, or replace it with --overwrite",
    )
