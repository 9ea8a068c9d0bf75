"""The command as a process: what it says arrives whole, and its exit code is the verb's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gliomaseg import __version__

COMMAND = [sys.executable, "-m", "gliomaseg"]


def test_a_process_that_ends_at_once_has_said_everything() -> None:
    done = subprocess.run([*COMMAND, "--version"], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (f"gliomaseg {__version__}\n", "")


def test_a_failure_keeps_its_exit_code(tmp_path: Path) -> None:
    done = subprocess.run([*COMMAND, "check", str(tmp_path / "none")], capture_output=True, check=False)
    assert done.returncode == 1
    assert subprocess.run([*COMMAND, "none"], capture_output=True, check=False).returncode == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_words_that_can_not_be_written_are_a_failure() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*COMMAND, "--version"], stdout=full, stderr=subprocess.DEVNULL, check=False)
    assert done.returncode != 0
