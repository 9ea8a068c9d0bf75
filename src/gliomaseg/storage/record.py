"""What run.json says of a result: its shape, proven once for every reader. Door: pydantic.

Older versions' words are put into today's here, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

#: What decides whether a result that is there is the one that would be made now.
IDENTITY = (
    "schema_version",
    "gliomaseg",
    "scheme",
    "model",
    "precision",
    "quality",
    "maps",
    "only",
    "inputs",
    "settings",
)

#: What versions before 0.2 called quality, under the key ``verdict``.
_FORMER = {"ok": "pass", "check": "review", "doubtful": "unreliable"}


class _Note(BaseModel):
    code: str
    what: str
    remedy: str


class _Input(BaseModel):
    sha256: str
    file: str = ""


class _Record(BaseModel):
    """The keys that are read by anyone; others may be there."""

    scheme: str = ""
    note: str = ""
    labels: str = ""
    gliomaseg: str = ""
    python: str = ""
    libraries: dict[str, str] = {}
    model: dict[str, str] = {}
    precision: str = ""
    missing: list[str] = []
    seen_in_training: bool = False
    voxel_mm: list[float] = []
    inputs: dict[str, _Input] = {}
    settings: dict[str, Any] = {}
    seconds: dict[str, float] = {}
    notes: list[_Note] = []
    outputs: dict[str, str] = {}


def parse_record(content: object) -> dict[str, Any]:
    """Return what run.json holds, its shape proven; raises ValueError in words."""
    if isinstance(content, dict) and "warnings" in content:  # what they were called before 0.2
        content = {("notes" if key == "warnings" else key): value for key, value in content.items()}
    try:
        _Record.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise ValueError(f"{where}: {first['msg']}") from error
    return {"outputs": {}} | dict(content)  # type: ignore[call-overload, no-any-return]  # proven a mapping


def renamed(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return stored numbers in today's words: before 0.2 there were a ``verdict`` and a ``crosses_midline``.

    Raises LookupError and TypeError for what no version wrote.
    """
    rest = dict(record)
    if former := rest.pop("verdict", None):
        rest |= {"quality": _FORMER[former["verdict"]], "reasons": former["reasons"]}
    side = rest.get("side")
    if isinstance(side, dict) and "crosses_midline" in side:
        new = {("crosses_symmetry_plane" if k == "crosses_midline" else k): v for k, v in side.items()}
        rest["side"] = new
    return rest
