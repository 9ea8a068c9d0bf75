"""Predictions scored against references by one BraTS year's rules, and summarised over cases.

A missing prediction is scored as an empty one; a case that can't be read is listed and left out, and the
others go on. Only numbers are kept of a case, so that memory does not grow with the images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, reduce
from operator import add
from pathlib import Path
from typing import Unpack

from gliomaseg.evaluation.pairing import Options, Pairs, pair_up
from gliomaseg.evaluation.rules import find_profile
from gliomaseg.evaluation.scores import Evaluation
from gliomaseg.evaluation.scoring import Scored, score_pair
from gliomaseg.evaluation.workers import count_workers, run_jobs

Progress = Callable[[float, str], None]


def evaluate(
    predictions: str | Path,
    references: str | Path,
    *,
    rules: str = "brats2020",
    progress: Progress = lambda _fraction, _text: None,
    **options: Unpack[Options],
) -> Evaluation:
    """Score every prediction in a folder against the reference of the same id.

    ``references`` is a data set, a CSV list of cases, or a folder of label maps. ``progress`` is called with
    the fraction done and the id of each case when it is done. See ``Options`` for the rest. Raises
    SettingsError (E-SETTING) for unknown rules, ImageError (E-NOFILE) and CaseError (E-NOCASE: nothing found
    or no id in common; E-NOREF, E-DUPID, E-PERM).
    """
    if unknown := options.keys() - Options.__annotations__.keys():
        raise TypeError(f"evaluate() got an unexpected keyword argument {min(unknown)!r}")
    profile = find_profile(rules)
    found = pair_up(Path(predictions), Path(references), fallback=profile.scheme, options=options)
    workers = count_workers(options.get("workers", 1), len(found.pairs))
    done: dict[str, Scored] = {}
    for scored in run_jobs(partial(score_pair, rules=profile.name), found.pairs, workers=workers):
        done[scored.case_id] = scored
        progress(len(done) / len(found.pairs), scored.case_id)
    ordered = [done[pair.case_id] for pair in found.pairs]
    return _collect(found, ordered, rules=profile.name, name=Path(predictions).resolve().name)


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

        def notify(fraction: float, text: str, number: int = number, method: str | Path = method) -> None:
            where = f"{Path(method).name}: {text}" if len(methods) > 1 else text
            progress((number + fraction) / len(methods), where)

        found.append(evaluate(method, references, rules=rules, progress=notify, **options))
        options |= {"uncertainty": None, "probabilities": None}
    return found


def _collect(found: Pairs, done: Sequence[Scored], *, rules: str, name: str) -> Evaluation:
    whole = [scored for scored in done if scored.error is None]
    return Evaluation(
        rules=rules,
        cases={s.case_id: {c.name: value for c, value in s.scores.items()} for s in whole},
        columns={column.name: column for scored in whole for column in scored.scores},
        missing=tuple(pair.case_id for pair in found.pairs if pair.prediction is None),
        extra=found.extra,
        failed={s.case_id: s.error for s in done if s.error is not None},
        skipped=found.skipped,
        seen_in_training=tuple(s.case_id for s in whole if s.seen_in_training),
        edited=tuple(s.case_id for s in whole if s.edited),
        notes={s.case_id: s.notes for s in whole if s.notes},
        reliability={
            region: reduce(add, [s.reliability[region] for s in whole if region in s.reliability])
            for region in dict.fromkeys(region for s in whole for region in s.reliability)
        },
        pairs={pair.case_id: pair for pair in found.pairs},
        name=name,
    )
