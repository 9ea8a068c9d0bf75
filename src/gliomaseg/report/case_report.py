"""The report of a case: what its page shows, as a frozen model whose JSON is report.json.

The page holds the same JSON; viewer.js reads ``slices``. A report holds no path and no header text: only ids,
file names and numbers.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from gliomaseg.evaluation.agreement import Agreement
from gliomaseg.measurement.measurements import Measurements
from gliomaseg.measurement.quality import Quality
from gliomaseg.report.packing import Channel, Crop
from gliomaseg.report.pages import CASE_SCRIPTS, render
from gliomaseg.storage.record import RunRecord

#: What precedes the base64 text of a volume or picture within a page.
_MARK = b";base64,"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Outline(_Model):
    """A region or tissue as it is drawn, in the colour and dashes of overview.png; numbers of its tissues."""

    name: str
    title: str
    colour: str
    dash: tuple[float, ...]
    numbers: tuple[int, ...]
    is_region: bool


class Kind(_Model):
    """How voxels of two label maps agree, and how that is drawn."""

    name: str
    title: str
    colour: str
    dash: tuple[float, ...] = ()
    hatched: bool = False


class TissueStyle(_Model):
    """The name of a tissue, and its colour where it is filled."""

    title: str
    colour: str


class RanoLines(_Model):
    """The two diameters of a lesion: lengths in mm, ends in voxels of the crop, on one axial slice of it."""

    lesion: int
    slice: int
    ends: tuple[tuple[tuple[float, float, float], tuple[float, float, float]], ...]
    mm: tuple[float, float]


class Native(_Model):
    """The slices of the label map's file, that of ``sequence``, along the three axes of the crop.

    ``first`` are the places of voxel 0 of the crop among them, ``steps`` the lengths of a voxel, in slices;
    ``counts`` are their numbers.
    """

    sequence: str
    first: tuple[float, float, float]
    steps: tuple[float, float, float]
    counts: tuple[int, int, int]


class Slices(_Model):
    """What viewer.js needs beside the volumes; ``start`` is the first voxel under the crosshair.

    ``brain`` is the edge of the brain that was cut out of heads, whose mask is the volume of that name.
    """

    crop: Crop
    channels: tuple[Channel, ...]
    maps: tuple[str, ...]
    tissues: dict[int, TissueStyle]
    outlines: tuple[Outline, ...]
    kinds: tuple[Kind, ...]
    start: tuple[int, int, int]
    lines: tuple[RanoLines, ...]
    brain: Outline | None = None
    native: Native | None = None

    @property
    def volumes(self) -> tuple[str, ...]:
        """Return the names of all volumes: sequences, then label maps and the brain mask."""
        return (*(channel.name for channel in self.channels), *self.maps, *(["brain"] if self.brain else []))


class CaseReport(_Model):
    """The report of one case.

    ``notes`` are sentences on the case and its images, ``missing`` titles of sequences. ``run`` is what
    run.json records, None for a label map without one. ``embedded`` is where report.html, beside report.json,
    holds the base64 text of each volume and picture: first byte and length.
    """

    schema_version: Literal[2] = 2
    gliomaseg: str
    case: str
    note: str
    edited: bool
    quality: Quality
    notes: tuple[str, ...]
    missing: tuple[str, ...]
    measurements: Measurements
    scheme: str
    oblique: str
    run: RunRecord | None
    agreement: tuple[Agreement, ...]
    slices: Slices
    embedded: dict[str, tuple[int, int]] = {}

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return self.model_dump(mode="json")


@dataclass(frozen=True)
class Report:
    """A case report with what it shows: volumes as gzip, pictures as JPEG or PNG, by name."""

    about: CaseReport
    volumes: Mapping[str, bytes]
    pictures: Mapping[str, bytes]
    thumbnail: bytes = b""

    def page(self, *, served: bool = False, home: str = "") -> str:
        """Return the page as HTML: one file, complete without scripts except for the slices.

        With ``served`` the browser requests the volumes and NiiVue; ``home`` links back to the cohort.
        """
        content = self.about.as_dict()
        return render(
            "case.html", scripts=CASE_SCRIPTS, served=served, report=self, content=content, home=home
        )

    def stored(self, page: bytes) -> dict[str, Any]:
        """Return report.json for the page that ``page`` made of this report."""
        volumes = {f"volume-{name}": data for name, data in self.volumes.items()}
        found, start = {}, 0
        for name, data in {**self.pictures, **volumes}.items():  # in the order of the page
            start = page.index(_MARK, page.index(f'id="{name}"'.encode(), start)) + len(_MARK)
            found[name] = (start, 4 * -(-len(data) // 3))
        return self.about.model_copy(update={"embedded": found}).as_dict()

    @classmethod
    def read(cls, content: object, page: bytes) -> Report:
        """Return the report of which ``content`` is report.json; raises ValueError for any other."""
        about = CaseReport.model_validate(content)
        data = {
            name: base64.b64decode(page[start : start + length], validate=True)
            for name, (start, length) in about.embedded.items()
        }
        volumes = {name: data.pop(f"volume-{name}", b"") for name in about.slices.volumes}
        if not all(volumes.values()):
            raise ValueError("a volume is missing")
        return cls(about.model_copy(update={"embedded": {}}), volumes, data)
