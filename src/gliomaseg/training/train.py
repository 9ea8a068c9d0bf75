"""Training on a data set into a run folder; the same call resumes it.

A run folder holds settings.json, plan.json, split.json, history.csv, curves.png, checkpoint.safetensors and
best.safetensors, each written whole or not at all. Under ``accelerate launch`` several processes share each
step; one of them writes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from accelerate import Accelerator

from gliomaseg.cases.case import Case
from gliomaseg.settings.schema import Settings
from gliomaseg.storage.guard import refuse_foreign
from gliomaseg.training.cache import PreparedCase, prepare_cases
from gliomaseg.training.dataset import PatchDataset
from gliomaseg.training.loop import run_loop
from gliomaseg.training.plan import Plan, make_plan
from gliomaseg.training.process import (
    Progress,
    keep_freed_memory,
    no_progress,
    open_accelerator,
    stop_on_signal,
    tracking,
)
from gliomaseg.training.run import Run, open_run
from gliomaseg.training.split import check_patch, check_split, first_patients, split_by_patient
from gliomaseg.training.state import begin

_log = logging.getLogger(__name__)


class _Ready(NamedTuple):
    """A run with its cases prepared: ``patches`` to train on, and the cases held out."""

    accelerator: Accelerator
    progress: Progress
    run: Run
    patches: PatchDataset
    held_out: list[PreparedCase]


def train(
    cases: Sequence[Case],
    folder: str | Path,
    settings: Settings,
    *,
    cache: Path | None = None,
    progress: Progress = no_progress,
) -> Run:
    """Train a network on ``cases`` into ``folder``, or resume the training there.

    Prepared cases are kept in ``cache`` (default: ``folder``/cache). Ctrl-C and SIGTERM save a checkpoint
    and end the training.
    Raises TrainingError (E-RUN, E-FEWCASES, E-LOSS), CaseError and ImageError for the cases.
    """
    folder = Path(folder)
    ready = _prepare(cases, folder, settings, cache, progress)
    state = begin(ready.run, ready.accelerator)
    if state.step == 0 and ready.accelerator.is_main_process:
        ready.progress(0, "planning")
        _log.info(make_plan(state, ready.patches, ready.held_out, folder).text())
    with tracking(ready.accelerator, settings, folder), stop_on_signal() as stop:
        run_loop(ready.run, state, ready.patches, ready.held_out, stop, ready.progress)
    return ready.run


def plan(
    cases: Sequence[Case], folder: Path, settings: Settings, *, cache: Path | None = None, progress: Progress
) -> Plan:
    """Prepare ``cases`` and return the plan of training on them, also in plan.json; trains nothing.

    Arguments and errors are those of ``train``.
    """
    ready = _prepare(cases, folder, settings, cache, progress)
    return make_plan(begin(ready.run, ready.accelerator), ready.patches, ready.held_out, folder)


def show_augmentation(
    cases: Sequence[Case],
    folder: Path,
    settings: Settings,
    picture: Path,
    *,
    cache: Path | None = None,
    progress: Progress,
) -> None:
    """Prepare ``cases`` and draw the first patches of training on them to a PNG file; trains nothing.

    Raises OutputError (E-EXISTS) where that would replace a file of other origin; else as ``train``.
    """
    from gliomaseg.training.patch_sheet import TITLE, write_patch_sheet

    refuse_foreign(picture, [TITLE.encode()], overwrite=None, option="--show-augmentation")
    write_patch_sheet(_prepare(cases, folder, settings, cache, progress).patches, picture)


def _prepare(
    cases: Sequence[Case], folder: Path, settings: Settings, cache: Path | None, progress: Progress
) -> _Ready:
    keep_freed_memory()
    accelerator = open_accelerator(folder, settings)
    progress = progress if accelerator.is_main_process else no_progress
    cases = first_patients(cases, settings.training)
    check_split(cases, settings.training)
    check_patch(cases, settings)
    with accelerator.main_process_first():
        run = open_run(folder, settings, [file for case in cases for file in case.files])
        prepared = prepare_cases(
            cases, settings, cache or folder / "cache", lambda _, text: progress(0, text)
        )
        split = run.keep_split(split_by_patient(prepared, settings.training))
    patches = PatchDataset([case for case in prepared if case.id in split.train], settings)
    held_out = [case for case in prepared if case.id in split.validation]
    return _Ready(accelerator, progress, run, patches, held_out)
