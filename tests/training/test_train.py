"""The training loop: what it writes, that it can be stopped at any moment, and what it refuses."""

from __future__ import annotations

import csv
import ctypes
import json
import math
import os
import platform
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from gliomaseg.cases.case import Case
from gliomaseg.errors import SettingsError, TrainingError
from gliomaseg.settings.schema import Settings
from gliomaseg.training import loop
from gliomaseg.training.network import build_network
from gliomaseg.training.process import keep_freed_memory
from gliomaseg.training.run import Run, read_checkpoint, weights
from gliomaseg.training.state import State, begin, learning_rate, update_ema
from gliomaseg.training.train import train

Progress = Callable[[float, str], None]
Train = Callable[..., Run]


def quiet(_fraction: float, _text: str) -> None:
    """Say nothing."""


def stop_at(step: int, kind: signal.Signals = signal.SIGTERM) -> Progress:
    """Return a progress function that signals this process after so many steps."""

    def tell(_fraction: float, text: str) -> None:
        if text.startswith(f"step {step} ") and "loss" in text:
            os.kill(os.getpid(), kind)

    return tell


def checkpoint(folder: Path) -> tuple[dict[str, Tensor], int]:
    tensors, about = read_checkpoint(folder / "checkpoint.safetensors")
    return tensors, int(about["step"])


