"""The split into training and held-out cases: by patient, never by slice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gliomaseg.cases.case import Case
from gliomaseg.errors import TrainingError
from gliomaseg.imaging.nifti import read_grid
from gliomaseg.labels import Tissue
from gliomaseg.settings.schema import Settings, TrainingSettings
from gliomaseg.training.cache import PreparedCase


@dataclass(frozen=True)
class Split:
    """Ids of the cases for training, for validation, and for a test set; no patient is in two of them."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...] = ()


def split_by_patient(cases: Sequence[PreparedCase], settings: TrainingSettings) -> Split:
    """Return the split by ``training.held_out``, ``fractions``, or else ``folds`` and ``fold``.

    Folds and fractions: patients are sorted by their volume of enhancing tumour and dealt out, each round in
    random order, so that every set has its share of each size. The same patients always give the same split;
    one more patient changes it, except with ``held_out``.
    Raises TrainingError (E-FEWCASES) when a set would be empty, or a patient of ``held_out`` is missing.
    """
    et: dict[str, int] = {}
    for case in cases:
        et[case.patient] = et.get(case.patient, 0) + case.facts["voxels"][Tissue.ENHANCING]
    parts = _deal(sorted(et, key=lambda patient: (et[patient], patient)), settings)
    return Split(*(tuple(c.id for c in cases if c.patient in part) for part in parts))


def first_patients(cases: Sequence[Case], settings: TrainingSettings) -> list[Case]:
    """Return the cases of the first ``training.max_patients`` patients, by name; all cases without it."""
    chosen = sorted({case.patient for case in cases})[: settings.max_patients]
    return [case for case in cases if case.patient in chosen]


def check_split(cases: Sequence[Case], settings: TrainingSettings) -> None:
    """Raise the errors of ``split_by_patient``, which don't depend on the tumours."""
    _deal(sorted({case.patient for case in cases}), settings)


def check_patch(cases: Sequence[Case], settings: Settings) -> None:
    """Raise TrainingError (E-SETTING) when a patch is larger than the image of a case, by its header.

    Raises the errors of ``Case.require`` and of reading a header, too.
    """
    modalities, patch = settings.network.modalities, settings.training.patch
    first = modalities[0]
    for case in cases:
        shape = read_grid(case.require(modalities).images[first], channel=case.channels.get(first)).shape
        if any(wanted > there for wanted, there in zip(patch, shape, strict=False)):
            raise TrainingError(
                "E-SETTING",
                f"a patch of {list(patch)} voxels is larger than the image of {case.id}, "
                f"which has {list(shape)}",
                expected="a patch that fits into every case",
                remedy="choose a smaller --set training.patch, in multiples of 16, or leave out such cases",
            )


def _deal(ranked: list[str], settings: TrainingSettings) -> list[set[str]]:
    if settings.held_out is not None:
        return _without(ranked, settings.held_out)
    if settings.fractions:
        return _by_fractions(ranked, settings.fractions)
    if settings.fold is None:
        return [set(ranked), set(), set()]
    held_out = _fold(ranked, settings.folds, settings.fold)
    return [set(ranked) - held_out, held_out, set()]


def _without(ranked: list[str], held_out: tuple[str, ...]) -> list[set[str]]:
    unknown, rest = sorted(set(held_out) - set(ranked)), set(ranked) - set(held_out)
    if unknown or not rest:
        raise TrainingError(
            "E-FEWCASES",
            f"patient {unknown[0]} is to be held out and is not there" if unknown else "all are held out",
            expected=f"some of the {len(ranked)} patients in the data, such as {ranked[0]}",
            remedy="correct --set training.held_out=[...]; one name is enough for all exams of a patient",
        )
    return [rest, set(held_out), set()]


def _fold(ranked: list[str], folds: int, fold: int) -> set[str]:
    if len(ranked) < folds or not 0 <= fold < folds:
        raise TrainingError(
            "E-FEWCASES",
            f"fold {fold} of {folds} with {len(ranked)} patients",
            expected="a fold from 0 to folds - 1, and at least one patient in each",
            remedy="add cases, choose fewer folds with --set training.folds=2, or train on every "
            "case with --set training.fold=null",
        )
    rng = np.random.default_rng(0)
    held_out: set[str] = set()
    for start in range(0, len(ranked), folds):
        hand = ranked[start : start + folds]
        seats = rng.permutation(folds)[: len(hand)]
        held_out.update(patient for patient, seat in zip(hand, seats, strict=True) if seat == fold)
    return held_out


def _by_fractions(ranked: list[str], fractions: tuple[float, float, float]) -> list[set[str]]:
    """Deal each patient to the set that is furthest behind its share; a fixed random number breaks ties."""
    shares = np.array(fractions) / sum(fractions)
    rng = np.random.default_rng(0)
    parts: list[set[str]] = [set(), set(), set()]
    for dealt, patient in enumerate(ranked, start=1):
        behind = shares * dealt - [len(part) for part in parts]
        parts[int(np.argmax(behind + rng.uniform(0, 0.5, 3) * (shares > 0)))].add(patient)
    if any(share > 0 and not part for share, part in zip(shares, parts, strict=True)):
        raise TrainingError(
            "E-FEWCASES",
            f"shares of {fractions} with {len(ranked)} patients leave a part empty",
            expected="at least one patient in each part that is asked for",
            remedy="add cases, or change --set training.fractions",
        )
    return parts
