"""Closed by default: no connection, no look-up, no pickle; nothing written tells where files lie."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import gliomaseg

pytestmark = pytest.mark.slow

SOURCE = Path(gliomaseg.__file__).parent

#: Runs the command line with every way out of the computer closed: an attempt ends the process with 99.
CLOSED = """
import os, sys

def hook(event, args):
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.connect",
                 "socket.sendto", "socket.sendmsg", "socket.bind", "urllib.Request", "http.client.connect",
                 "ftplib.connect", "smtplib.connect", "webbrowser.open"):
        os.write(2, f"OPENED {event} {args}".encode())
        os._exit(99)

sys.addaudithook(hook)
from gliomaseg.cli.app import main
sys.argv = ["gliomaseg", *sys.argv[1:]]
main()
"""
TINY = (
    "network.filters=[4,4,4]",
    "training.patch=[32,32,32]",
    "training.batch=1",
    "training.steps=2",
    "prepare.spacing_mm=3",
)
TINY += ("training.workers=0", "training.folds=2", "training.precision=fp32")


def closed(*args: object) -> str:
    """Run gliomaseg without a way out, and return what it said."""
    command = [sys.executable, "-c", CLOSED, *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert "OPENED" not in done.stderr
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_the_trap_closes() -> None:
    code = CLOSED.partition("from gliomaseg")[0] + "import socket; socket.getaddrinfo('localhost', 80)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, "OPENED socket.getaddrinfo" in done.stderr) == (99, True)


def test_no_verb_opens_a_connection(phantom_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    closed("check", phantom_folder, "--deep")
    closed("segment", phantom_folder / "phantom-0", "-o", tmp_path / "out")
    closed(
        "evaluate",
        tmp_path / "out",
        phantom_folder,
        "--predicted-only",
        "--jobs",
        "1",
        "-o",
        tmp_path / "scores",
    )
    closed("report", tmp_path / "out", "-o", tmp_path / "cohort.html")
    settings = [word for setting in TINY for word in ("--set", setting)]
    closed("train", phantom_folder, "-o", tmp_path / "run", *settings)
    for path in tmp_path.rglob("*"):
        if path.suffix in (".json", ".csv", ".html", ".log"):
            text = path.read_text(encoding="utf-8")
            assert str(tmp_path) not in text, path
            assert str(phantom_folder) not in text, path


@pytest.mark.parametrize("file", sorted(SOURCE.rglob("*.py")), ids=lambda p: p.relative_to(SOURCE).as_posix())
def test_nothing_that_runs_what_it_reads(file: Path) -> None:
    """No eval, exec, pickle, torch.load, yaml.load; numpy's archives without pickle."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        assert name not in ("eval", "exec", "compile", "torch.load", "yaml.load", "yaml.unsafe_load"), (
            node.lineno
        )
        assert not name.startswith(("pickle.", "marshal.", "shelve.", "dill.")), node.lineno
        if name == "np.load":
            assert "allow_pickle=False" in ast.unparse(node), node.lineno


def test_errors_in_json_and_in_the_log_name_no_folder(tmp_path: Path) -> None:
    home = tmp_path / "Doe John"
    (home / "data").mkdir(parents=True)
    (home / "data" / "holiday.nii.gz").write_bytes(b"x")
    command = [sys.executable, "-m", "gliomaseg", "--log", str(tmp_path / "log.txt"), "segment"]
    command += [str(home / "data"), "-o", str(home / "out"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    log = (tmp_path / "log.txt").read_text()
    assert "Traceback" in log
    assert "E-NOCASE" in log or "no case in data" in log
    for text in (done.stdout, log):
        assert "Doe John" not in text
        assert "no case in data" in text
        assert str(SOURCE.parent) not in text
    assert "Traceback" not in done.stderr
