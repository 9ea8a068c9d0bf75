"""Predictions beside references, scored by one BraTS year's rules and summed up over cases.

A missing prediction is scored as an empty one; a case that can't be read is named and left out, and the
others go on. Only numbers are kept of a case, so memory does not grow with images. Ignorant of how
predictions were made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import TypedDict, Unpack

from gliomaseg.evaluation import pairing
from gliomaseg.evaluation.rules import find_profile
from gliomaseg.evaluation.scores import Evaluation, Pair
from gliomaseg.evaluation.scoring import Job, Scored, score_pair
from gliomaseg.evaluation.workers import count_workers, run_jobs
from gliomaseg.inference.uncertainty import PROBABILITY_NAMES, UNCERTAINTY_NAMES
from gliomaseg.labels import LabelScheme

Progress = Callable[[float, str], None]


class Options(TypedDict, total=False):
    """How to evaluate, beyond the rules; everything may be left out.

    ``scheme`` is that of the predictions; without it, the one that ``run.json`` beside a prediction
    names, else that of its reference. ``reference_scheme`` overrides what the references' layout
    implies. ``predicted_only`` leaves references without a prediction out instead of scoring them as
    empty. ``ignore_affine`` takes predictions of the reference's shape voxel by voxel. ``uncertainty``
    and ``probabilities`` are folders of maps per case (``pairing``). ``workers`` is the number of
    processes: 1 (the default) for this one alone, 0 for all cores; more than one needs a script whose
    own work stands under ``if __name__ == "__main__"``.
    """

    scheme: LabelScheme | None
    reference_scheme: LabelScheme | None
    predicted_only: bool
    uncertainty: Path | None
    probabilities: Path | None
    workers: int
    ignore_affine: bool


_DEFAULTS: Options = {
    "scheme": None,
    "reference_scheme": None,
    "predicted_only": False,
    "uncertainty": None,
    "probabilities": None,
    "workers": 1,
    "ignore_affine": False,
}


def evaluate(
    predictions: str | Path,
    references: str | Path,
    *,
    rules: str = "brats2020",
    progress: Progress = lambda _fraction, _text: None,
    **options: Unpack[Options],
) -> Evaluation:
    """Score every prediction in a folder against the reference of the same id.

    ``references`` is a data set, a CSV list of cases, or a folder of label maps. ``progress`` is told the
    fraction done and the id of each case that is. See ``Options`` for the rest. Raises SettingsError
    (E-SETTING) for unknown rules, ImageError (E-NOFILE) and CaseError (E-NOCASE: nothing found or no id
    in common; E-NOREF, E-DUPID, E-PERM).
    """
    if unknown := options.keys() - _DEFAULTS.keys():
        raise TypeError(f"evaluate() got an unexpected keyword argument {min(unknown)!r}")
    how: Options = {**_DEFAULTS, **options}
    rules = find_profile(rules).name
    found = _find_pairs(Path(predictions), Path(references), rules, how)
    jobs = [Job(pair, rules, how["scheme"]) for pair in found.pairs]
    done: dict[str, Scored] = {}
    for scored in run_jobs(score_pair, jobs, workers=count_workers(how["workers"], len(jobs))):
        done[scored.case_id] = scored
        progress(len(done) / len(jobs), scored.case_id)
    ordered = [done[pair.case_id] for pair in found.pairs]
    return _collect(found, ordered, rules=rules, name=Path(predictions).resolve().name)


def evaluate_methods(
    methods: Sequence[str | Path],
    references: str | Path,
    *,
    rules: str = "brats2020",
    progress: Progress = lambda _fraction, _text: None,
    **options: Unpack[Options],
) -> list[Evaluation]:
    """Score several folders of predictions of the same references, each as ``evaluate`` does.

    Uncertainty maps and probabilities belong to the first.
    """
    found = []
    for number, method in enumerate(methods):

        def tell(fraction: float, text: str, number: int = number, method: str | Path = method) -> None:
            where = f"{Path(method).name}: {text}" if len(methods) > 1 else text
            progress((number + fraction) / len(methods), where)

        found.append(evaluate(method, references, rules=rules, progress=tell, **options))
        options |= {"uncertainty": None, "probabilities": None}
    return found


def _find_pairs(predictions: Path, references: Path, rules: str, how: Options) -> pairing.Pairs:
    scheme, fallback = how["reference_scheme"], find_profile(rules).scheme
    found = pairing.pair_up(predictions, references, scheme=scheme, fallback=fallback)
    pairs = [pair for pair in found.pairs if pair.prediction or not how["predicted_only"]]
    maps = {
        "uncertainty": (how["uncertainty"], UNCERTAINTY_NAMES),
        "probabilities": (how["probabilities"], PROBABILITY_NAMES),
    }
    for folder, names in maps.values():
        pairing.require_maps(folder, pairs, names)
    pairs = [replace(pair, ignore_affine=how["ignore_affine"]) for pair in pairs]
    return replace(found, pairs=tuple(_with_maps(pair, maps) for pair in pairs))


def _with_maps(pair: Pair, maps: Mapping[str, tuple[Path | None, Mapping[str, str]]]) -> Pair:
    found = {kind: pairing.find_maps(folder, pair.case_id, names) for kind, (folder, names) in maps.items()}
    return replace(pair, uncertainty=found["uncertainty"], probabilities=found["probabilities"])


def _collect(found: pairing.Pairs, done: Sequence[Scored], *, rules: str, name: str) -> Evaluation:
    columns = {column.name: column for scored in done for column in scored.scores}
    whole = [scored for scored in done if scored.error is None]
    return Evaluation(
        rules=rules,
        cases={s.case_id: {c.name: value for c, value in s.scores.items()} for s in whole},
        columns=columns,
        missing=tuple(pair.case_id for pair in found.pairs if pair.prediction is None),
        extra=found.extra,
        failed={s.case_id: s.error for s in done if s.error is not None},
        skipped=found.skipped,
        seen_in_training=tuple(s.case_id for s in whole if s.origin.seen_in_training),
        edited=tuple(s.case_id for s in whole if s.origin.edited),
        remarks={s.case_id: s.remarks for s in whole if s.remarks},
        reliability={
            region: reduce(add, [s.reliability[region] for s in whole if region in s.reliability])
            for region in dict.fromkeys(region for s in whole for region in s.reliability)
        },
        pairs={pair.case_id: pair for pair in found.pairs},
        name=name,
    )
