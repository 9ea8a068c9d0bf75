"""The log of a training: a row every few steps, with the scores of a validation in some of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean

from gliomaseg.labels import Region

MEASURES = ("dice", "precision", "sensitivity", "specificity")
#: Mean scores of whole held-out cases, in the prepared crop: those of each region, Dice of the two classes
#: that are not a region, and the mean IoU over the background and the three classes, common in notebooks.
SCORES = (*(f"{m}_{r}" for m in MEASURES for r in Region), "dice_ncr", "dice_ed", "mean_iou")
_COLUMNS = ("step", "minutes", "loss", "learning_rate", *SCORES, "final")


@dataclass(frozen=True)
class Row:
    """A row of history.csv; ``final``: whether the finished network was scored."""

    step: int
    minutes: float
    loss: float
    learning_rate: float
    scores: Mapping[str, float] = field(default_factory=dict)
    final: bool | None = None

    @property
    def dice(self) -> dict[Region, float]:
        """Return the Dice of each region that was validated; empty for most rows."""
        return {r: self.scores[f"dice_{r}"] for r in Region if f"dice_{r}" in self.scores}

    @property
    def values(self) -> dict[str, float]:
        """Return the numbers of the row by name, without the step: what trackers show."""
        return {
            "loss": self.loss,
            "learning_rate": self.learning_rate,
            "minutes": self.minutes,
            **self.scores,
        }

    @property
    def mean_dice(self) -> float:
        """Return the mean Dice over regions."""
        return sum(self.dice.values()) / len(self.dice)


class History:
    """The rows of a run."""

    def __init__(self, rows: list[Row] | None = None) -> None:
        self.rows = rows or []

    @property
    def scored(self) -> list[Row]:
        """Return the rows that hold scores."""
        return [row for row in self.rows if row.dice]

    def is_final_at(self, step: int) -> bool:
        """Return whether the final network, of this step, was validated."""
        return bool(self.rows and self.rows[-1].final and self.rows[-1].step == step)

    @property
    def last_is_best(self) -> bool:
        """Return whether the last validation has the highest mean Dice."""
        means = [row.mean_dice for row in self.scored]
        return bool(means) and means[-1] > max(means[:-1], default=-1.0)

    def count_plateaus(self, patience: int) -> int:
        """Return how often ``patience`` validations in a row gave no better mean Dice."""
        best, waited, plateaus = -1.0, 0, 0
        for row in self.scored:
            waited = 0 if row.mean_dice > best else waited + 1
            best = max(best, row.mean_dice)
            if waited == patience:
                plateaus, waited = plateaus + 1, 0
        return plateaus

    def add(self, row: Row) -> None:
        """Add a row, unless there is one of that step."""
        if not self.rows or self.rows[-1].step != row.step:
            self.rows.append(row)

    def add_scores(self, scores: Mapping[str, float], *, final: bool) -> None:
        """Put validation scores into the last row, which must be of the step that was validated."""
        rounded = {name: round(value, 5) for name, value in scores.items()}
        self.rows[-1] = replace(self.rows[-1], scores=rounded, final=final)

    def csv(self) -> str:
        """Return the rows as CSV text."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for row in self.rows:
            numbers = [row.step, row.minutes, row.loss, row.learning_rate]
            scores = [row.scores.get(name) for name in SCORES]
            final = None if row.final is None else int(row.final)
            writer.writerow([f"{v:.6g}" if isinstance(v, float) else v for v in [*numbers, *scores, final]])
        return text.getvalue()


def mean_scores(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean over cases of each score."""
    return {name: fmean(case[name] for case in scores) for name in scores[0]}


def read_history(path: Path, *, up_to: float = float("inf")) -> History:
    """Return the log in ``path`` up to a step; empty without a file. Older logs have fewer columns."""
    if not path.exists():
        return History()
    with path.open(newline="", encoding="utf-8") as stream:
        rows = [_row(cells) for cells in csv.DictReader(stream)]
    return History([row for row in rows if row.step <= up_to])


def _row(cells: Mapping[str, str]) -> Row:
    return Row(
        int(cells["step"]),
        float(cells["minutes"]),
        float(cells["loss"]),
        float(cells["learning_rate"]),
        {name: float(cells[name]) for name in SCORES if cells.get(name)},
        bool(int(cells["final"])) if cells["final"] else None,
    )
