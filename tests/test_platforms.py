"""What differs on Windows and macOS, tried here: spawned processes, no file locks, names of files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path, PureWindowsPath
from types import SimpleNamespace

import pytest

from gliomaseg import Segmenter
from gliomaseg.cases.case import Case
from gliomaseg.cohort import segment_cases
from gliomaseg.storage import locks
from gliomaseg.storage.result_folder import ResultFolder

_SPAWNED = """
import json, multiprocessing, sys
from pathlib import Path
from gliomaseg.cases.find import find_cases
from gliomaseg.settings.loading import parse_settings
from gliomaseg.training.train import train

if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    data, run, settings = sys.argv[1:]
    tree = parse_settings(json.loads(settings))
    train(find_cases(data), Path(run), tree, progress=lambda fraction, text: None)
"""


@pytest.mark.slow
def test_training_reads_patches_in_spawned_processes(phantom_folder: Path, tmp_path: Path) -> None:
    from gliomaseg.settings.loading import load_settings

    script = tmp_path / "spawned.py"
    script.write_text(_SPAWNED)
    small = ("network.filters=[8,8,8]", "training.patch=[32,32,32]", "training.steps=3", "training.workers=1")
    settings = load_settings("unet3d", [*small, "training.warmup_steps=1"]).model_dump_json()
    command = [sys.executable, str(script), str(phantom_folder), str(tmp_path / "run"), settings]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "checkpoint.safetensors").exists()


def test_results_are_whole_without_file_locks(
    phantom_case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "sys", SimpleNamespace(platform="win32"))
    with locks.take(tmp_path / "lock") as lock:  # type: ignore[union-attr]
        assert not lock.is_exclusive
    (outcome,) = segment_cases([phantom_case], Segmenter.load(), tmp_path / "out", only="seg")
    assert outcome.state == "done"
    assert ResultFolder(tmp_path / "out" / phantom_case.id).is_whole()


def test_no_record_has_separators_or_names_that_windows_refuses(phantom_case: Case, tmp_path: Path) -> None:
    list(segment_cases([phantom_case], Segmenter.load(), tmp_path / "out"))
    record = json.loads((tmp_path / "out" / phantom_case.id / "run.json").read_text("utf-8"))
    for name in record["outputs"]:
        assert PureWindowsPath(name).name == name
        assert not set(name) & set('<>:"|?*')
