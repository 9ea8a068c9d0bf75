"""Predictions scored against references by one BraTS year's rules, and summarised over cases.

A missing prediction is scored as an empty one; a case that can't be read is listed and left out, and the
others go on. Only numbers are kept of a case, so that memory does not grow with the images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Unpack

from gliomaseg.evaluation.pairing import Options, pair_up
from gliomaseg.evaluation.rules import find_profile
from gliomaseg.evaluation.scores import Evaluation, Scored, collect
from gliomaseg.evaluation.scoring import score_pair
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
    return evaluate_methods([predictions], references, rules=rules, progress=progress, **options)[0]


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
    if unknown := options.keys() - Options.__annotations__.keys():
        raise TypeError(f"evaluate() got an unexpected keyword argument {min(unknown)!r}")
    profile = find_profile(rules)
    evaluations = []
    for number, method in enumerate(map(Path, methods)):
        found = pair_up(method, Path(references), fallback=profile.scheme, options=options)
        workers = count_workers(options.get("workers", 1), len(found.pairs))
        done: dict[str, Scored] = {}
        for scored in run_jobs(partial(score_pair, rules=profile.name), found.pairs, workers=workers):
            done[scored.case_id] = scored
            fraction = (number + len(done) / len(found.pairs)) / len(methods)
            progress(fraction, f"{method.name}: " * (len(methods) > 1) + scored.case_id)
        ordered = [done[pair.case_id] for pair in found.pairs]
        evaluations.append(collect(found, ordered, rules=profile.name, name=method.resolve().name))
        options |= {"uncertainty": None, "probabilities": None}
    return evaluations
