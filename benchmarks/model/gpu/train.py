"""Train the final network and those of the folds within minutes, on a machine that is lent with a GPU.

    python benchmarks/model/gpu/train.py runs/gpu/packs --write OUT --minutes 8 --begin runs/gpu/begin

Unpacks and prepares the cases (packs.py), then trains the runs of --runs one after the other, each for its
share of what is left of the minutes, by the recipe of the long trainings (long.yaml, held_out.json) in bf16
where the GPU has it. A run begins with BEGIN/RUN.safetensors (one_file.py) if there is such a file, else
with fresh weights. Every minute, and at the end, OUT/RUN.safetensors holds its averaged weights (9 MB), and
OUT/log.txt a line: what has been reached stays if the machine goes away. A training that fails goes on once
from there. Needs PyTorch, NumPy, SciPy and the packages of wheels.txt. Steps are few on a CPU, but it runs
there, too.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from tempfile import gettempdir

import yaml

MODEL = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(MODEL), str(MODEL.parents[1] / "src")]

import one_file  # noqa: E402
from packs import unpack  # noqa: E402

from gliomaseg.cases.case import Case  # noqa: E402
from gliomaseg.cases.find import find_cases  # noqa: E402
from gliomaseg.errors import GliomasegError  # noqa: E402
from gliomaseg.settings.loading import load_settings  # noqa: E402
from gliomaseg.settings.schema import Settings  # noqa: E402
from gliomaseg.training.cache import prepare_cases  # noqa: E402
from gliomaseg.training.run import read_checkpoint  # noqa: E402

#: Seconds at the end for the last checkpoint and file of a run, and between files.
_ENDING, _KEEPING = 20, 60
#: Most processes that make patches.
_READERS = 14


def main() -> None:
    """Unpack, prepare, and train one run after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("packs", type=Path)
    parser.add_argument("--write", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=8.0, help="of wall time, all in all")
    parser.add_argument("--each", type=float, default=60.0, help="most minutes of training for one run")
    parser.add_argument("--runs", default="final,fold0,fold1,fold2,fold3")
    parser.add_argument("--begin", type=Path, help="folder of RUN.safetensors to begin with")
    parser.add_argument("--work", type=Path, default=Path(gettempdir()) / "gliomaseg", help="for all else")
    parser.add_argument("--recipe", type=Path, default=MODEL / "long.yaml")
    parser.add_argument("--held-out", type=Path, default=MODEL / "held_out.json")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    parser.add_argument("--until", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        train_one(options, options.only, options.until)
        return
    deadline = time.time() + 60 * options.minutes
    prepare_all(options)
    runs = options.runs.split(",")
    for number, name in enumerate(runs):
        share = (deadline - time.time()) / (len(runs) - number)
        lead(options, name, time.time() + share)


def prepare_all(options: argparse.Namespace) -> None:
    """Unpack the cases and prepare them, a case a core."""
    unpack(options.packs, options.work / "data")
    cases = find_cases(options.work / "data")
    prepare = partial(_prepare, settings=settings_of(options, "final"), work=options.work)
    with ProcessPoolExecutor() as pool:
        list(pool.map(prepare, cases))
    note(options, f"{len(cases)} cases are prepared")


def _prepare(case: Case, settings: Settings, work: Path) -> None:
    prepare_cases([case], settings, work / "cache", _quiet)


def settings_of(options: argparse.Namespace, name: str, *more: str) -> Settings:
    """Return the settings of a run, as long.py has them, and ``more`` changes."""
    recipe = yaml.safe_load(options.recipe.read_text(encoding="utf-8"))
    folds = json.loads(options.held_out.read_text(encoding="utf-8"))
    held_out = None if name == "final" else folds[int(name.removeprefix("fold"))]
    changes = {**recipe["set"], "training.fold": None, "training.held_out": held_out}
    return load_settings(recipe["preset"], [*(f"{k}={json.dumps(v)}" for k, v in changes.items()), *more])


def lead(options: argparse.Namespace, name: str, until: float) -> None:
    """Have a run trained by a process of its own until a time, and keep what it has each minute."""
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, __file__, *sys.argv[1:], "--only", name, "--until", str(until)],
            env={**os.environ, "OMP_NUM_THREADS": "2"},
        )
        while process.poll() is None and time.time() < until - _ENDING / 2:
            wait(process, min(_KEEPING, max(0.1, until - _ENDING / 2 - time.time())))
            keep(options, name)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)  # it saves a checkpoint
            wait(process, _ENDING / 2)
            process.kill()
        keep(options, name)
        if process.wait() == 0 or time.time() > until - 2 * _ENDING:
            return
        note(options, f"{name} failed with {process.returncode}; it is tried once more")


def wait(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Wait for a process, at most so long."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return


def keep(options: argparse.Namespace, name: str) -> None:
    """Write what a run has by now into its file, if it has anything."""
    folder = options.work / name
    if (folder / "checkpoint.safetensors").exists():
        about = one_file.write(folder, options.write / f"{name}.safetensors")
        last = (folder / "history.csv").read_text(encoding="utf-8").splitlines()[-1].split(",")[:4]
        note(options, f"{name}: step {about['step']}, step,minutes,loss,rate of the log {','.join(last)}")


def note(options: argparse.Namespace, text: str) -> None:
    """Add a line to the log."""
    options.write.mkdir(parents=True, exist_ok=True)
    with (options.write / "log.txt").open("a", encoding="utf-8") as log:
        print(f"{time.strftime('%H:%M:%S')} {text}", file=log)


def train_one(options: argparse.Namespace, name: str, until: float) -> None:
    """Train a run, in this process, for the time that is left."""
    import torch

    from gliomaseg.training.train import train

    torch.backends.cudnn.benchmark = True  # patches are of one size
    begin = options.begin and options.begin / f"{name}.safetensors"
    if begin and begin.exists():
        one_file.take(begin, options.work / "begin" / name)
    left = min(60 * options.each, max(1.0, until - time.time() - 1.5 * _ENDING))
    hours = (left + seconds_of(options.work / name)) / 3600
    settings = settings_of(
        options,
        name,
        f"training.hours={hours}",
        f"training.workers={max(1, min(_READERS, (os.cpu_count() or 1) - 2))}",
        f"training.checkpoint_minutes={0.75 * _KEEPING / 60}",
        *([f"training.init_from={options.work / 'begin' / name}"] if begin and begin.exists() else []),
    )
    try:
        cases = find_cases(options.work / "data")
        train(cases, options.work / name, settings, cache=options.work / "cache", progress=_quiet)
    except GliomasegError as error:
        note(options, f"{name}: {error}")
        sys.exit(1)


def seconds_of(folder: Path) -> float:
    """Return how long a run was trained before it failed; 0 for a new one."""
    path = folder / "checkpoint.safetensors"
    return float(read_checkpoint(path)[1]["seconds"]) if path.exists() else 0.0


def _quiet(_fraction: float, _text: str) -> None:
    """Say nothing."""


if __name__ == "__main__":
    main()
