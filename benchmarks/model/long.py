"""Long trainings in the background, of the four folds and of all patients, that go on for days.

    python benchmarks/model/long.py start runs/long --data ../shared/data/brats --cache runs/cache
    python benchmarks/model/long.py status runs/long
    python benchmarks/model/long.py stop runs/long

``start`` begins or goes on, with the settings of long.yaml, in a process of its own that outlives the shell
and takes what is idle (--nice 19): --side-by-side trainings at a time, one core each, for --slice steps of
whichever run has fewest, so that all advance evenly and can be compared at any time. ``stop`` waits for
checkpoints; these are made every few minutes too, so that a power cut costs no more than those minutes. Which
patients each fold holds out is in held_out.json. FOLDER/log.csv has a line for each slice: when it ended,
run, steps, hours of steps (by the clock), processor hours of this slice, loss. To pause: kill -STOP -- -GROUP
and -CONT; ``status`` prints GROUP. The code should stay as it was at the start: run it in a clone at a fixed
commit.
"""

from __future__ import annotations

import argparse
import csv
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import yaml
from safetensors import safe_open

HERE = Path(__file__).parent
LOG = ("ended", "run", "step", "hours", "processor_hours", "loss")
#: A training that failed is tried again so many times, after so many seconds.
_TRIES, _WAIT = 3, 60


@dataclass(frozen=True)
class Plan:
    """What ``start`` was asked for."""

    folder: Path
    data: Path
    cache: Path
    recipe: Path
    held_out: Path
    steps: int
    slice: int
    side_by_side: int
    nice: int
    init_from: str | None

    @property
    def runs(self) -> dict[str, list[str]]:
        """Return every run by name, with who is held out; the last one holds out no one."""
        folds = json.loads(self.held_out.read_text(encoding="utf-8"))
        return {f"fold{n}": patients for n, patients in enumerate(folds)} | {"final": []}


