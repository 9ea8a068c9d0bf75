"""Kill segment, train and its preparing at random moments; write docs/robustness.md's table of kills.

    python benchmarks/kills.py [--count 100]

Each time: start the command, send SIGKILL after a random part of the time that it takes, look at what is
there, and run the same command to its end. Lost is whatever is neither the old state nor a whole new one.
Commands run in children forked from a process that has imported everything: kills then hit work.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from gliomaseg.cli.app import main as main_of_gliomaseg
from gliomaseg.imaging.phantom import make_phantom, write_phantom
from gliomaseg.imaging.phantom_tumour import TumourSpec
from gliomaseg.storage.files import sha256_of

TINY = ["network.filters=[4,4,4]", "training.patch=[32,32,32]", "training.batch=1", "training.steps=8"]
TINY += ["training.warmup_steps=2", "training.workers=0", "training.folds=2", "training.precision=fp32"]
TINY += ["training.checkpoint_minutes=0.00001"]


#: What the last command said.
SAID = Path(tempfile.gettempdir()) / f"gliomaseg-kills-{os.getpid()}.txt"


class Child:
    """A forked process that runs the command line."""

    def __init__(self, arguments: list[str]) -> None:
        self.code: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            self._run(arguments)

    def _run(self, arguments: list[str]) -> None:
        code = 1
        try:
            with SAID.open("w", encoding="utf-8") as sink:
                sys.stdout = sys.stderr = sink
                sys.argv = ["gliomaseg", *arguments]
                main_of_gliomaseg()
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            os._exit(code)

    def wait(self, seconds: float = 600) -> int | None:
        """Return the exit code, or None if it still runs after ``seconds``."""
        if self.code is not None:
            return self.code
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
                return self.code
            time.sleep(0.002)
        return None

    def kill(self) -> None:
        """End it as a power cut would."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def start(*args: object) -> Child:
    """Start gliomaseg."""
    return Child([str(argument) for argument in args])


def seconds_of(*args: object) -> float:
    """Return how long gliomaseg takes, which must succeed."""
    started = time.monotonic()
    code = start(*args).wait()
    if code:
        raise SystemExit(f"gliomaseg {args} ended with {code}: {SAID.read_text(encoding='utf-8')[-2000:]}")
    return time.monotonic() - started


def kill_at(delay: float, *args: object) -> bool:
    """Start gliomaseg, kill it after ``delay`` seconds, and return whether it was still running."""
    process = start(*args)
    if process.wait(delay) is not None:
        return False
    process.kill()
    return True


def whole_result(folder: Path) -> bool:
    """Return whether a case's folder proves itself by its hashes."""
    record = json.loads((folder / "run.json").read_text())
    return bool(record["outputs"]) and all(sha256_of(folder / n) == h for n, h in record["outputs"].items())


def segment_trial(home: Path, rng: random.Random, cache: dict) -> tuple[bool, str]:
    """Kill segment, half of the times while it replaces an older result."""
    out = home / "out"
    args = ["segment", home / "data", "-o", out, "--overwrite"]
    cache.setdefault("seconds", seconds_of(*args))
    if rng.random() < 0.5:
        shutil.rmtree(out)
    had = out.exists()
    killed = kill_at(rng.uniform(0.0, 1.05) * cache["seconds"], *args)
    shown = [p for p in out.iterdir() if not p.name.startswith(".")] if out.exists() else []
    if any(not whole_result(p) for p in shown if p.is_dir()):
        return killed, "a result that is not whole"
    seconds_of(*args[:-1])
    names = sorted(p.name for p in out.iterdir())
    if names != ["case-0", "case-1", "summary.csv"] or not all(whole_result(out / n) for n in names[:2]):
        return killed, f"after the re-run: {names} (had {had})"
    return killed, ""


