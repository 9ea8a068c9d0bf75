"""Many jobs in several processes: results as they are done, few of them in memory, Ctrl-C at once.

Processes are spawned, never forked, so that every system behaves alike. One worker is this process.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TypeVar

from gliomaseg.errors import GliomasegError
from gliomaseg.inference.hardware import cores

Job = TypeVar("Job")
Done = TypeVar("Done")

#: Jobs submitted per worker: one running, one waiting.
_AHEAD = 2
#: With fewer jobs per worker, starting a process takes longer than it saves.
_LEAST_JOBS = 3


def count_workers(wanted: int, jobs: int) -> int:
    """Return the number of processes: ``wanted``, or with 0 all cores, but no more than save time."""
    if multiprocessing.current_process().daemon:  # may not start any
        return 1
    return max(1, min(wanted or cores(), jobs // _LEAST_JOBS))


def run_jobs(work: Callable[[Job], Done], jobs: Iterable[Job], *, workers: int) -> Iterator[Done]:
    """Yield ``work(job)`` of every job as it is done, in any order; ``work`` and jobs can be pickled.

    An exception in a job ends everything. Raises GliomasegError (E-MEM) when a process was killed.
    """
    if workers <= 1:
        yield from map(work, jobs)
        return
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_ignore_interrupt)
    try:
        yield from _as_they_come(pool, work, iter(jobs), ahead=_AHEAD * workers)
    except BrokenProcessPool as error:
        raise GliomasegError(
            "E-MEM",
            f"one of the {workers} processes was killed, most likely because the memory ran out",
            expected="memory for a case in each process, and a script that guards its own work with "
            'if __name__ == "__main__"',
            remedy="use one process: --jobs 1, in Python workers=1",
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _as_they_come(
    pool: ProcessPoolExecutor, work: Callable[[Job], Done], jobs: Iterator[Job], *, ahead: int
) -> Iterator[Done]:
    waiting = _submit(pool, work, islice(jobs, ahead))
    while waiting:
        done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
        waiting |= _submit(pool, work, islice(jobs, len(done)))
        for future in done:
            yield future.result()


def _submit(pool: ProcessPoolExecutor, work: Callable[[Job], Done], jobs: Iterable[Job]) -> set[Future[Done]]:
    """Submit jobs. That may start processes, which inherit a blocked Ctrl-C."""
    if not hasattr(signal, "pthread_sigmask"):
        return {pool.submit(work, job) for job in jobs}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return {pool.submit(work, job) for job in jobs}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _ignore_interrupt() -> None:
    """Leave Ctrl-C to the parent, which then submits no more jobs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
