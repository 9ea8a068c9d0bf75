"""Many cases: one bad case never stops the rest, and finished ones are not done again."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from gliomaseg.cases.case import Case
from gliomaseg.errors import GliomasegError, Note, OutputError, UsageError, as_coded
from gliomaseg.imaging.nifti import names_image
from gliomaseg.labels import BRATS2021, LabelScheme
from gliomaseg.result import ROOM, Result
from gliomaseg.segmenter import Opened, Segmenter
from gliomaseg.storage import files
from gliomaseg.storage.guard import refuse_file, refuse_inputs
from gliomaseg.storage.outcome import Outcome
from gliomaseg.storage.result_folder import ResultFolder
from gliomaseg.storage.summary import refuse_foreign_summary, write_summary


def segment_cases(
    cases: Sequence[Case],
    segmenter: Segmenter,
    output: Path,
    *,
    scheme: LabelScheme = BRATS2021,
    overwrite: bool = False,
    only: Literal["seg"] | None = None,
    progress: Callable[[float, str], None] = lambda _fraction, _text: None,
) -> Iterator[Outcome]:
    """Segment each case into its folder under ``output`` and yield what became of it.

    While the network works on one case, the next is read and the last one written: three are in memory at
    most, and one with ``inference.max_memory_gb``. A case whose folder holds the very same result (inputs,
    model, settings by hash) is left as it is. One that another process is working on comes last, with
    the state ``locked`` if that still is so. ``only``, and an ``output`` that is called like an image, are
    as in ``Result.save``. At the end, and when it is ended early, a folder has a summary.csv of every case
    in it. Raises OutputError when ``output`` can't be written, or holds an input or someone else's
    summary.csv, UsageError when it is one file for more than one label map, before any work.
    """
    _make_room(cases, segmenter, output, overwrite=overwrite)
    order = _Order(segmenter, output, scheme, overwrite, only)
    jobs: list[_Job] = []
    for number, case in enumerate(cases):
        where = f"{case.id}" if len(cases) == 1 else f"{number + 1}/{len(cases)} {case.id}"

        def tell(stage: str, number: int = number, where: str = where) -> None:
            if all(job.outcome or job.locked for job in jobs[:number]):  # the first in work is shown
                progress((number + _SHARE.get(stage, 0)) / len(cases), f"{where}: {stage}")

        jobs.append(_Job(case, order, tell))
    in_turn = segmenter.settings.inference.max_memory_gb is not None
    outcomes = _overlapped(jobs, ahead=0 if in_turn else 1)
    return outcomes if names_image(output) else _summarised(outcomes, output)


def _summarised(outcomes: Iterator[Outcome], output: Path) -> Iterator[Outcome]:
    """Yield the outcomes, and write summary.csv when they end, however they end."""
    seen: list[Outcome] = []
    try:
        for outcome in outcomes:
            seen.append(outcome)
            yield outcome
    finally:
        try:
            ours = [outcome for outcome in seen if not _is_done_elsewhere(outcome, output)]
            write_summary(output, [outcome.row() for outcome in ours])
        except OutputError:
            if not any(outcome.error for outcome in seen):  # else that the disk is full was reported
                raise


def _is_done_elsewhere(outcome: Outcome, output: Path) -> bool:
    """Return whether the process that had locked a case has finished it since."""
    return outcome.state == "locked" and ResultFolder(output / outcome.case_id).is_result


def _make_room(cases: Sequence[Case], segmenter: Segmenter, output: Path, *, overwrite: bool) -> None:
    """Prove that results can be written to ``output``, and clear away what killed processes left there."""
    if names_image(output):
        _require_one(cases, segmenter, output)
        folder, count = output.parent, 1
    else:
        inputs = [file for case in cases for file in case.files]
        refuse_inputs(output, [output / case.id for case in cases], inputs)
        refuse_foreign_summary(output, overwrite=overwrite)
        folder, count = output, sum(not (output / case.id).exists() for case in cases)
    files.make_folder(folder, room=ROOM * count)
    files.clear_leftovers(folder)


def _require_one(cases: Sequence[Case], segmenter: Segmenter, output: Path) -> None:
    """Raise UsageError unless one file can hold what is wanted."""
    if len(cases) == 1 and not segmenter.maps:
        return
    what = f"there are {len(cases)} cases" if len(cases) != 1 else "maps are wanted beside the label map"
    raise UsageError(
        "E-USAGE",
        f"-o {output} names one file, but {what}",
        expected="one case without --maps for a file, else a folder",
        remedy="give a folder with -o: each case gets one of its own in it; --only seg leaves the rest out",
    )


#: How much of a case's time has passed when a stage begins, from the seconds in docs/speed.md.
_SHARE = {"prepare": 0.2, "compile": 0.3, "infer": 0.35, "label": 0.7, "save": 0.75}


def _overlapped(jobs: Sequence[_Job], *, ahead: int) -> Iterator[Outcome]:
    """Open, label and save each job; yield outcomes in order, those that others had locked last.

    ``ahead`` jobs are opened, and as many saved, by threads beside, while another one is labelled.
    """
    reader, writer = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
    opening: deque[Future[None]] = deque()
    saving: deque[Future[Outcome | None]] = deque()
    try:
        for number, job in enumerate(jobs):
            for following in jobs[number + len(opening) : number + 1 + ahead]:
                opening.append(reader.submit(following.open))
            opening.popleft().result()
            job.label()
            saving.append(writer.submit(job.save))
            while len(saving) > ahead:
                yield from filter(None, [saving.popleft().result()])
        yield from filter(None, [future.result() for future in saving])
        yield from (job.try_again() for job in jobs if job.locked)
    finally:
        reader.shutdown(cancel_futures=True)
        writer.shutdown(cancel_futures=True)
        for job in jobs:
            job.release()


@dataclass(frozen=True)
class _Order:
    """What is wanted of every case."""

    segmenter: Segmenter
    output: Path
    scheme: LabelScheme
    overwrite: bool
    only: Literal["seg"] | None


class _Job:
    """One case on its way into its folder: opened, labelled, saved. Whatever goes wrong is its outcome."""

    def __init__(self, case: Case, order: _Order, tell: Callable[[str], None]) -> None:
        self.outcome: Outcome | None = None
        self.locked: GliomasegError | None = None
        self._case, self._order, self._tell = case, order, tell
        self._is_file = names_image(order.output)
        self._target = order.output if self._is_file else order.output / case.id
        self._claim = contextlib.ExitStack()
        self._opened: Opened | None = None
        self._result: Result | None = None

    def open(self) -> None:
        """Read and prepare the case, unless it is locked or its folder holds the wanted result already."""
        with self._caught():
            self._tell("check")
            was_locked, self.locked = bool(self.locked), self._lock()
            if self.locked:
                return
            if not self._is_file and self._is_done(was_locked):
                self._end(_outcome(self._case, "unchanged", ResultFolder(self._target)))
                return
            if self._is_file:
                refuse_file(self._target, self._case.files, overwrite=self._order.overwrite)
            segmenter, scheme = self._order.segmenter, self._order.scheme
            self._opened = segmenter.open(self._case, scheme=scheme, stage=self._tell)

    def _lock(self) -> GliomasegError | None:
        try:
            self._claim.enter_context(files.claim(self._target))
        except OutputError as error:
            if error.code != "E-LOCKED":
                raise
            return error
        return None

    def _is_done(self, was_locked: bool) -> bool:
        """Return whether the wanted result is there; with overwrite, if another process just made it."""
        folder = ResultFolder(self._target)
        if not self._order.overwrite:
            return folder.same_as(self._wanted)
        with contextlib.suppress(OutputError):
            return was_locked and folder.same_as(self._wanted)
        return False

    def _wanted(self) -> dict[str, Any]:
        described = self._order.segmenter.describe(self._case, self._order.scheme)
        return {**described, "only": self._order.only}

    def try_again(self) -> Outcome:
        """Do all of a case that was locked, if it is not any more."""
        self.open()
        self.label()
        if self.locked:
            self._end(Outcome(self._case.id, "locked", error=self.locked.reworded(self._shorten)))
        return cast("Outcome", self.save())  # one of the four has ended it

    def label(self) -> None:
        """Run the network."""
        with self._caught():
            if self._opened:
                self._result = self._order.segmenter.label(self._opened, stage=self._tell)
        self._opened = None

    def save(self) -> Outcome | None:
        """Write the result and return what became of the case; None for one that is locked."""
        with self._caught():
            if self._result:
                self._tell("save")
                saved = self._result.save(self._order.output, overwrite=True, only=self._order.only)
                self._end(
                    _outcome_of(self._result, saved)
                    if self._is_file
                    else _outcome(self._case, "done", ResultFolder(saved))
                )
        self._result = None
        return self.outcome

    def release(self) -> None:
        """Let other processes work on the case."""
        self._claim.close()

    def _end(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.release()

    @contextlib.contextmanager
    def _caught(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 (whatever it is, the other cases go on)
            self._end(Outcome(self._case.id, "failed", error=as_coded(error).reworded(self._shorten)))

    def _shorten(self, text: str) -> str:
        return self._case.anonymous(text).replace(f"{self._target.parent}{os.sep}", "")


def _outcome(case: Case, state: Literal["done", "unchanged"], folder: ResultFolder) -> Outcome:
    record = folder.read()
    notes = tuple(Note(**note) for note in record.get("notes", ()))
    return Outcome(case.id, state, folder.path, folder.measurements(), notes=notes, record=record)


def _outcome_of(result: Result, file: Path) -> Outcome:
    record = result.record()
    return Outcome(result.case.id, "done", file, dict(result.measured()), notes=result.notes, record=record)