def train_trial(home: Path, rng: random.Random, cache: dict) -> tuple[bool, str]:
    """Kill train after its cases were prepared."""
    run = home / "run"
    args = [
        "train",
        home / "data",
        "-o",
        run,
        "--cache",
        home / "cache",
        *[a for s in TINY for a in ("--set", s)],
    ]
    if "seconds" not in cache:
        seconds_of(*args)  # with the cases to prepare
        shutil.rmtree(run)
        cache["seconds"] = seconds_of(*args)
    shutil.rmtree(run, ignore_errors=True)
    killed = kill_at(rng.uniform(0.0, 1.05) * cache["seconds"], *args)
    checkpoint = run / "checkpoint.safetensors"
    if checkpoint.exists():
        from safetensors import safe_open

        with safe_open(checkpoint, framework="pt") as archive:
            if "step" not in (archive.metadata() or {}):
                return killed, "a checkpoint that is not whole"
    seconds_of(*args)
    last = (run / "history.csv").read_text().strip().splitlines()[-1].split(",")
    left = [p.name for p in run.iterdir() if p.name.startswith(".")]
    return killed, "" if last[0] == "8" and last[-1] == "1" and not left else f"ended at {last}, left {left}"


def prepare_trial(home: Path, rng: random.Random, cache: dict) -> tuple[bool, str]:
    """Kill train while it prepares its cases; what is prepared must be what an undisturbed run prepares."""
    run, folder = home / "run-p", home / "cache-p"
    args = ["train", home / "data", "-o", run, "--cache", folder, *[a for s in TINY for a in ("--set", s)]]
    for path in (run, folder):
        shutil.rmtree(path, ignore_errors=True)
    if "seconds" not in cache:
        seconds_of(*args)
        cache["files"] = hashes(folder)
        cache["seconds"] = prepared_after(args, folder)
        for path in (run, folder):
            shutil.rmtree(path, ignore_errors=True)
    killed = kill_at(rng.uniform(0.0, 1.05) * cache["seconds"], *args)
    seconds_of(*args)
    differing = {name for name, _ in hashes(folder).items() ^ cache["files"].items()}
    return killed, f"prepared cases differ: {sorted(differing)[:3]}" if differing else ""


def prepared_after(args: list, folder: Path) -> float:
    """Return after how many seconds a run has prepared its cases."""
    shutil.rmtree(folder)
    started = time.monotonic()
    process = start(*args)
    while len(list(folder.glob("*/*/case.json"))) < 2:
        if process.wait(0.01) is not None:
            break
    seconds = time.monotonic() - started
    process.wait()
    return seconds


def hashes(folder: Path) -> dict[str, str]:
    """Return the hash of every file in a folder, but for locks: one that nobody holds is nothing."""
    found = [p for p in sorted(folder.rglob("*")) if p.is_file() and not p.name.startswith(".lock-")]
    return {str(p.relative_to(folder)): sha256_of(p) for p in found}


TRIALS: dict[str, Callable] = {"segment": segment_trial, "train": train_trial, "prepare": prepare_trial}


def warm_up() -> None:
    """Import what the commands need, without starting a thread that a fork would lose."""
    os.environ["OMP_NUM_THREADS"] = "1"
    from gliomaseg.inference.openvino_engine import load_openvino

    load_openvino()
    for name in (
        "gliomaseg.cohort",
        "gliomaseg.training.train",
        "gliomaseg.exams.check_cases",
        "torch._dynamo",
    ):
        import_module(name)


def run_trials(name: str, count: int, home: Path, *, seed: int = 0) -> tuple[int, list[str]]:
    """Kill ``count`` running commands; return how many were started, and what was lost."""
    warm_up()
    rng, cache, kills, losses = random.Random(seed), {}, 0, []  # noqa: S311
    for number in range(2):
        made = make_phantom("small", seed=number, tumour=TumourSpec(seed=number))
        write_phantom(made, home / "data", case_id=f"case-{number}")
    started = 0
    while kills < count:
        killed, lost = TRIALS[name](home, rng, cache)
        started += 1
        kills += killed
        losses += [f"{name} {started}: {lost}"] if lost else []
        if started % 10 == 0:
            print(name, started, kills, losses, file=sys.stderr, flush=True)
    return started, losses


def main() -> None:
    """Run the trials and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--only", choices=list(TRIALS))
    options = parser.parse_args()
    print("| command | started | killed while running | lost or not whole |\n|---|---|---|---|")
    for name in [options.only] if options.only else TRIALS:
        with tempfile.TemporaryDirectory() as home:
            started, losses = run_trials(name, options.count, Path(home))
        print(f"| {name} | {started} | {options.count} | {len(losses)} |", flush=True)
        for loss in losses:
            print(f"\n{loss}")
    SAID.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
