"""Many cases: a case that fails never stops the others, and finished cases are not computed again."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from gliomaseg.cases.case import Case
from gliomaseg.errors import OutputError, UsageError, as_coded
from gliomaseg.imaging.formats import is_nifti_name
from gliomaseg.labels import BRATS2021, LabelScheme
from gliomaseg.result import ROOM, Result
from gliomaseg.segmenter import ReadyCase, Segmenter
from gliomaseg.storage import files
from gliomaseg.storage.guard import refuse_file, refuse_inputs
from gliomaseg.storage.result_folder import ResultFolder
from gliomaseg.storage.summary import Outcome, State, refuse_foreign_summary, write_summary

#: The share of a case's time that has passed when a stage begins, from the seconds in docs/speed.md.
_SHARE = {
    "register": 0.05,
    "strip": 0.1,
    "resample": 0.15,  # of raw exams
    "prepare": 0.2,
    "compile": 0.3,
    "infer": 0.35,
    "label": 0.7,
    "save": 0.75,
}


def segment_cases(
    cases: Sequence[Case],
    segmenter: Segmenter,
    output: str | Path,
    *,
    scheme: LabelScheme = BRATS2021,
    overwrite: bool = False,
    only: Literal["seg"] | None = None,
    progress: Callable[[float, str], None] = lambda _fraction, _text: None,
) -> Iterator[Outcome]:
    """Segment each case into its folder under ``output`` and yield its outcome.

    While the network processes one case, the next is read and the last one written: at most three are in
    memory, and one if ``inference.max_memory_gb`` is set. A case whose folder holds the same result (inputs,
    model and settings by hash) is unchanged. A case that another process has locked comes last, with the
    state ``locked`` if it still is. ``only``, and an ``output`` with the name of an image, are as in
    ``Result.save``. At the end, also an early one, summary.csv lists every case of the folder. ``progress``
    is called with the fraction done and a text. Raises, before any work, OutputError if ``output`` can't be
    written or holds an input or another program's summary.csv, and UsageError if it is one file for more
    than one label map.
    """
    output = Path(output)
    _check_output(cases, segmenter, output, overwrite=overwrite)
    order = _Order(segmenter, output, scheme, overwrite, only)
    jobs: list[_Job] = []
    for number, case in enumerate(cases):
        title = f"{case.id}" if len(cases) == 1 else f"{number + 1}/{len(cases)} {case.id}"

        def notify(stage: str, number: int = number, title: str = title) -> None:
            if all(job.outcome for job in jobs[:number]):  # show the first of those at work
                progress((number + _SHARE.get(stage, 0)) / len(cases), f"{title}: {stage}")

        jobs.append(_Job(case, order, notify))
    one_at_a_time = segmenter.settings.inference.max_memory_gb is not None
    outcomes = _outcomes(jobs, ahead=0 if one_at_a_time else 1)
    return outcomes if is_nifti_name(output.name) else _summarised(outcomes, output)


def _check_output(cases: Sequence[Case], segmenter: Segmenter, output: Path, *, overwrite: bool) -> None:
    """Raise if results can't be written to ``output``; remove the drafts of killed processes there."""
    if is_nifti_name(output.name):
        _require_one_map(cases, segmenter, output)
        folder, count = output.parent, 1
    else:
        inputs = [file for case in cases for file in case.files]
        refuse_inputs(output, [output / case.id for case in cases], inputs)
        refuse_foreign_summary(output, overwrite=overwrite)
        folder, count = output, sum(not (output / case.id).exists() for case in cases)
    files.make_folder(folder, room=ROOM * count)
    files.clear_leftovers(folder)


def _require_one_map(cases: Sequence[Case], segmenter: Segmenter, output: Path) -> None:
    if len(cases) == 1 and not segmenter.maps:
        return
    what = f"there are {len(cases)} cases" if len(cases) != 1 else "maps are wanted beside the label map"
    raise UsageError(
        "E-USAGE",
        f"-o {output} names one file, but {what}",
        expected="one case without --maps for a file, else a folder",
        remedy="give a folder with -o: each case gets one of its own in it; --only seg leaves the rest out",
    )


def _summarised(outcomes: Iterator[Outcome], output: Path) -> Iterator[Outcome]:
    """Yield the outcomes; write summary.csv at the end, also after an error or an early end."""
    seen: list[Outcome] = []
    try:
        for outcome in outcomes:
            seen.append(outcome)
            yield outcome
    finally:
        try:
            write_summary(output, [outcome for outcome in seen if not _is_done_elsewhere(outcome, output)])
        except OutputError:
            if not any(outcome.error for outcome in seen):  # else the full disk has been reported
                raise


