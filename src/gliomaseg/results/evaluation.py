"""Predictions beside references, scored by the rules of BraTS 2020 and summed up over cases.

A missing prediction counts as an empty one; a case that can't be read is named and left out, and the
others go on. Tissues are compared, never integers, so both sides may follow different label schemes.
A reference is never resampled. Ignorant of how predictions were made.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gliomaseg import files
from gliomaseg.errors import CaseError, GliomasegError
from gliomaseg.imaging.case import find_cases
from gliomaseg.imaging.nifti import read_labels
from gliomaseg.imaging.volume import Grid, Segmentation
from gliomaseg.labels import REGION_TISSUES, LabelScheme, Region, Tissue
from gliomaseg.results import metrics
from gliomaseg.results.prediction import find_predictions, read_prediction, was_seen

#: The classes of the confusion matrix, in this order behind background; a cavity is background.
TISSUES = (Tissue.NECROSIS, Tissue.OEDEMA, Tissue.ENHANCING)

#: What is scored; enhancing tumour is both a region and a tissue, and is scored once.
PARTS: Mapping[str, frozenset[Tissue]] = {
    **{region.value: REGION_TISSUES[region] for region in Region},
    **{tissue.value: frozenset({tissue}) for tissue in TISSUES},
}

MEAN_IOU = "mean_iou_with_background"

#: The columns of every table, each with its title.
COLUMNS: Mapping[str, str] = {
    **{f"dice_{part}": f"Dice {part.upper()}" for part in PARTS},
    **{f"iou_{part}": f"IoU {part.upper()}" for part in PARTS},
    MEAN_IOU: "mean IoU with background",
}

Scores = Mapping[str, float]

_SCHEMA_VERSION = 1
_RESAMPLES = 2000
_SEED = 0


@dataclass(frozen=True)
class Evaluation:
    """Scores of every case and what was left out: ``cases`` maps each id to one score per column.

    ``missing`` references had no prediction (scored as empty), ``extra`` predictions no reference,
    ``failed`` cases an error (its ``as_dict``), ``skipped`` cases no reference label map. The model
    was trained on those ``seen_in_training``, so that a mean with them in it is no accuracy.
    """

    cases: Mapping[str, Scores]
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    failed: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()
    seen_in_training: tuple[str, ...] = ()
    rules: str = "brats2020"

    def mean(self) -> dict[str, float]:
        """Return the plain mean over cases of every column; empty without cases."""
        return _by_column(self._matrix().mean(axis=0)) if self.cases else {}

    def median(self) -> dict[str, float]:
        """Return the median over cases of every column; empty without cases."""
        return _by_column(np.median(self._matrix(), axis=0)) if self.cases else {}

    def interval(self) -> dict[str, tuple[float, float]]:
        """Return the 95 % bootstrap interval of the mean of every column; empty below two cases.

        Percentiles of 2000 means of n cases drawn with replacement, always with the same seed. It
        tells how far the mean depends on these cases; with fewer than about 20 it is too narrow.
        """
        n = len(self.cases)
        if n <= 1:
            return {}
        drawn = np.random.default_rng(_SEED).multinomial(n, np.full(n, 1 / n), size=_RESAMPLES)
        low, high = np.percentile(drawn @ self._matrix() / n, [2.5, 97.5], axis=0)
        return {name: (float(a), float(b)) for name, a, b in zip(COLUMNS, low, high, strict=True)}

    def as_dict(self) -> dict[str, object]:
        """Return everything as plain values, for JSON."""
        return {
            "schema_version": _SCHEMA_VERSION,
            "rules": self.rules,
            "n": len(self.cases),
            "mean": self.mean(),
            "median": self.median(),
            "interval_95": {name: list(ends) for name, ends in self.interval().items()},
            "missing": list(self.missing),
            "extra": list(self.extra),
            "failed": {name: dict(error) for name, error in self.failed.items()},
            "skipped": list(self.skipped),
            "seen_in_training": list(self.seen_in_training),
            "cases": {name: dict(scores) for name, scores in self.cases.items()},
        }

    def csv(self) -> str:
        """Return one row per case and one column per score, at full precision."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["id", *COLUMNS])
        writer.writerows([name, *(scores[c] for c in COLUMNS)] for name, scores in self.cases.items())
        return text.getvalue()

    def notes(self) -> list[str]:
        """Return in words how sure the mean is, and what was missing, failed or left out."""
        notes: list[str] = []
        if ends := self.interval():
            spans = ["{} {:.3f} to {:.3f}".format(r.upper(), *ends[f"dice_{r}"]) for r in Region]
            notes.append(f"95 % interval of the mean Dice, {len(self.cases)} cases: {', '.join(spans)}")
        listed = {
            "without a prediction, scored as empty": self.missing,
            "without a reference, left out": (*self.extra, *self.skipped),
            "that the model was trained on: this is not its accuracy": self.seen_in_training,
        }
        notes += [f"{len(names)} {what}: {_some(names)}" for what, names in listed.items() if names]
        for name, error in self.failed.items():
            notes.append(f"failed: {name}\n{error['code']}: {error['what']}")
            notes += [f"{part}: {error[part]}" for part in ("expected", "remedy") if error[part]]
        return notes

    def table(self) -> list[list[str]]:
        """Return a header, one row per case, and the mean and median rows, as text to print."""
        rows = [(f"{c} (no prediction)" if c in self.missing else c, self.cases[c]) for c in self.cases]
        if self.cases:
            rows += [("mean", self.mean()), ("median", self.median())]
        texts = [[title, *(f"{scores[c]:.3f}" for c in COLUMNS)] for title, scores in rows]
        return [["case", *COLUMNS.values()], *texts]

    def write(self, folder: Path) -> None:
        """Write ``scores.csv`` and ``summary.json`` into ``folder``, made if need be; raises OutputError."""
        files.make_folder(folder)
        files.write_text(folder / "scores.csv", self.csv())
        files.write_json(folder / "summary.json", self.as_dict())

    def _matrix(self) -> npt.NDArray[np.float64]:
        return np.array([[scores[c] for c in COLUMNS] for scores in self.cases.values()])


