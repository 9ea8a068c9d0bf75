"""Jobs in several processes: bounded, and their end reported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gliomaseg.errors import GliomasegError
from gliomaseg.evaluation.workers import count_workers, run_jobs
from gliomaseg.inference.hardware import cores


def test_a_killed_process_is_named() -> None:
    with pytest.raises(GliomasegError, match="was killed") as caught:
        list(run_jobs(os._exit, [9, 9, 9], workers=2))
    assert caught.value.code == "E-MEM"


def test_jobs_are_taken_as_they_are_needed() -> None:
    taken: list[int] = []

    def jobs() -> list[int]:
        return [taken.append(n) or n for n in range(3)]  # type: ignore[func-returns-value]

    assert list(run_jobs(abs, (n for n in jobs()), workers=1)) == [0, 1, 2]


def test_submitted_jobs_are_bounded() -> None:
    taken = 0

    def jobs() -> object:
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield float(number)

    done = run_jobs(abs, jobs(), workers=2)  # type: ignore[arg-type]
    next(done)
    assert taken < 20
    done.close()


def test_processes_are_no_more_than_save_time() -> None:
    assert [count_workers(4, jobs) for jobs in (1, 5, 6, 1000)] == [1, 1, 2, 4]
    assert count_workers(0, 10_000) == cores()


_DAEMON = """
import multiprocessing
from gliomaseg.evaluation.workers import count_workers, run_jobs


def work() -> None:
    print(count_workers(4, 1000), sorted(run_jobs(abs, [-1, -2], workers=count_workers(4, 1000))), flush=True)


if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=work, daemon=True)
    process.start()
    process.join()
"""


def test_in_a_daemonic_process_which_may_start_none(tmp_path: Path) -> None:
    """Such as a worker of multiprocessing.Pool, or of a web server."""
    (tmp_path / "script.py").write_text(_DAEMON)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "script.py")], capture_output=True, text=True, check=False
    )
    assert done.stdout == "1 [1, 2]\n", done.stderr
