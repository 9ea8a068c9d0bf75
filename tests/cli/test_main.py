"""The command as a process: what it says arrives whole, and its exit code is the verb's."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from gliomaseg import __version__
from gliomaseg.cases.case import Case
from gliomaseg.labels import Modality

COMMAND = [sys.executable, "-m", "gliomaseg"]


def test_a_process_that_ends_at_once_has_said_everything() -> None:
    done = subprocess.run([*COMMAND, "--version"], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (f"gliomaseg {__version__}\n", "")


def test_a_failure_keeps_its_exit_code(tmp_path: Path) -> None:
    done = subprocess.run([*COMMAND, "check", str(tmp_path / "none")], capture_output=True, check=False)
    assert done.returncode == 1, done.stderr
    assert subprocess.run([*COMMAND, "none"], capture_output=True, check=False).returncode == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_words_that_can_not_be_written_are_a_failure() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*COMMAND, "--version"], stdout=full, stderr=subprocess.DEVNULL, check=False)
    assert done.returncode != 0


@pytest.mark.skipif(sys.platform == "win32", reason="streams are closed by a POSIX shell")
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_nowhere_and_never_a_file(tmp_path: Path, phantom_case: Case, closed: str) -> None:
    """Without care the first file that is opened becomes stdout, and what is printed lands in a result."""
    folder = phantom_case.images[Modality.T1N].parent
    script = f'"$0" -m gliomaseg segment "$1" -o "$2" {closed}'
    done = subprocess.run(
        ["sh", "-c", script, sys.executable, str(folder), str(tmp_path)], capture_output=True, check=False
    )
    assert done.returncode == 0
    written = list((tmp_path / phantom_case.id).iterdir())
    assert "seg.nii.gz" in [path.name for path in written]
    assert not any(b"Research use only: not a medical device.\n" in path.read_bytes() for path in written)


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of POSIX")
def test_a_reader_that_has_ended_is_no_fault() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([*COMMAND, "--help"], stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.skipif(sys.platform != "linux", reason="what setpriv and a deleted folder do on Linux")
def test_without_a_home_and_in_a_folder_that_was_deleted(tmp_path: Path) -> None:
    """An error's words leave out the folders of the user, who has none here."""
    code = (
        "import os, sys; os.rmdir(os.getcwd()); os.environ.pop('HOME', None)\n"
        "import pwd; pwd.getpwuid = lambda _: {}[0]\n"  # as for a user that the system does not know
        "sys.argv = ['gliomaseg', 'check', '/nowhere', '--json']\n"
        "from gliomaseg.__main__ import run; run()"
    )
    (tmp_path / "here").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "here", capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr
    assert "nowhere does not exist" in done.stdout + done.stderr


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


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("setpriv"),
    reason="a limit of threads binds no root user: needs root to become another, and setpriv",
)
def test_no_thread_to_be_had_is_said(phantom_case: Case) -> None:
    """As user 54321 with at most 3 threads: root's files stay readable, root's freedom of limits goes."""
    limited = ["setpriv", "--ruid=54321", "--euid=0", "--clear-groups"]
    limited += ["--bounding-set=-sys_resource,-sys_admin", "prlimit", "--nproc=3:3"]
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        home.chmod(0o755)
        exam = shutil.copytree(phantom_case.images[Modality.T1N].parent, home / "exam")
        command = [*limited, *COMMAND, "segment", str(exam), "-o", str(home / "out")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1, done.stderr
        assert "E-LIMIT" in done.stderr
        assert "ulimit -u" in done.stderr
        assert not list((home / "out").iterdir())
