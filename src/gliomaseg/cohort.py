"""Many cases: one bad case never stops the rest, and finished ones are not done again."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gliomaseg import files, finished
from gliomaseg.errors import GliomasegError, Note, as_coded
from gliomaseg.imaging.case import Case
from gliomaseg.labels import BRATS2021, LabelScheme
from gliomaseg.segmenter import Segmenter


@dataclass(frozen=True)
class Outcome:
    """What became of one case."""

    case_id: str
    state: Literal["done", "unchanged", "failed"]
    folder: Path | None = None
    measurements: dict[str, Any] | None = None
    error: GliomasegError | None = None
    warnings: tuple[Note, ...] = ()

    def volume_ml(self, region: str) -> float | None:
        """Return the volume of a region, None for a failed case."""
        regions = self.measurements["regions"] if self.measurements else []
        return next((float(r["volume_ml"]) for r in regions if r["region"] == region), None)

    def row(self) -> list[str]:
        """Return id, state and the volumes of WT, TC and ET in ml, as text."""
        volumes = [self.volume_ml(region) for region in ("wt", "tc", "et")]
        return [self.case_id, self.state, *["" if v is None else f"{v:.2f}" for v in volumes]]

    def table(self) -> list[list[str]]:
        """Return the volume of each label and region, under a header, as text."""
        found = self.measurements or {"labels": [], "regions": []}
        labels = [[f"label {r['value']}", r["title"], f"{r['volume_ml']:.2f}"] for r in found["labels"]]
        regions = [[r["region"].upper(), r["title"], f"{r['volume_ml']:.2f}"] for r in found["regions"]]
        return [["part", "meaning", "volume ml"], *labels, *regions]

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values, for JSON."""
        return {
            "case": self.case_id,
            "state": self.state,
            "folder": self.folder.name if self.folder else None,
            "measurements": self.measurements,
            "error": self.error.as_dict() if self.error else None,
            "warnings": [note._asdict() for note in self.warnings],
        }


def segment_cases(
    cases: Sequence[Case],
    segmenter: Segmenter,
    output: Path,
    *,
    scheme: LabelScheme = BRATS2021,
    overwrite: bool = False,
    progress: Callable[[float, str], None] = lambda _fraction, _text: None,
) -> Iterator[Outcome]:
    """Segment each case into its folder under ``output`` and yield what became of it.

    A case whose folder holds the very same result (inputs, model, settings by hash) is left as it
    is; one that another process is working on fails with E-LOCKED. Raises OutputError when ``output``
    can't be written, before any work.
    """
    files.make_folder(output, room=_ROOM * len(cases))
    files.clear_leftovers(output)
    for number, case in enumerate(cases):
        where = f"{case.id}" if len(cases) == 1 else f"{number + 1}/{len(cases)} {case.id}"

        def tell(stage: str, number: int = number, where: str = where) -> None:
            progress((number + _SHARE.get(stage, 0)) / len(cases), f"{where}: {stage}")

        try:
            yield _segment_case(case, segmenter, output, scheme=scheme, overwrite=overwrite, tell=tell)
        except Exception as error:  # noqa: BLE001 (whatever it is, the other cases go on)
            yield _failure(case, error, output)


#: What a result takes on the disk in bytes: 0.8 MB for a BraTS case, most of it the picture.
_ROOM = 2_000_000
#: How much of a case's time has passed when a stage begins, from the seconds in docs/speed.md.
_SHARE = {"prepare": 0.1, "compile": 0.3, "infer": 0.4, "label": 0.85, "hash": 0.87, "save": 0.88}


def _segment_case(
    case: Case,
    segmenter: Segmenter,
    output: Path,
    *,
    scheme: LabelScheme,
    overwrite: bool,
    tell: Callable[[str], None],
) -> Outcome:
    folder = output / case.id
    tell("check")
    with files.claim(folder):
        if folder.exists() and not overwrite:
            case.require(segmenter.settings.network.modalities)
            if finished.compare(folder, segmenter.describe(case, scheme)) == "unchanged":
                return _outcome(case, "unchanged", folder)
        result = segmenter.segment(case, scheme=scheme, stage=tell)
        tell("save")
        result.save(output, overwrite=True)
    return _outcome(case, "done", folder)


def _failure(case: Case, error: Exception, output: Path) -> Outcome:
    def shorten(text: str) -> str:
        return case.anonymous(text).replace(f"{output}{os.sep}", "")

    return Outcome(case.id, "failed", error=as_coded(error).reworded(shorten))


def _outcome(case: Case, state: Literal["done", "unchanged"], folder: Path) -> Outcome:
    notes = tuple(Note(**note) for note in finished.read_record(folder).get("warnings", ()))
    return Outcome(case.id, state, folder, _read(folder / "measurements.json"), warnings=notes)


def _read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


def summary_csv(outcomes: Iterable[Outcome]) -> str:
    """Return one row per case: state, volumes in ml, error."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["case", "state", "wt_volume_ml", "tc_volume_ml", "et_volume_ml", "error", "message"])
    for outcome in outcomes:
        volumes = [outcome.volume_ml(region) for region in ("wt", "tc", "et")]
        error = [outcome.error.code, outcome.error.what] if outcome.error else ["", ""]
        cells = ["" if v is None else f"{v:.3f}" for v in volumes]
        writer.writerow([outcome.case_id, outcome.state, *cells, *error])
    return text.getvalue()
