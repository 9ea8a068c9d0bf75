"""benchmarks/model/long.py: trainings by turns, in the background, resumed and stopped."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
import yaml

from gliomaseg.training.run import load_run

pytestmark = pytest.mark.slow

LONG = Path(__file__).parents[2] / "benchmarks" / "model" / "long.py"
TINY = {
    "network.filters": [8, 8, 8],
    "training.patch": [32, 32, 32],
    "training.workers": 0,
    "training.precision": "fp32",
    "training.warmup_steps": 1,
    "training.schedule": "trapezoid",
}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Return a folder for the trainings; ends what is still at work in it."""
    yield tmp_path / "long"
    ask("stop", tmp_path / "long")


def ask(verb: str, folder: Path, how: Mapping[str, object] = MappingProxyType({})) -> str:
    options = [str(part) for pair in how.items() for part in pair]
    command = [sys.executable, str(LONG), verb, str(folder), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    return done.stdout + done.stderr


def rows(folder: Path) -> list[dict[str, str]]:
    path = folder / "log.csv"
    return list(csv.DictReader(path.read_text().splitlines())) if path.exists() else []


def test_trainings_by_turns(folder: Path, phantom_folder: Path, tmp_path: Path) -> None:
    recipe, held_out = tmp_path / "tiny.yaml", tmp_path / "held_out.json"
    recipe.write_text(yaml.safe_dump({"preset": "unet3d", "set": TINY}))
    held_out.write_text(json.dumps([["phantom-1"]]))
    how = {
        "--data": phantom_folder,
        "--cache": tmp_path / "cache",
        "--recipe": recipe,
        "--held-out": held_out,
        "--side-by-side": 1,
        "--nice": 0,
        "--slice": 2,
        "--steps": 4,
    }
    assert "not running" in ask("stop", folder)
    assert "process group" in ask("start", folder, how)
    assert "is being worked on already" in ask("start", folder, how)
    deadline = time.monotonic() + 240
    while len(rows(folder)) < 1 and time.monotonic() < deadline:
        time.sleep(0.2)
    assert "running, process group" in ask("status", folder)
    ask("stop", folder)  # while the second run has its turn
    first = rows(folder)[0]
    assert (first["run"], first["step"]) == ("fold0", "2")
    assert float(first["processor_hours"]) > 0
    ask("work", folder, how | {"--steps": 2})  # goes on, in this process; half as long is enough
    assert [(row["run"], row["step"]) for row in rows(folder)][-1] == ("final", "2")
    told = ask("status", folder, how)
    assert "fold0: step 2" in told
    assert "not running" in told
    fold, final = (load_run(folder / name) for name in ("fold0", "final"))
    assert fold.read_split().validation == ("phantom-1",)
    assert len(final.read_split().train) == 4
    assert fold.settings.training.schedule == "trapezoid"
