"""run.json, the record of a result: checked once for all readers, with keys of older versions renamed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

#: The schema of run.json that is written now; older ones are read, newer ones are refused.
RUN_SCHEMA = 3
#: The keys that decide whether an existing result is the one that would be made now.
IDENTITY = (
    "schema_version",
    "gliomaseg",
    "scheme",
    "model",
    "precision",
    "quality",
    "maps",
    "only",
    "exam",
    "inputs",
    "settings",
)
#: Keys before 0.2, and names of qualities when they were stored under ``verdict``.
_KEYS = {"warnings": "notes", "crosses_midline": "crosses_symmetry_plane"}
_FORMER = {"ok": "pass", "check": "review", "doubtful": "unreliable"}


class _Note(BaseModel):
    code: str
    what: str
    remedy: str


class _Input(BaseModel):
    sha256: str
    file: str = ""


class Placed(BaseModel):
    """How a sequence of a raw exam lay.

    ``matrix`` (4, 4) leads from the standardised images to its file, in RAS mm. ``moved_mm`` is how far
    registration moved it from where its header placed it, ``there_and_back_mm`` what registering there and
    back left at most.
    """

    matrix: list[list[float]]
    moved_mm: float
    there_and_back_mm: float
    shape: tuple[int, int, int]
    voxel_mm: tuple[float, float, float]

    @property
    def slices(self) -> int:
        """Return the number of slices: along the longest side of a voxel, the last of equal ones."""
        return max(zip(self.voxel_mm, (0, 1, 2), self.shape, strict=True))[2]


class Standardisation(BaseModel):
    """How the sequences of a raw exam were put on ``frame``, one of them.

    ``brain_ml`` is None where no brain was cut out of a head.
    """

    frame: str
    sequences: dict[str, Placed]
    brain_ml: float | None = None


class RunRecord(BaseModel):
    """The keys that readers use; there may be others."""

    schema_version: int = 0
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
    standardised: Standardisation | None = None
    outputs: dict[str, str] = {}


def is_newer(content: object) -> bool:
    """Return whether a newer version of gliomaseg wrote a record."""
    version = content.get("schema_version") if isinstance(content, dict) else None
    return isinstance(version, int) and version > RUN_SCHEMA


def parse_record(content: object) -> dict[str, Any]:
    """Return the content of run.json with today's keys; raises ValueError if its shape is wrong."""
    try:
        content = renamed(content) if isinstance(content, dict) else content
        RunRecord.model_validate(content)
    except (LookupError, TypeError) as error:
        raise ValueError("it has a verdict that no version wrote") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise ValueError(f"{where}: {first['msg']}") from error
    return {"outputs": {}} | dict(content)  # type: ignore[call-overload, no-any-return]  # a mapping, as checked


def renamed(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of run.json or measurements.json with the keys of today's version.

    Raises LookupError and TypeError for content that no version wrote.
    """
    rest = {_KEYS.get(key, key): value for key, value in record.items()}
    if former := rest.pop("verdict", None):
        rest |= {"quality": _FORMER[former["verdict"]], "reasons": former["reasons"]}
    if isinstance(side := rest.get("side"), dict):
        rest["side"] = {_KEYS.get(key, key): value for key, value in side.items()}
    return rest