def _is_done_elsewhere(outcome: Outcome, output: Path) -> bool:
    """Return whether the process that had locked a case has finished it since."""
    return outcome.state == "locked" and ResultFolder(output / outcome.case_id).is_result()


def _outcomes(jobs: Sequence[_Job], *, ahead: int) -> Iterator[Outcome]:
    """Process each job and yield outcomes in order, those of locked cases last, after another try."""
    try:
        with contextlib.closing(_overlapped(jobs, ahead)) as outcomes:
            yield from (outcome for outcome in outcomes if outcome.state != "locked")
        yield from (job.try_again() for job in jobs if job.outcome and job.outcome.state == "locked")
    finally:
        for job in jobs:
            job.unlock()


def _overlapped(jobs: Sequence[_Job], ahead: int) -> Generator[Outcome]:
    """Prepare, label and save each job, and yield the outcomes in order.

    While one is labelled, ``ahead`` jobs are prepared, and as many saved, by two other threads.
    """
    reader, writer = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
    preparing: deque[Future[None]] = deque()
    saving: deque[Future[Outcome]] = deque()
    try:
        for number, job in enumerate(jobs):
            for following in jobs[number + len(preparing) : number + 1 + ahead]:
                preparing.append(reader.submit(following.prepare))
            preparing.popleft().result()
            job.label()
            saving.append(writer.submit(job.save))
            while len(saving) > ahead:
                yield saving.popleft().result()
        yield from (future.result() for future in saving)
    finally:
        reader.shutdown(cancel_futures=True)
        writer.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class _Order:
    """The options of a cohort."""

    segmenter: Segmenter
    output: Path
    scheme: LabelScheme
    overwrite: bool
    only: Literal["seg"] | None


class _Job:
    """One case from its images to its folder: prepared, labelled, saved. An error becomes its outcome."""

    def __init__(self, case: Case, order: _Order, notify: Callable[[str], None]) -> None:
        self._case, self._order, self._notify = case, order, notify
        self._is_file = is_nifti_name(order.output.name)
        self._target = order.output if self._is_file else order.output / case.id
        self._lock = contextlib.ExitStack()
        self._ready: ReadyCase | None = None
        self._result: Result | None = None
        self.outcome: Outcome | None = None
        self._was_locked = False

    def prepare(self) -> None:
        """Read and prepare the case, unless it is locked or its folder holds the wanted result."""
        with self._errors_as_outcome():
            self._notify("check")
            self._lock.enter_context(files.claim(self._target))
            if self._is_file:
                refuse_file(self._target, self._case.files, overwrite=self._order.overwrite)
            elif self._is_done():
                self._end(Outcome.read(ResultFolder(self._target)))
                return
            segmenter, scheme = self._order.segmenter, self._order.scheme
            self._ready = segmenter.prepare(self._case, scheme=scheme, on_stage=self._notify)

    def _is_done(self) -> bool:
        """Return whether the wanted result exists; with overwrite, only if another process just made it."""
        folder = ResultFolder(self._target)
        if not self._order.overwrite:
            return folder.same_as(self._wanted)
        with contextlib.suppress(OutputError):
            return self._was_locked and folder.same_as(self._wanted)
        return False

    def _wanted(self) -> dict[str, Any]:
        described = self._order.segmenter.describe(self._case, self._order.scheme)
        return {**described, "only": self._order.only}

    def label(self) -> None:
        """Run the network."""
        with self._errors_as_outcome():
            if self._ready:
                self._result = self._order.segmenter.label(self._ready, on_stage=self._notify)
        self._ready = None

    def save(self) -> Outcome:
        """Write the result and return the outcome of the case."""
        with self._errors_as_outcome():
            if result := self._result:
                self._notify("save")
                saved = result.save(self._order.output, overwrite=True, only=self._order.only)
                record, measured = result.record(), result.measured()
                self._end(Outcome(self._case.id, "done", saved, measured, notes=result.notes, record=record))
        self._result = None
        return cast("Outcome", self.outcome)  # one of the three steps has set it

    def try_again(self) -> Outcome:
        """Process a case that was locked, if it is free now."""
        self.outcome, self._was_locked = None, True
        self.prepare()
        self.label()
        return self.save()

    def unlock(self) -> None:
        """Let other processes work on the case."""
        self._lock.close()

    def _end(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.unlock()

    @contextlib.contextmanager
    def _errors_as_outcome(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 (the other cases go on after any error)
            coded = as_coded(error).reworded(self._shorten)
            state: State = "locked" if coded.code == "E-LOCKED" else "failed"
            self._end(Outcome(self._case.id, state, error=coded))

    def _shorten(self, text: str) -> str:
        return self._case.anonymous(text).replace(f"{self._target.parent}{os.sep}", "")
