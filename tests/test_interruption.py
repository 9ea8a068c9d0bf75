"""Kills, signals, full disks and rivals leave the old state or a whole new one; a re-run completes."""

from __future__ import annotations

import json
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gliomaseg.storage.files import sha256_of

ROOT = Path(__file__).parents[1]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="signals and mounts of POSIX"),
]


def start(*args: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "gliomaseg", *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def is_whole(folder: Path) -> bool:
    outputs = json.loads((folder / "run.json").read_text())["outputs"]
    return bool(outputs) and all(sha256_of(folder / name) == digest for name, digest in outputs.items())


@pytest.mark.parametrize("verb", ["segment", "train", "prepare"])
def test_kills_lose_nothing(verb: str) -> None:
    """A few of the hundred of benchmarks/kills.py."""
    pytest.importorskip("torch")
    command = [sys.executable, str(ROOT / "benchmarks" / "kills.py"), "--count", "2", "--only", verb]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    name, _, kills, lost = (cell.strip() for cell in done.stdout.splitlines()[2].strip("|").split("|"))
    assert (name, kills, lost) == (verb, "2", "0"), done.stdout


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_case_cleanly_and_says_how_to_go_on(
    phantom_folder: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    process = start("segment", phantom_folder, "-o", tmp_path / "out")
    while not (tmp_path / "out" / "phantom-0").exists() and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "the same command again goes on" in err
    assert "Traceback" not in err
    left = sorted(path for path in (tmp_path / "out").iterdir() if path.name != "summary.csv")
    assert all(path.name.startswith("phantom-") and is_whole(path) for path in left), left
    assert 1 <= len(left) < 4
    listed = (tmp_path / "out" / "summary.csv").read_text()
    assert all(path.name in listed for path in left), "what is finished is listed"
    again = start("segment", phantom_folder, "-o", tmp_path / "out")
    _, err = again.communicate(timeout=60)
    assert again.returncode == 0
    assert "unchanged" in err


def test_a_signal_ends_a_training_cleanly(phantom_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    tiny = runpy.run_path(str(Path(__file__).with_name("test_closed.py")))["TINY"]
    settings = [word for setting in (*tiny, "training.steps=100000") for word in ("--set", setting)]
    process = start("train", phantom_folder, "-o", tmp_path / "run", *settings)
    while not (tmp_path / "run" / "split.json").exists() and process.poll() is None:
        time.sleep(0.01)
    time.sleep(2)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    assert "the same command again goes on" in err
    assert (tmp_path / "run" / "checkpoint.safetensors").exists() or "step" not in err


def test_two_processes_on_one_folder(phantom_folder: Path, tmp_path: Path) -> None:
    """Each case is made by one of them; the other reports that; nothing is half-written, nothing is left."""
    rivals = [start("segment", phantom_folder, "-o", tmp_path / "out") for _ in range(2)]
    reports = [rival.communicate(timeout=120)[1] for rival in rivals]
    for rival, err in zip(rivals, reports, strict=True):
        assert rival.returncode == 0 or "E-LOCKED" in err, err
        assert "Traceback" not in err
    last = start("segment", phantom_folder, "-o", tmp_path / "out")
    assert "4 unchanged" in last.communicate(timeout=120)[1]
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [*(f"phantom-{n}" for n in range(4)), "summary.csv"]
    assert all(is_whole(tmp_path / "out" / name) for name in names[:4])


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Return a function that mounts a small disk with options; skips where that needs more rights."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options: str) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            pytest.skip("needs mount")
        if done.returncode:
            pytest.skip(f"needs the right to mount: {done.stderr.strip()}")
        return folder

    yield mount
    subprocess.run(["umount", str(folder)], capture_output=True, check=False)


def test_a_full_disk_is_found_before_the_work(phantom_folder: Path, mounted: Callable[[str], Path]) -> None:
    disk = mounted("size=200k")
    process = start("segment", phantom_folder, "-o", disk / "out")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "E-DISK" in err
    assert "has room for" in err
    assert not list((disk / "out").iterdir())


def test_a_disk_that_fills_up_during_the_work_keeps_what_is_whole(
    phantom_folder: Path, tmp_path: Path, mounted: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from gliomaseg import cohort
    from gliomaseg.cases.find import find_cases
    from gliomaseg.segmenter import Segmenter

    cases, segmenter = find_cases(phantom_folder), Segmenter.load()
    folder = segmenter.segment(cases[0]).save(tmp_path / "elsewhere")
    size = sum(path.stat().st_size for path in folder.iterdir())
    disk = mounted(f"size={5 * size // 2}")
    monkeypatch.setattr(cohort, "ROOM", 0)
    outcomes = list(cohort.segment_cases(cases, segmenter, disk / "out"))
    codes = [outcome.error.code if outcome.error else "done" for outcome in outcomes]
    assert codes[0] == "done"
    assert codes[-1] == "E-DISK"
    assert set(codes) == {"done", "E-DISK"}
    left = [path for path in (disk / "out").iterdir() if path.name != "summary.csv"]
    assert all(is_whole(path) for path in left)
    assert len(left) == codes.count("done")


def test_a_read_only_disk_is_found_before_the_work(
    phantom_folder: Path, mounted: Callable[[str], Path]
) -> None:
    disk = mounted("size=1m,ro")
    process = start("segment", phantom_folder, "-o", disk)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "E-PERM" in err
    assert "choose another folder" in err


def test_fuzzing_finds_only_documented_errors() -> None:
    """A few hundred of the 20,000 of benchmarks/fuzz.py."""
    command = [sys.executable, str(ROOT / "benchmarks" / "fuzz.py"), "--count", "600", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "600 inputs, 0 undocumented outcomes" in done.stdout, done.stdout
