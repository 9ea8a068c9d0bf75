"""The command as a process: what it says arrives whole, and its exit code is the verb's."""

from __future__ import annotations

import platform
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


_THREADS = """
import ctypes, threading
from gliomaseg.__main__ import share_memory

libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
libc.fopen.argtypes = ctypes.c_char_p, ctypes.c_char_p
libc.malloc_info.argtypes = ctypes.c_int, ctypes.c_void_p
libc.fflush.argtypes = (ctypes.c_void_p,)
{call}
barrier = threading.Barrier(8)
threads = [threading.Thread(target=lambda: (libc.malloc(10_000), barrier.wait())) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
stream = libc.fopen(b"/dev/stdout", b"w")
libc.malloc_info(0, stream)
libc.fflush(stream)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="pools of memory as glibc has them")
@pytest.mark.parametrize(("call", "most"), [("share_memory()", 2), ("", 100)])
def test_threads_share_pools_of_memory(call: str, most: int) -> None:
    code = _THREADS.format(call=call)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    pools = done.stdout.count("<heap nr=")
    assert 1 <= pools <= most
    assert pools > 2 or call
