"""Two processes on one machine train as one does with the same batch."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gliomaseg.cases.case import Case
from gliomaseg.training.run import read_tensors

pytestmark = pytest.mark.slow

#: Nothing whose sums run over a process's own patches alone: instance norm, Dice over each patch.
SETTINGS = (
    "network.filters=[4, 8, 8, 8, 8]", "training.patch=[32, 32, 32]", "training.dice_over=sample",
    "training.batch=2", "training.steps=4", "training.warmup_steps=1", "training.workers=0",
    "training.folds=2", "training.precision=fp32", "training.checkpoint_minutes=60",
)  # fmt: skip


def run(folder: Path, data: Path, cache: Path, *launcher: str) -> None:
    changes = [word for setting in SETTINGS for word in ("--set", setting)]
    line = ["train", str(data), "-o", str(folder), "--cache", str(cache), "--preset", "dynunet", *changes]
    call = [sys.executable, "-m", *launcher, "gliomaseg", *line]
    found = subprocess.run(call, check=False, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr


def test_two_processes_learn_what_one_learns(cases: list[Case], tmp_path: Path) -> None:
    data = next(iter(cases[0].images.values())).parent.parent
    run(tmp_path / "one", data, tmp_path / "cache")
    launch = ("accelerate.commands.launch", "--cpu", "--num_processes=2", "--num_machines=1",
              "--mixed_precision=no", "--dynamo_backend=no", "-m")  # fmt: skip
    run(tmp_path / "two", data, tmp_path / "cache", *launch)
    one, two = (read_tensors(tmp_path / name / "checkpoint.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name in one:
        if name.startswith("average."):
            assert torch.allclose(one[name], two[name], atol=2e-4), name
    logs = []
    for name in ("one", "two"):
        with (tmp_path / name / "history.csv").open() as stream:
            logs.append(list(csv.DictReader(stream)))
    assert [row["step"] for row in logs[0]] == [row["step"] for row in logs[1]] == ["4"]
    for column in ("loss", "dice_wt", "dice_tc", "mean_iou"):
        assert abs(float(logs[0][0][column]) - float(logs[1][0][column])) < 2e-3, column
