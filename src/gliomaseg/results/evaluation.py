"""Predictions beside references, scored by the rules of BraTS 2020 and summed up over cases.

A missing prediction counts as an empty one; a case that can't be read is named and left out, and the
others go on. Tissues are compared, never integers, so both sides may follow different label schemes.
A reference is never resampled. Ignorant of how predictions were made.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gliomaseg import files
from gliomaseg.errors import CaseError, GliomasegError, SettingsError
from gliomaseg.imaging.case import find_cases
from gliomaseg.imaging.nifti import missing_file, read_labels
from gliomaseg.imaging.volume import Grid, Segmentation
from gliomaseg.labels import REGION_TISSUES, LabelScheme, Region, Tissue, find_scheme
from gliomaseg.results import metrics

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
_OWN_NAMES = ("seg.nii.gz", "seg.nii")
_NAME = re.compile(r"(?P<id>.+?)(?:[_-]seg)?\.nii(?:\.gz)?")


@dataclass(frozen=True)
class Evaluation:
    """Scores of every case and what was left out: ``cases`` maps each id to one score per column.

    ``missing`` references had no prediction (scored as empty), ``extra`` predictions no reference,
    ``failed`` cases an error (its ``as_dict``), ``skipped`` cases no reference label map.
    """

    cases: Mapping[str, Scores]
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    failed: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()
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
            "cases": {name: dict(scores) for name, scores in self.cases.items()},
        }

    def csv(self) -> str:
        """Return one row per case and one column per score, at full precision."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["id", *COLUMNS])
        writer.writerows([name, *(scores[c] for c in COLUMNS)] for name, scores in self.cases.items())
        return text.getvalue()

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
    progress: Callable[[str], None] | None = None,
) -> Evaluation:
    """Score every prediction in a folder against the reference of the same id, one case at a time.

    ``scheme`` is that of the predictions; without it, the one that ``run.json`` beside a prediction
    names, else that of its reference. ``reference_scheme`` overrides what the references' layout implies.
    ``progress`` is told each id before it is scored. Raises ImageError (E-NOFILE) and CaseError
    (E-NOCASE: nothing found or no id in common; E-NOREF, E-DUPID, E-PERM).
    """
    found = find_predictions(predictions)
    listed = find_cases(references, scheme=reference_scheme)
    expert = {case.id: (case.reference, case.scheme) for case in listed if case.reference is not None}
    _check_pairs(predictions, references, list(found), list(expert))
    cases: dict[str, Scores] = {}
    failed: dict[str, dict[str, str]] = {}
    for name, (path, its_scheme) in expert.items():
        if progress is not None:
            progress(name)
        try:
            reference = read_labels(path, its_scheme)
            cases[name] = score_case(_read_prediction(found.get(name), scheme, reference), reference)
        except GliomasegError as error:
            failed[name] = error.as_dict()
    return Evaluation(
        cases=cases,
        missing=tuple(name for name in expert if name not in found),
        extra=tuple(sorted(found.keys() - {case.id for case in listed})),
        failed=failed,
        skipped=tuple(case.id for case in listed if case.reference is None),
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


def find_predictions(folder: Path) -> dict[str, Path]:
    """Return the label map of each case id in a folder, in the order of names.

    Knows ``<id>/seg.nii.gz`` (results of gliomaseg; such a folder alone, too), ``<id>.nii.gz``,
    ``<id>_seg.nii.gz`` and ``<id>-seg.nii.gz``, each also as .nii. Raises ImageError (E-NOFILE),
    CaseError (E-NOFILE, E-PERM, E-DUPID, E-NOCASE).
    """
    found: dict[str, Path] = {}
    for path in _label_maps(folder):
        name = _case_id(path)
        if name in found:
            raise CaseError(
                "E-DUPID",
                f"case {name} has two predictions: {found[name]} and {path}",
                expected="one label map per case",
                remedy="move one of them out of the folder",
            )
        found[name] = path
    if not found:
        raise CaseError(
            "E-NOCASE",
            f"no prediction was found in {folder}",
            expected="<id>/seg.nii.gz, <id>.nii.gz, <id>_seg.nii.gz or <id>-seg.nii.gz (or .nii)",
            remedy="name the folder that directly holds these files or folders",
        )
    return found


def _label_maps(folder: Path) -> Iterator[Path]:
    if not folder.exists():
        raise missing_file(folder)
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise CaseError(
            "E-PERM" if folder.is_dir() else "E-NOFILE",
            f"{folder} can't be read as a folder: {error.strerror}",
            expected="a readable folder with predictions",
            remedy="name the folder that holds the label maps; check its permissions",
        ) from error
    for entry in entries:
        if entry.is_dir():
            yield from (path for name in _OWN_NAMES if (path := entry / name).is_file())
        elif _NAME.fullmatch(entry.name) and not entry.name.startswith("."):
            yield entry


def _case_id(path: Path) -> str:
    match = _NAME.fullmatch(path.name)
    if match is None or path.name in _OWN_NAMES:
        return path.resolve().parent.name
    return match["id"]


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


def _read_prediction(path: Path | None, scheme: LabelScheme | None, reference: Segmentation) -> Segmentation:
    if path is None:
        return replace(reference, labels=np.zeros_like(reference.labels))
    return read_labels(path, scheme or _scheme_beside(path) or reference.scheme)


def _scheme_beside(path: Path) -> LabelScheme | None:
    run = path.parent / "run.json"
    try:
        content = json.loads(run.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise SettingsError(
            "E-SETTING",
            f"{run} can't be read, so the label scheme of {path.name} is unknown: {error}",
            expected='a JSON object with the key "scheme"',
            remedy="name the scheme of the predictions: --scheme",
        ) from error
    name = content.get("scheme") if isinstance(content, dict) else None
    return find_scheme(name) if isinstance(name, str) else None


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


def _by_column(values: npt.NDArray[np.float64]) -> dict[str, float]:
    return {name: float(value) for name, value in zip(COLUMNS, values, strict=True)}
