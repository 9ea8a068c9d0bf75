"""Training: the whole loop in sight.

A run folder holds settings.json, plan.json, split.json, history.csv, curves.png, checkpoint.safetensors and
best.safetensors, each written whole or not at all. The same call again goes on from the last checkpoint:
patches are numbered, so that a resumed run sees those that it would have seen. Under ``accelerate launch``
several processes share each step; one of them writes. Door: accelerate.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs, gather_object
from torch import nn

from gliomaseg.cases.case import Case
from gliomaseg.errors import SettingsError, TrainingError
from gliomaseg.settings.schema import Settings
from gliomaseg.storage.guard import refuse_foreign, refuse_inputs
from gliomaseg.training.batches import Batch, read_batches
from gliomaseg.training.cache import PreparedCase, prepare_cases
from gliomaseg.training.dataset import PatchDataset
from gliomaseg.training.loss import Loss, build_loss
from gliomaseg.training.network import memory_format
from gliomaseg.training.plan import Plan, check_patch, make_plan
from gliomaseg.training.process import (
    Progress,
    greatest_of_all,
    keep_freed_memory,
    mean_of_all,
    no_progress,
    stop_on_signal,
)
from gliomaseg.training.run import Run, open_run
from gliomaseg.training.schedule import learning_rate
from gliomaseg.training.split import check_split, first_patients, split_by_patient
from gliomaseg.training.state import State, begin
from gliomaseg.training.torch_engine import TorchEngine
from gliomaseg.training.trackers import require_trackers, track, tracking
from gliomaseg.training.validation import mean_scores, validate

_log = logging.getLogger(__name__)

#: Steps between the rows of history.csv.
_LOG_STEPS = 25
#: How long processes wait for the one that prepares the cases (NCCL's own limit is 10 minutes).
_PREPARING = timedelta(hours=12)
#: More steps than any time budget has room for.
_ENDLESS = 1 << 40


def train(
    cases: Sequence[Case],
    folder: str | Path,
    settings: Settings,
    *,
    cache: Path | None = None,
    progress: Progress = no_progress,
) -> Run:
    """Train a network on ``cases`` into ``folder``, or go on with the training that is there.

    Prepared cases are kept in ``cache`` (default: ``folder``/cache). Ctrl-C and SIGTERM save a checkpoint.
    Raises TrainingError (E-RUN, E-FEWCASES, E-LOSS), CaseError and ImageError for the cases.
    """
    folder = Path(folder)
    keep_freed_memory()
    accelerator = _accelerator(folder, settings)
    progress = progress if accelerator.is_main_process else no_progress
    run, patches, held_out = _prepare(cases, folder, settings, cache, progress, accelerator)
    state = begin(run, accelerator)
    if state.step == 0 and accelerator.is_main_process:
        progress(0, "planning")
        _log.info(make_plan(state, patches, held_out, folder).text())
    with tracking(accelerator, settings, folder):
        _loop(run, state, patches, held_out, progress)
    return run


def plan(
    cases: Sequence[Case], folder: Path, settings: Settings, *, cache: Path | None = None, progress: Progress
) -> Plan:
    """Prepare ``cases`` and return the plan of training on them, also in plan.json; trains nothing.

    Arguments and errors are those of ``train``.
    """
    accelerator = _accelerator(folder, settings)
    run, patches, held_out = _prepare(cases, folder, settings, cache, progress, accelerator)
    return make_plan(begin(run, accelerator), patches, held_out, folder)


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

    Raises OutputError (E-EXISTS) where that would replace someone else's file; else as ``train``.
    """
    from gliomaseg.training.patch_sheet import TITLE, write_patch_sheet

    refuse_foreign(picture, [TITLE.encode()], overwrite=None, option="--show-augmentation")
    _, patches, _ = _prepare(cases, folder, settings, cache, progress, _accelerator(folder, settings))
    write_patch_sheet(patches, picture)


def _accelerator(folder: Path, settings: Settings) -> Accelerator:
    """Return what spreads the work; it casts nothing, the loop does once that was found to be right."""
    trackers = require_trackers(settings.training.track)
    found = Accelerator(
        mixed_precision="no",
        log_with=trackers or None,
        project_dir=folder / "tensorboard",
        kwargs_handlers=[InitProcessGroupKwargs(timeout=_PREPARING)],
    )
    if settings.training.batch % found.num_processes:
        raise SettingsError(
            "E-SETTING",
            f"a batch of {settings.training.batch} can't be shared by {found.num_processes} processes",
            expected="as many patches for each process",
            remedy=f"use --set training.batch={found.num_processes} or a multiple of it",
        )
    return found


def _prepare(
    cases: Sequence[Case],
    folder: Path,
    settings: Settings,
    cache: Path | None,
    progress: Progress,
    accelerator: Accelerator,
) -> tuple[Run, PatchDataset, list[PreparedCase]]:
    cases = first_patients(cases, settings.training)
    check_split(cases, settings.training)
    check_patch(cases, settings)
    refuse_inputs(folder, [], [file for case in cases for file in case.files])
    with accelerator.main_process_first():
        run = open_run(folder, settings)
        prepared = prepare_cases(
            cases, settings, cache or folder / "cache", lambda _, text: progress(0, text)
        )
        split = run.keep_split(split_by_patient(prepared, settings.training))
    held_out = [case for case in prepared if case.id in split.validation]
    return run, PatchDataset([case for case in prepared if case.id in split.train], settings), held_out


