"""What became of one case of many, and how it is told: a row of summary.csv, cells on a terminal, JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from gliomaseg.errors import GliomasegError, Note
from gliomaseg.storage.summary import Row, failed_row, result_row


@dataclass(frozen=True)
class Outcome:
    """What became of one case."""

    case_id: str
    state: Literal["done", "unchanged", "failed", "locked"]
    folder: Path | None = None
    """Its folder of results, or the file where the label map alone was wanted."""
    measurements: dict[str, Any] | None = None
    error: GliomasegError | None = None
    notes: tuple[Note, ...] = ()
    record: Mapping[str, Any] = field(default_factory=dict)

    def row(self) -> Row:
        """Return the case's row of summary.csv."""
        if self.error:
            return failed_row(self.case_id, self.error, state=self.state)
        return result_row(self.case_id, self.state, self.record, self.measurements or {})

    def cells(self) -> list[str]:
        """Return what a table on the terminal shows of the case, as text."""
        row = self.row()
        volumes = [_with_interval(row, region) for region in ("wt", "tc", "et")]
        return [str(row.get(name) or "") for name in ("case", "state", "quality")] + [
            *volumes,
            str(row.get("missing") or ""),
            str(row.get("reasons") or row.get("error") or ""),
        ]

    def quality_line(self) -> str:
        """Return the quality and its reasons as one line."""
        row = self.row()
        return f"quality: {row['quality']}" + f" ({row['reasons']})" * bool(row["reasons"])

    def table(self) -> list[list[str]]:
        """Return the volume of each label and region, under a header, as text."""
        found = self.measurements or {"labels": [], "regions": []}
        labels = [[f"label {r['value']}", r["title"], f"{r['volume_ml']:.2f}"] for r in found["labels"]]
        row = self.row()
        regions = [
            [r["region"].upper(), r["title"], _with_interval(row, r["region"])] for r in found["regions"]
        ]
        return [["part", "meaning", "volume ml (90 % interval)"], *labels, *regions]

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values, for JSON."""
        measured = self.measurements or {}
        return {
            "case": self.case_id,
            "state": self.state,
            "quality": measured.get("quality"),
            "reasons": measured.get("reasons", []),
            "missing": self.record.get("missing", []),
            "voxel_mm": self.record.get("voxel_mm"),
            "folder": self.folder.name if self.folder else None,
            "path": self.row().get("path") if self.folder and self.folder.is_dir() else None,
            "measurements": self.measurements,
            "error": self.error.as_dict() if self.error else None,
            "notes": [note._asdict() for note in self.notes],
        }


#: The heads of ``Outcome.cells``.
HEADS = ["case", "state", "quality", "WT ml", "TC ml", "ET ml", "missing", "why"]


def _with_interval(row: Row, region: str) -> str:
    """Return a volume in ml and its 90 % interval, if it is known."""
    names = ("volume_ml", "volume_low_ml", "volume_high_ml")
    volume, low, high = (row.get(f"{region}_{name}") for name in names)
    if volume is None:
        return ""
    return f"{volume:.2f}" + ("" if low is None else f" ({low:.2f} to {high:.2f})")