def evaluate(
    predictions: Path,
    references: Path,
    *,
    scheme: LabelScheme | None = None,
    reference_scheme: LabelScheme | None = None,
    predicted_only: bool = False,
    progress: Callable[[float, str], None] = lambda _fraction, _text: None,
) -> Evaluation:
    """Score every prediction in a folder against the reference of the same id, one case at a time.

    ``scheme`` is that of the predictions; without it, the one that ``run.json`` beside a prediction
    names, else that of its reference. ``reference_scheme`` overrides what the references' layout implies.
    A reference without a prediction counts as an empty one, or is left out if ``predicted_only``.
    ``progress`` is told the fraction done and each id before it is scored. Raises ImageError
    (E-NOFILE) and CaseError (E-NOCASE: nothing found or no id in common; E-NOREF, E-DUPID, E-PERM).
    """
    found = find_predictions(predictions)
    listed = find_cases(references, scheme=reference_scheme)
    expert = {case.id: (case.reference, case.scheme) for case in listed if case.reference is not None}
    _check_pairs(predictions, references, list(found), list(expert))
    cases: dict[str, Scores] = {}
    failed: dict[str, dict[str, str]] = {}
    if predicted_only:
        expert = {name: pair for name, pair in expert.items() if name in found}
    for number, (name, (path, its_scheme)) in enumerate(expert.items()):
        progress(number / len(expert), name)
        try:
            reference = read_labels(path, its_scheme)
            cases[name] = score_case(read_prediction(found.get(name), scheme, reference), reference)
        except GliomasegError as error:
            failed[name] = error.as_dict()
    return Evaluation(
        cases=cases,
        missing=tuple(name for name in expert if name not in found),
        extra=tuple(sorted(found.keys() - {case.id for case in listed})),
        failed=failed,
        skipped=tuple(case.id for case in listed if case.reference is None and case.id in found),
        seen_in_training=tuple(name for name in cases if name in found and was_seen(found[name])),
    )


def score_case(prediction: Segmentation, reference: Segmentation) -> dict[str, float]:
    """Return Dice and IoU of WT, TC, ET, NCR and ED and the mean IoU, under the names in ``COLUMNS``.

    Compares by tissue: label schemes may differ. A part empty in both gives 1, in one gives 0.
    Raises CaseError (E-GRID) when the grids differ.
    """
    if not prediction.grid.matches(reference.grid):
        raise _other_grid(prediction.grid, reference.grid)
    counts = metrics.confusion(_classes(prediction), _classes(reference), len(TISSUES) + 1)
    overlaps = {
        part: metrics.overlap_of(counts, [TISSUES.index(tissue) + 1 for tissue in tissues])
        for part, tissues in PARTS.items()
    }
    return {
        **{f"dice_{part}": overlap.dice for part, overlap in overlaps.items()},
        **{f"iou_{part}": overlap.iou for part, overlap in overlaps.items()},
        MEAN_IOU: metrics.mean_iou(counts),
    }


def _check_pairs(predictions: Path, references: Path, found: list[str], expert: list[str]) -> None:
    if not expert:
        raise CaseError(
            "E-NOREF",
            f"no case in {references} has a reference label map",
            expected="cases with a reference, such as <id>/<id>_seg.nii.gz beside the images",
            remedy="name the folder of a data set with expert label maps",
        )
    if set(found).isdisjoint(expert):
        raise CaseError(
            "E-NOCASE",
            f"no prediction in {predictions} has the id of a reference in {references}",
            expected=f"ids such as {', '.join(expert[:3])}; found were {', '.join(found[:3])}",
            remedy="rename the predictions after their cases, or name the other folder",
        )


def _classes(segmentation: Segmentation) -> metrics.Labels:
    values = [segmentation.scheme.values[tissue] for tissue in TISSUES]
    return metrics.class_numbers(segmentation.labels, values)


def _other_grid(prediction: Grid, reference: Grid) -> CaseError:
    sizes = [" x ".join(map(str, grid.shape)) for grid in (prediction, reference)]
    what = f"the prediction has {sizes[0]} voxels, the reference {sizes[1]}"
    if prediction.shape == reference.shape:
        affines = [grid.affine[:3].round(3).tolist() for grid in (prediction, reference)]
        what += f", but they lie elsewhere: affine {affines[0]} and {affines[1]}"
    return CaseError(
        "E-GRID",
        what,
        expected="the prediction on the grid of the reference, which is never resampled",
        remedy="bring the prediction onto that grid with nearest neighbour",
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")


def _by_column(values: npt.NDArray[np.float64]) -> dict[str, float]:
    return {name: float(value) for name, value in zip(COLUMNS, values, strict=True)}