def _loop(
    run: Run, state: State, patches: PatchDataset, held_out: Sequence[PreparedCase], progress: Progress
) -> None:
    settings = run.settings.training
    loss_of = build_loss(run.settings)
    saved = validated = state.seconds
    state.network.train()
    with closing(_batches(patches, state)) as batches, stop_on_signal() as stop:
        while _goes_on(state, stop):
            _step(state, batches, loss_of, patches)
            progress(state.done, f"step {state.step}  loss {state.loss:.3f}")
            if state.step % _LOG_STEPS == 0:
                state.log()
                track(state.accelerator, state.history.rows[-1])
            if held_out and state.seconds - validated > 60 * settings.validate_minutes:
                validated = state.seconds
                _score(run, state, held_out, _watch(stop, state, progress))
            if state.seconds - saved > 60 * settings.checkpoint_minutes:
                saved = state.seconds
                _save(run, state)
        if state.losses and not state.stop:
            state.log()
        is_left = state.stop or state.is_paused
        if held_out and not is_left and not state.history.is_final_at(state.step):
            _score(run, state, held_out, _watch(stop, state, progress))
        _save(run, state)
        _show(run, state)
    if state.stop:
        raise KeyboardInterrupt


def _goes_on(state: State, stop: threading.Event) -> bool:
    """Return whether there is a step to do, the same in every process."""
    state.stop = bool(greatest_of_all(state.accelerator, float(stop.is_set())))
    return not (state.stop or state.is_over or state.is_paused)


def _step(state: State, batches: Iterator[Batch], loss_of: Loss, patches: PatchDataset) -> None:
    """Move the network by one batch, then the average towards it; raises TrainingError (E-LOSS).

    Waiting for the batch counts as time of training, too: a fast machine may wait for most of it.
    """
    started = time.monotonic()
    batch = next(batches)
    training, accelerator = state.settings.training, state.accelerator
    torch.manual_seed(training.seed * 1_000_003 + state.step)  # of dropout: a resumed run draws the same
    image, target = (part.to(accelerator.device, torch.float32) for part in batch)
    rate = learning_rate(training, state.step, state.done, state.history)
    for group in state.optimiser.param_groups:
        group["lr"] = group["times"] * rate
    with torch.autocast(accelerator.device.type, torch.bfloat16, enabled=state.bf16):
        outputs = state.trained(image.to(memory_format=memory_format(state.settings.network.dimensions)))
    loss = loss_of(outputs, target)
    accelerator.backward(loss)
    norm = nn.utils.clip_grad_norm_(state.network.parameters(), training.clip_gradient)
    if not (math.isfinite(loss.item()) and math.isfinite(norm.item())):
        raise _not_finite(state, patches, loss.item(), norm.item())
    state.optimiser.step()
    state.optimiser.zero_grad()
    state.losses.append(mean_of_all(accelerator, loss.item()))
    state.seconds = greatest_of_all(accelerator, state.seconds + time.monotonic() - started)
    state.step += 1
    state.follow()


def _not_finite(state: State, patches: PatchDataset, loss: float, norm: float) -> TrainingError:
    seen = "; ".join(patches.describe(number) for number in _numbers(state, state.step))
    return TrainingError(
        "E-LOSS",
        f"step {state.step + 1} has a loss of {loss:g} and a gradient of norm {norm:g}, on {seen}",
        expected="finite numbers",
        remedy="look at those cases; the same command goes on from the last checkpoint; if it comes back, "
        "begin a new run with a lower --set training.learning_rate or --set training.precision=fp32",
    )


def _score(
    run: Run,
    state: State,
    cases: Sequence[PreparedCase],
    watch: Callable[[Iterable[PreparedCase]], Iterator[PreparedCase]],
) -> None:
    """Save, for it takes minutes, then put the scores of the averaged network into the history."""
    state.log()
    _save(run, state)
    rank, count = state.accelerator.process_index, state.accelerator.num_processes
    engine = TorchEngine([state.average], state.settings, bf16=state.bf16)
    mine = validate(engine, watch(cases[rank::count]), state.settings)
    scores = mean_scores(gather_object(mine))
    state.history.add_scores(scores, final=False)
    state.history.add_scores(scores, final=state.is_over)  # by its budget, or because these are no better
    if state.history.last_is_best and state.accelerator.is_main_process:
        run.save_best(state.average)
    track(state.accelerator, state.history.rows[-1])
    _show(run, state)


def _show(run: Run, state: State) -> None:
    """Draw the curves, where there is matplotlib to do it: machines that are lent to train may lack it."""
    if state.accelerator.is_main_process and state.history.rows and find_spec("matplotlib"):
        from gliomaseg.training.curves import write_curves

        write_curves(state.history, run.folder / "curves.png")


def _save(run: Run, state: State) -> None:
    if state.accelerator.is_main_process:
        run.save(state)


def _watch(
    stop: threading.Event, state: State, progress: Progress
) -> Callable[[Iterable[PreparedCase]], Iterator[PreparedCase]]:
    """Return what yields cases and says which; alone, a process stops there once a signal came."""

    def watched(cases: Iterable[PreparedCase]) -> Iterator[PreparedCase]:
        for case in cases:
            if stop.is_set() and state.accelerator.num_processes == 1:
                raise KeyboardInterrupt
            progress(state.done, f"step {state.step}  validating {case.id}")
            yield case

    return watched


def _batches(patches: PatchDataset, state: State) -> Generator[Batch]:
    """Return this process's part of each batch; reading begins, in other processes, with the first."""
    training = state.settings.training
    steps = training.steps if training.hours is None else _ENDLESS
    numbers = (_numbers(state, step) for step in range(state.step, steps))
    return read_batches(patches, numbers, training.workers)


def _numbers(state: State, step: int) -> range:
    """Return the numbers of this process's patches in a step."""
    batch, accelerator = state.settings.training.batch, state.accelerator
    share = batch // accelerator.num_processes
    first = step * batch + share * accelerator.process_index
    return range(first, first + share)