def same(one: Path, other: Path) -> bool:
    """Return whether two runs hold the same step, weights and state of the optimiser, to the bit."""
    (a, step_a), (b, step_b) = checkpoint(one), checkpoint(other)
    return step_a == step_b and a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def log(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(autouse=True)
def log_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a row of history.csv every second step."""
    monkeypatch.setattr(loop, "_LOG_STEPS", 2)


@pytest.fixture
def start(cases: list[Case], cache: Path) -> Train:
    """Return a function of (folder, settings, progress) that trains on the prepared phantoms."""

    def run(folder: Path, settings: Settings, progress: Progress = quiet) -> Run:
        return train(cases, folder, settings, cache=cache, progress=progress)

    return run


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, cases: list[Case], cache: Path, tiny) -> Path:
    """Return the folder of a training that was never stopped."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "_LOG_STEPS", 2)
        return train(cases, tmp_path_factory.mktemp("whole"), tiny(), cache=cache, progress=quiet).folder


class TestWhatItWrites:
    def test_files(self, whole: Path, tiny) -> None:
        names = {path.name for path in whole.iterdir()}
        assert names == {
            "settings.json", "plan.json", "split.json", "history.csv", "curves.png",
            "checkpoint.safetensors", "best.safetensors",
        }  # fmt: skip
        assert json.loads((whole / "settings.json").read_text()) == tiny().model_dump(mode="json")

    def test_split(self, whole: Path, cases: list[Case]) -> None:
        split = json.loads((whole / "split.json").read_text())
        assert len(split["validation"]) == 2
        assert sorted(split["train"] + split["validation"]) == [case.id for case in cases]

    def test_history(self, whole: Path) -> None:
        rows = log(whole)
        assert [row["step"] for row in rows] == ["2", "4", "6"]
        assert [row["final"] for row in rows] == ["", "", "1"]
        assert all(0 < float(row["loss"]) < 5 for row in rows)
        assert all(row["dice_wt"] == "" for row in rows[:2])
        assert all(0 <= float(rows[2][f"dice_{region}"]) <= 1 for region in ("wt", "tc", "et"))
        minutes = [float(row["minutes"]) for row in rows]
        assert minutes == sorted(minutes)

    def test_learning_rate_warms_up_and_falls(self, whole: Path, tiny) -> None:
        peak = tiny().training.learning_rate
        expected = [peak * (1 - done / 6) ** 0.9 for done in (1, 3, 5)]  # of the steps 2, 4 and 6
        assert [float(row["learning_rate"]) for row in log(whole)] == pytest.approx(expected, rel=1e-5)
        state = begin(Run(whole / "nothing", tiny()), Accelerator())
        assert learning_rate(state.settings.training, 0, state.done, state.history) == peak / 2

    def test_checkpoint(self, whole: Path, tiny) -> None:
        tensors, step = checkpoint(whole)
        assert step == 6
        names = weights(build_network(tiny().network))
        for part in ("network", "average"):
            assert {k.removeprefix(f"{part}.") for k in tensors if k.startswith(f"{part}.")} == names.keys()
        assert all(torch.isfinite(tensor).all() for tensor in tensors.values())
        moved = [k for k in names if not torch.equal(tensors[f"network.{k}"], tensors[f"average.{k}"])]
        assert len(moved) > len(names) / 2

    def test_progress(self, tmp_path: Path, start: Train, tiny) -> None:
        told: list[tuple[float, str]] = []
        run = start(tmp_path, tiny(), lambda *what: told.append(what))
        fractions = [fraction for fraction, _ in told]
        assert fractions == sorted(fractions)
        assert [f for f, text in told if "loss" in text] == pytest.approx([n / 6 for n in range(1, 7)])
        held_out = run.read_split().validation
        assert [text for _, text in told][-2:] == [f"step 6  validating {case}" for case in held_out]

    def test_no_fold_trains_on_every_case(
        self, tmp_path: Path, start: Train, cases: list[Case], tiny
    ) -> None:
        run = start(tmp_path, tiny("training.fold=null", "training.steps=3"))
        split = run.read_split()
        assert (len(split.train), split.validation) == (len(cases), ())
        assert [row["step"] for row in log(tmp_path)] == ["2", "3"]
        assert checkpoint(tmp_path)[1] == 3
        start(tmp_path, tiny("training.fold=null", "training.steps=3"))
        assert [row["step"] for row in log(tmp_path)] == ["2", "3"]
        assert checkpoint(tmp_path)[1] == 3

    def test_slices_are_learned_too(self, tmp_path: Path, start: Train, tiny) -> None:
        start(tmp_path, tiny("training.steps=2", preset="unet2d"))
        assert log(tmp_path)[-1]["final"] == "1"

    def test_time_budget(self, tmp_path: Path, start: Train, tiny) -> None:
        settings = tiny("training.hours=0.0002", "training.steps=1", "network.deep_supervision=0")  # 0.72 s
        start(tmp_path, settings)
        tensors, step = checkpoint(tmp_path)
        assert step >= 1
        seconds = float(read_checkpoint(tmp_path / "checkpoint.safetensors")[1]["seconds"])
        assert 0.72 <= seconds < 60
        assert log(tmp_path)[-1]["final"] == "1"
        start(tmp_path, settings)  # there is no time left
        assert all(torch.equal(tensors[k], v) for k, v in checkpoint(tmp_path)[0].items())

    def test_it_learns(self, tmp_path: Path, start: Train, tiny, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(State, "loss", property(lambda state: mean([*state.losses][-5:])))
        start(tmp_path, tiny("training.steps=30", "training.learning_rate=0.01", "training.folds=4"))
        losses = [float(row["loss"]) for row in log(tmp_path)]
        assert losses[-1] < 0.9 * losses[0]


class TestGoingOn:
    @pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
    def test_stopped_and_resumed_is_as_never_stopped(
        self, tmp_path: Path, start: Train, whole: Path, tiny, kind: signal.Signals
    ) -> None:
        before = signal.getsignal(kind)
        with pytest.raises(KeyboardInterrupt):
            start(tmp_path, tiny(), stop_at(3, kind))
        assert signal.getsignal(kind) is before
        assert checkpoint(tmp_path)[1] == 3
        assert [row["step"] for row in log(tmp_path)] == ["2"]
        start(tmp_path, tiny())
        assert same(tmp_path, whole)
        rows, expected = log(tmp_path), log(whole)
        for column in ("step", "learning_rate", "dice_wt", "dice_tc", "dice_et", "final"):
            assert [row[column] for row in rows] == [row[column] for row in expected]

    def test_paused_and_resumed_is_as_never_paused(
        self, tmp_path: Path, start: Train, whole: Path, tiny
    ) -> None:
        for pause in (3, 4, 4):
            start(tmp_path, tiny(f"training.pause_at={pause}"))
            assert checkpoint(tmp_path)[1] == pause
            assert not any(row["final"] or row["dice_wt"] for row in log(tmp_path))
        start(tmp_path, tiny("training.pause_at=99"))
        assert same(tmp_path, whole)
        assert log(tmp_path)[-1]["final"] == "1"

    def test_slices_too(self, tmp_path: Path, start: Train, tiny) -> None:
        settings = tiny("training.steps=4", preset="unet2d")
        start(tmp_path / "whole", settings)
        with pytest.raises(KeyboardInterrupt):
            start(tmp_path / "parts", settings, stop_at(2))
        start(tmp_path / "parts", settings)
        assert same(tmp_path / "parts", tmp_path / "whole")

    def test_a_reading_process_gives_the_same(self, tmp_path: Path, start: Train, whole: Path, tiny) -> None:
        settings = tiny("training.workers=1")
        with pytest.raises(KeyboardInterrupt):
            start(tmp_path, settings, stop_at(1))
        start(tmp_path, settings)
        assert same(tmp_path, whole)

    def test_a_finished_run_stays_as_it_is(self, tmp_path: Path, start: Train, tiny) -> None:
        start(tmp_path / "a", tiny("training.steps=2"))
        shutil.copytree(tmp_path / "a", tmp_path / "b")
        told: list[str] = []
        start(tmp_path / "b", tiny("training.steps=2"), lambda _, text: told.append(text))
        assert same(tmp_path / "a", tmp_path / "b")
        assert log(tmp_path / "a") == log(tmp_path / "b")
        assert all(text.startswith("preparing") for text in told)

    def test_a_finished_run_that_goes_on_is_validated_again(self, tmp_path: Path, start: Train, tiny) -> None:
        start(tmp_path, tiny("training.steps=2"))
        start(tmp_path, tiny("training.steps=3"))  # so few more that no row of the log lies between
        assert [(row["step"], row["final"]) for row in log(tmp_path)] == [("2", "1"), ("3", "1")]

    def test_stopped_while_validating(self, tmp_path: Path, start: Train, whole: Path, tiny) -> None:
        def tell(_fraction: float, text: str) -> None:
            if "validating" in text:
                os.kill(os.getpid(), signal.SIGINT)

        with pytest.raises(KeyboardInterrupt):
            start(tmp_path, tiny(), tell)
        assert same(tmp_path, whole)
        assert [row["final"] for row in log(tmp_path)] == ["", "", ""]
        start(tmp_path, tiny())
        assert [row["dice_wt"] for row in log(tmp_path)] == [row["dice_wt"] for row in log(whole)]
        assert log(tmp_path)[-1]["final"] == "1"

    def test_rows_behind_the_checkpoint_are_made_again(
        self, tmp_path: Path, start: Train, whole: Path, tiny
    ) -> None:
        with pytest.raises(KeyboardInterrupt):
            start(tmp_path, tiny(), stop_at(3))
        with (tmp_path / "history.csv").open("a") as stream:  # as after a kill between log and checkpoint
            stream.write("4,9,9,9\n")
        start(tmp_path, tiny())
        assert [(row["step"], row["dice_wt"]) for row in log(tmp_path)] == [
            (row["step"], row["dice_wt"]) for row in log(whole)
        ]

    def test_outside_of_the_main_thread(self, tmp_path: Path, start: Train, whole: Path, tiny) -> None:
        thread = threading.Thread(target=start, args=(tmp_path, tiny()))
        thread.start()
        thread.join()
        assert same(tmp_path, whole)

    @pytest.mark.slow
    def test_killed_at_a_random_moment(
        self, tmp_path: Path, cases: list[Case], cache: Path, start: Train, tiny
    ) -> None:
        settings = tiny("training.checkpoint_minutes=0.00001", "training.steps=400")
        script = (
            "import sys, json, torch; torch.set_num_threads(1)\n"
            "from pathlib import Path\n"
            "from gliomaseg.settings.loading import parse_settings\n"
            "from gliomaseg.cases.find import find_cases\n"
            "from gliomaseg.training.train import train\n"
            "data, cache, run, settings = sys.argv[1:]\n"
            "train(find_cases(data), Path(run), parse_settings(json.loads(settings)), cache=Path(cache),\n"
            "      progress=lambda fraction, text: None)\n"
        )
        data = next(iter(cases[0].images.values())).parent.parent
        run = tmp_path / "run"
        given = [str(data), str(cache), str(run), settings.model_dump_json()]
        process = subprocess.Popen([sys.executable, "-c", script, *given])
        deadline = time.monotonic() + 120
        while not (run / "checkpoint.safetensors").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(secrets.randbelow(1000) / 1000)
        process.send_signal(signal.SIGKILL)
        assert process.wait(10) == -signal.SIGKILL
        _, step = checkpoint(run)
        assert 0 < step < 400
        with pytest.raises(KeyboardInterrupt):
            start(run, settings, stop_at(step + 3))
        with pytest.raises(KeyboardInterrupt):
            start(tmp_path / "never killed", settings, stop_at(step + 3))
        assert same(run, tmp_path / "never killed")
        assert not list(run.glob(".tmp-*"))
        steps = [int(row["step"]) for row in log(run)]
        assert steps == sorted(set(steps))


class TestEarlyStop:
    def test_it_ends_at_a_plateau_and_stays_ended(self, tmp_path: Path, start: Train, tiny) -> None:
        settings = tiny(
            "training.early_stop=true", "training.patience=1", "training.validate_minutes=0.00001",
            "training.learning_rate=1e-9", "training.steps=40",
        )  # fmt: skip
        start(tmp_path, settings)
        rows = log(tmp_path)
        assert len(rows) < 40
        assert [row["final"] for row in rows] == ["0"] * (len(rows) - 1) + ["1"]
        before = checkpoint(tmp_path)[1]
        start(tmp_path, settings)
        assert checkpoint(tmp_path)[1] == before
        assert log(tmp_path) == rows


class TestRefusals:
    def test_a_batch_that_can_not_be_shared(self, tmp_path: Path, start: Train, tiny, monkeypatch) -> None:
        monkeypatch.setattr(Accelerator, "num_processes", property(lambda _: 4))
        with pytest.raises(SettingsError, match=r"E-SETTING.*batch of 2 .* 4 processes"):
            start(tmp_path, tiny())

    def test_other_settings(self, start: Train, whole: Path, tiny) -> None:
        with pytest.raises(TrainingError, match=r"E-RUN.*learning_rate"):
            start(whole, tiny("training.learning_rate=0.1"))

    def test_other_cases(self, whole: Path, cases: list[Case], cache: Path, tiny) -> None:
        with pytest.raises(TrainingError, match=r"E-RUN.*other cases"):
            train(cases[:3], whole, tiny(), cache=cache, progress=quiet)

    def test_a_damaged_checkpoint(self, tmp_path: Path, start: Train, tiny) -> None:
        start(tmp_path, tiny("training.steps=1"))
        path = tmp_path / "checkpoint.safetensors"
        path.write_bytes(path.read_bytes()[:-1000])
        with pytest.raises(TrainingError, match=r"E-RUN.*damaged"):
            start(tmp_path, tiny("training.steps=1"))

    def test_too_few_cases_and_the_remedy(self, tmp_path: Path, start: Train, tiny) -> None:
        with pytest.raises(TrainingError, match="E-FEWCASES"):
            start(tmp_path, tiny("training.folds=5", "training.steps=1"))
        start(tmp_path, tiny("training.folds=2", "training.steps=1"))
        assert checkpoint(tmp_path)[1] == 1

    @pytest.mark.parametrize("broken", ["loss", "gradient"])
    def test_numbers_that_are_none(
        self, tmp_path: Path, start: Train, whole: Path, tiny, broken: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        build, steps = loop.build_loss, iter(range(100))

        def break_at_third(settings: Settings):
            loss_of = build(settings)

            def spoilt(outputs: list[Tensor], regions: Tensor) -> Tensor:
                if next(steps) < 3:
                    return loss_of(outputs, regions)
                zero = (outputs[0] * 0).sum()
                return zero * math.nan if broken == "loss" else zero.sqrt()  # the slope of a root at 0

            return spoilt

        monkeypatch.setattr(loop, "build_loss", break_at_third)
        settings = tiny("training.checkpoint_minutes=0.00001")
        with pytest.raises(TrainingError, match="E-LOSS: step 4") as caught:
            start(tmp_path, settings)
        assert str(caught.value).count("case phantom-") == 2
        assert checkpoint(tmp_path)[1] == 3
        monkeypatch.setattr(loop, "build_loss", build)
        start(tmp_path, settings)
        tensors, expected = checkpoint(tmp_path)[0], checkpoint(whole)[0]
        assert all(torch.equal(tensors[key], expected[key]) for key in expected)


class TestAverage:
    def test_validation_leaves_the_network_in_training(
        self, tmp_path: Path, start: Train, whole: Path, tiny, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        modes, step = [], loop._step

        def watch(state: State, *rest: object) -> None:
            modes.append((state.network.training, state.average.training))
            step(state, *rest)

        monkeypatch.setattr(loop, "_step", watch)
        start(tmp_path, tiny("training.validate_minutes=0.00001"))
        assert modes == [(True, True)] + [(True, False)] * 5
        rows = log(tmp_path)
        assert [row["step"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
        assert [row["final"] for row in rows] == ["0", "0", "0", "0", "0", "1"]
        assert same(tmp_path, whole)  # validating changes nothing

    def test_the_average_by_pencil(self) -> None:
        network, average = nn.BatchNorm1d(1), nn.BatchNorm1d(1)
        with torch.no_grad():
            network.weight.fill_(5)
            network.running_mean.fill_(8)
            network.running_var.fill_(3)
            network.num_batches_tracked.fill_(7)
        update_ema(average, network, 0.75)
        assert average.weight.item() == 0.75 * 1 + 0.25 * 5
        assert average.running_mean.item() == 0.75 * 0 + 0.25 * 8
        assert average.running_var.item() == 0.75 * 1 + 0.25 * 3
        assert average.num_batches_tracked.item() == 7

    def test_statistics_of_batch_norm_follow(self, whole: Path) -> None:
        tensors, _ = checkpoint(whole)
        names = [k for k in tensors if k.startswith("average.") and k.endswith("running_var")]
        assert names
        for name in names:
            average, present = tensors[name], tensors[name.replace("average.", "network.")]
            assert (average > 0).all()
            assert not torch.equal(average, torch.ones_like(average))
            assert torch.allclose(average, present, rtol=1.0)

    def test_evaluated_with_its_own_statistics_it_is_near_the_network(
        self, tmp_path: Path, start: Train, tiny
    ) -> None:
        run = start(tmp_path, tiny("training.steps=30", "training.ema=0.9"))
        state = begin(run, Accelerator())
        image = torch.randn(1, 4, 32, 32, 32)
        with torch.no_grad():
            present, average = (net.eval()(image)[0].sigmoid() for net in (state.network, state.average))
        assert (present - average).abs().mean() < 0.1


class TestMemory:
    @pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
    @pytest.mark.parametrize("kept", [True, False])
    def test_freed_memory_is_used_again(self, kept: bool) -> None:
        """In a process of its own: what other tests left in this one decides where glibc finds memory."""
        code = (
            "import resource, sys, torch\n"
            "from gliomaseg.training.process import keep_freed_memory\n"
            "def faults():\n"
            "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
            "    for _ in range(4):\n"
            "        torch.ones(16 << 20)\n"  # 64 MB, mapped and returned by default
            "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before\n"
            f"{'keep_freed_memory()' if kept else ''}\n"
            "faults()\n"
            "print(faults() * resource.getpagesize() / (4 << 26))\n"
        )
        environ = {name: value for name, value in os.environ.items() if "THP" not in name}
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environ, check=True
        )
        fetched = float(done.stdout)  # the share of the memory that the kernel supplied anew
        assert fetched < 0.1 if kept else fetched > 0.5

    def test_elsewhere_nothing_is_done(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
        monkeypatch.setattr(ctypes, "CDLL", None)
        keep_freed_memory()


@pytest.mark.parametrize(("wanted", "bf16"), [("fp32", False), ("bf16", True)])
def test_precision_is_as_asked(tmp_path: Path, tiny, wanted: str, bf16: bool) -> None:
    assert begin(Run(tmp_path, tiny(f"training.precision={wanted}")), Accelerator()).bf16 is bf16


def test_bf16_learns(tmp_path: Path, start: Train, whole: Path, tiny) -> None:
    start(tmp_path, tiny("training.precision=bf16"))
    losses = [[float(row["loss"]) for row in log(folder)] for folder in (tmp_path, whole)]
    assert losses[0] == pytest.approx(losses[1], rel=0.1)
    assert losses[0] != losses[1]
