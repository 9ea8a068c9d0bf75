"""The training loop: steps, validations and checkpoints until the training ends, pauses or is stopped.

Patches are numbered, so that a resumed run continues with the patches that an uninterrupted one would see.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from importlib.util import find_spec

import torch
from accelerate.utils import gather_object
from torch import nn

from gliomaseg.errors import TrainingError
from gliomaseg.training.cache import PreparedCase
from gliomaseg.training.dataset import PatchDataset
from gliomaseg.training.history import mean_scores
from gliomaseg.training.loss import Loss, build_loss
from gliomaseg.training.network import memory_format
from gliomaseg.training.process import Batch, Progress, read_batches
from gliomaseg.training.run import Run
from gliomaseg.training.state import State, learning_rate
from gliomaseg.training.torch_engine import TorchEngine
from gliomaseg.training.validation import validate

#: Steps between the rows of history.csv.
_LOG_STEPS = 25


def run_loop(
    run: Run,
    state: State,
    patches: PatchDataset,
    held_out: Sequence[PreparedCase],
    stop: threading.Event,
    progress: Progress,
) -> None:
    """Train until the end or a pause; once ``stop`` is set, save and raise KeyboardInterrupt.

    Raises TrainingError (E-LOSS) for a loss or gradient that is not finite.
    """
    settings, accelerator = run.settings.training, state.accelerator
    loss_of = build_loss(run.settings)
    saved = validated = state.seconds
    state.network.train()
    with closing(read_batches(patches, state.patch_numbers(), settings.workers)) as batches:
        while state.goes_on(stop):
            _step(state, batches, loss_of, patches)
            progress(state.done, f"step {state.step}  loss {state.loss:.3f}")
            if state.step % _LOG_STEPS == 0:
                state.log()
                accelerator.log(state.history.rows[-1].values, step=state.step)
            if held_out and state.seconds - validated > 60 * settings.validate_minutes:
                validated = state.seconds
                _validate(run, state, held_out, stop, progress)
            if state.seconds - saved > 60 * settings.checkpoint_minutes:
                saved = state.seconds
                _save(run, state)
    if state.losses and not state.stop:
        state.log()
    is_at_end = not (state.stop or state.is_paused)
    if held_out and is_at_end and not state.history.is_final_at(state.step):
        _validate(run, state, held_out, stop, progress)
    _save(run, state)
    if state.stop:
        raise KeyboardInterrupt


def _step(state: State, batches: Iterator[Batch], loss_of: Loss, patches: PatchDataset) -> None:
    """Update the network by one batch, and the EMA; waiting for the batch counts as training time."""
    started = time.monotonic()
    batch = next(batches)
    training, accelerator = state.settings.training, state.accelerator
    torch.manual_seed(training.seed * 1_000_003 + state.step)  # dropout: the same in a resumed run
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
    losses = state.of_all(loss.item())
    state.losses.append(sum(losses) / len(losses))
    state.seconds = max(state.of_all(state.seconds + time.monotonic() - started))
    state.step += 1
    state.update_average()


def _not_finite(state: State, patches: PatchDataset, loss: float, norm: float) -> TrainingError:
    seen = "; ".join(patches.describe(number) for number in next(state.patch_numbers()))
    return TrainingError(
        "E-LOSS",
        f"step {state.step + 1} has a loss of {loss:g} and a gradient of norm {norm:g}, on {seen}",
        expected="finite numbers",
        remedy="check those cases; the same command resumes from the last checkpoint; if it happens again, "
        "begin a new run with a lower --set training.learning_rate or --set training.precision=fp32",
    )


def _validate(
    run: Run, state: State, cases: Sequence[PreparedCase], stop: threading.Event, progress: Progress
) -> None:
    """Save, because it takes minutes; then score the EMA on held-out cases and write that into the history.

    Without other processes, a signal ends it before the next case.
    """
    state.log()
    _save(run, state)
    rank, count = state.accelerator.process_index, state.accelerator.num_processes
    engine = TorchEngine([state.average], state.settings, bf16=state.bf16)
    found = []
    for case in cases[rank::count]:
        if stop.is_set() and count == 1:
            raise KeyboardInterrupt
        progress(state.done, f"step {state.step}  validating {case.id}")
        found.append(validate(engine, case, state.settings))
    scores = mean_scores(gather_object(found))
    state.history.add_scores(scores, final=False)
    state.history.add_scores(scores, final=state.is_over)  # early stopping depends on these scores
    is_best = state.history.last_is_best
    state.accelerator.log(state.history.rows[-1].values, step=state.step)
    if is_best and state.accelerator.is_main_process:
        run.save_best(state.average)
    _save(run, state)


def _save(run: Run, state: State) -> None:
    """Save the run and draw its curves, if matplotlib is installed: rented machines may lack it."""
    if not state.accelerator.is_main_process:
        return
    run.save(state)
    if state.history.rows and find_spec("matplotlib"):
        from gliomaseg.training.curves import write_curves

        write_curves(state.history, run.folder / "curves.png")