def main() -> None:
    """Start, show or stop."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "verb", choices=("start", "work", "status", "stop"), help="work: start, in this process"
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    parser.add_argument("--recipe", type=Path, default=HERE / "long.yaml", help="preset and settings")
    parser.add_argument("--held-out", type=Path, default=HERE / "held_out.json", help="patients by fold")
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--slice", type=int, default=200)
    parser.add_argument("--side-by-side", type=int, default=2)
    parser.add_argument("--nice", type=int, default=19, help="19: only what is idle")
    parser.add_argument("--init-from", help="folder of runs to begin with: FOLDER/{run} of each name")
    options = vars(parser.parse_args())
    verb = options.pop("verb")
    if verb in {"start", "work"} and not options["data"]:
        parser.error(f"{verb} needs --data")
    plan = Plan(**options)
    {"start": start, "work": work, "status": status, "stop": stop}[verb](plan)


def start(plan: Plan) -> None:
    """Begin to work in a session of its own, unless that is going on already."""
    if group := running(plan.folder):
        sys.exit(f"{plan.folder} is being worked on already, by process group {group}")
    plan.folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, __file__, "work", *sys.argv[2:]]
    with (plan.folder / "output.txt").open("a", encoding="utf-8") as output:
        process = subprocess.Popen(
            ["nice", "-n", str(plan.nice), *command], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
    while not running(plan.folder):
        if process.poll() is not None:
            sys.exit(f"it ended at once; see {plan.folder / 'output.txt'}")
        time.sleep(0.1)
    print(f"process group {process.pid}; what it says is in {plan.folder / 'output.txt'}")


def work(plan: Plan) -> None:
    """Train all runs in turn until each has its steps, or SIGTERM comes."""
    plan.folder.mkdir(parents=True, exist_ok=True)
    with (plan.folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        (plan.folder / "group.txt").write_text(str(os.getpgrp()), encoding="utf-8")
        turns = Turns(plan)
        signal.signal(signal.SIGTERM, lambda *_: turns.stop.set())
        threads = [threading.Thread(target=turns.take) for _ in range(plan.side_by_side)]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():  # a signal is answered between these
                thread.join(timeout=1)


class Turns:
    """Whose turn it is, for threads that each lead one training at a time."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.stop = threading.Event()
        self._choosing = threading.Lock()
        self._busy: set[str] = set()
        self._failed = Counter[str]()

    def take(self) -> None:
        """Train one slice after another."""
        while not self.stop.is_set() and (name := self._next()):
            step = step_of(self.plan.folder / name)
            try:
                status = self._train(name, step - step % self.plan.slice + self.plan.slice)
            finally:
                self._busy.discard(name)
            if status and not self.stop.is_set():
                self._failed[name] += 1
                self.stop.wait(_WAIT)

    def _next(self) -> str | None:
        with self._choosing:
            steps = {
                name: step_of(self.plan.folder / name) for name in self.plan.runs if name not in self._busy
            }
            left = [n for n, step in steps.items() if step < self.plan.steps and self._failed[n] < _TRIES]
            if not left:
                return None
            chosen = min(left, key=lambda name: steps[name])
            self._busy.add(chosen)
            return chosen

    def _train(self, name: str, until: int) -> int:
        """Return the exit status of one slice; a stop ends it with a checkpoint."""
        process = subprocess.Popen(command(self.plan, name, until), env=one_thread())
        while True:
            if self.stop.is_set():
                process.terminate()
            number, status, used = os.wait4(process.pid, 0 if self.stop.is_set() else os.WNOHANG)
            if number:
                break
            self.stop.wait(2)
        process.returncode = os.waitstatus_to_exitcode(status)
        self._log(name, (used.ru_utime + used.ru_stime) / 3600)
        return process.returncode

    def _log(self, name: str, processor_hours: float) -> None:
        step, hours, loss = last_of(self.plan.folder / name)
        path = self.plan.folder / "log.csv"
        with self._choosing, path.open("a", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            if stream.tell() == 0:
                writer.writerow(LOG)
            now = datetime.now(UTC).isoformat(timespec="seconds")
            writer.writerow([now, name, step, f"{hours:.3f}", f"{processor_hours:.3f}", loss])


def command(plan: Plan, name: str, until: int) -> list[str]:
    """Return what trains a run up to a step; its settings are the same each time but for that."""
    recipe = yaml.safe_load(plan.recipe.read_text(encoding="utf-8"))
    changes = {
        **recipe["set"],
        "training.steps": plan.steps,
        "training.pause_at": until,
        "training.fold": None,
        "training.held_out": plan.runs[name] or None,
        "training.init_from": f"{plan.init_from}/{name}" if plan.init_from else None,
    }
    return [
        sys.executable, "-m", "gliomaseg", "train", str(plan.data), "-o", str(plan.folder / name),
        "--cache", str(plan.cache), "--preset", recipe["preset"],
        *(part for key, value in changes.items() for part in ("--set", f"{key}={json.dumps(value)}")),
    ]  # fmt: skip


def one_thread() -> dict[str, str]:
    """Return the environment of a training on one core."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def status(plan: Plan) -> None:
    """Print how far each run is, and who works on them."""
    for name in plan.runs:
        step, hours, loss = last_of(plan.folder / name)
        print(f"{name}: step {step}, {hours:.2f} hours of steps, loss {loss}")
    group = running(plan.folder)
    print(f"running, process group {group}" if group else "not running")


def stop(plan: Plan) -> None:
    """End what is running, once its checkpoints are written."""
    group = running(plan.folder)
    if not group:
        sys.exit("not running")
    os.killpg(group, signal.SIGCONT)
    os.kill(group, signal.SIGTERM)
    while running(plan.folder):
        time.sleep(1)


def running(folder: Path) -> int | None:
    """Return the process group that works on a folder, None if there is none."""
    if not (folder / "lock").exists():
        return None
    with (folder / "lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int((folder / "group.txt").read_text(encoding="utf-8"))
    return None


def step_of(run: Path) -> int:
    """Return how many steps a run has in its checkpoint."""
    return int(_about(run).get("step", 0))


def last_of(run: Path) -> tuple[int, float, str]:
    """Return step and hours of a run's checkpoint, and the last loss of its log."""
    about = _about(run)
    history = run / "history.csv"
    text = history.read_text(encoding="utf-8") if history.exists() else ""
    rows = list(csv.DictReader(text.splitlines()))
    return int(about.get("step", 0)), float(about.get("seconds", 0)) / 3600, rows[-1]["loss"] if rows else ""


def _about(run: Path) -> dict[str, str]:
    if not (run / "checkpoint.safetensors").exists():
        return {}
    with safe_open(run / "checkpoint.safetensors", framework="np") as archive:
        return dict(archive.metadata())


if __name__ == "__main__":
    main()
