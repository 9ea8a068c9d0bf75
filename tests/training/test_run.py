"""The run folder: settings, split, log and checkpoint."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from gliomaseg.errors import ImageError, OutputError, TrainingError
from gliomaseg.training.history import History, Row
from gliomaseg.training.run import (
    Run,
    averaged_weights,
    load_run,
    load_weights,
    open_run,
    read_checkpoint,
    weights,
)
from gliomaseg.training.split import Split

ROWS = [
    Row(25, 1.25, 2.5, 1e-3),
    Row(50, 2.5, 1.125, 5e-4, {"dice_wt": 0.75, "dice_tc": 0.5, "dice_et": 0.25}, False),
    Row(60, 3, 1, 0, {"dice_wt": 0.8, "dice_tc": 0.6, "dice_et": 0.4}, True),
]
SPLIT = Split(("a", "b"), ("c",))


@dataclass
class State:
    """The least that can be saved: two networks of one convolution and batch norm."""

    network: nn.Module = field(default_factory=lambda: nn.Sequential(nn.Conv3d(1, 2, 1), nn.BatchNorm3d(2)))
    average: nn.Module = field(default_factory=lambda: nn.Sequential(nn.Conv3d(1, 2, 1), nn.BatchNorm3d(2)))
    optimiser: torch.optim.AdamW = field(init=False)
    step: int = 0
    seconds: float = 0.0
    history: History = field(default_factory=History)

    def __post_init__(self) -> None:
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=0.1)

    def learn(self) -> None:
        self.network(torch.randn(2, 1, 4, 4, 4)).square().sum().backward()
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.step += 1
        self.seconds += 0.1


@pytest.fixture
def run(tmp_path: Path, tiny) -> Run:
    """Return a run with a checkpoint at step 3 and a log."""
    run = open_run(tmp_path / "run", tiny())
    run.keep_split(SPLIT)
    state = State(history=History(list(ROWS)))
    for _ in range(3):
        state.learn()
    run.save(state)
    return run


class TestHistory:
    def test_csv_and_back(self, run: Run) -> None:
        text = (run.folder / "history.csv").read_text()
        head, *rows = text.splitlines()
        assert head.startswith("step,minutes,loss,learning_rate,dice_wt,dice_tc,dice_et,precision_wt,")
        assert head.endswith(",dice_ncr,dice_ed,mean_iou,final")
        assert [row.rstrip(",") for row in rows][:1] == ["25,1.25,2.5,0.001"]
        assert rows[2].startswith("60,3,1,0,0.8,0.6,0.4,,")
        assert rows[2].endswith(",,1")
        assert run.read_history().rows == ROWS
        assert run.read_history().csv() == text

    def test_rows_behind_the_checkpoint_are_cut(self, run: Run) -> None:
        before = State(step=59)
        run.save(State(step=59, history=History(ROWS)))
        run.load(before)
        assert before.history.rows == ROWS[:2]

    def test_summary(self, run: Run) -> None:
        head, scores = run.summary()
        assert head[3:] == ["Dice WT", "Dice TC", "Dice ET", "held-out cases"]
        assert scores == ["60", "3.0", "1.000", "0.800", "0.600", "0.400", "1"]

    def test_summary_of_some_regions_and_of_none(self, run: Run) -> None:
        state = State(history=History([Row(25, 1, 1, 1, {"dice_tc": 0.5}, False)]))
        run.save(state)
        assert run.summary()[1][3:] == ["-", "0.500", "-", "1"]
        run.save(State())
        assert len(run.summary()) == 1


class TestCheckpoint:
    def test_everything_comes_back(self, run: Run) -> None:
        before = State()
        for _ in range(4):
            before.learn()
        run.save(before)
        after = State()
        run.load(after)
        assert (after.step, after.seconds) == (4, before.seconds)
        for name in ("network", "average"):
            old, new = weights(getattr(before, name)), weights(getattr(after, name))
            assert all(torch.equal(old[key], new[key]) for key in old)
        old, new = (s.optimiser.state_dict() for s in (before, after))
        assert old["param_groups"] == new["param_groups"]
        for index, moments in old["state"].items():
            assert all(torch.equal(value, new["state"][index][key]) for key, value in moments.items())

    def test_the_averaged_weights_are_those_of_the_average(self, run: Run) -> None:
        state = State()
        run.save(state)
        expected = weights(state.average)
        found = averaged_weights(run)
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], expected[key]) for key in found)

    def test_without_a_checkpoint_nothing_is_loaded(self, tmp_path: Path, tiny) -> None:
        state = State()
        Run(tmp_path, tiny()).load(state)
        assert state.step == 0

    @pytest.mark.parametrize("keep", [0, 7, 100, -1])
    def test_a_shortened_checkpoint_is_refused(self, run: Run, keep: int) -> None:
        run.checkpoint.write_bytes(run.checkpoint.read_bytes()[:keep])
        with pytest.raises(TrainingError, match=r"E-RUN.*damaged"):
            run.load(State())

    def test_a_file_of_another_kind_is_refused(self, run: Run) -> None:
        save_file({"a": torch.zeros(1)}, run.checkpoint)
        with pytest.raises(TrainingError, match="E-RUN"):
            read_checkpoint(run.checkpoint)
        torch.save({"a": torch.zeros(1)}, run.checkpoint)
        with pytest.raises(TrainingError, match="E-RUN"):
            read_checkpoint(run.checkpoint)

    def test_weights_of_another_network_are_refused(self) -> None:
        with pytest.raises(TrainingError, match="another network"):
            load_weights(nn.Conv3d(1, 1, 1), {"weight": torch.zeros(1, 1, 1, 1, 1)})

    def test_a_failed_save_keeps_the_last_checkpoint(self, run: Run, monkeypatch) -> None:
        before = run.checkpoint.read_bytes()
        monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
        with pytest.raises(Exception, match="E-DISK"):
            run.save(State())
        assert run.checkpoint.read_bytes() == before
        assert not list(run.folder.glob(".tmp-*"))


class TestOpening:
    def test_other_settings_are_refused(self, run: Run, tiny) -> None:
        with pytest.raises(TrainingError, match="E-RUN") as caught:
            open_run(run.folder, tiny("training.batch=4", "augment.flip=0"))
        assert "augment.flip was 0.5, is 0.0; training.batch was 2, is 4" in caught.value.what
        assert open_run(run.folder, tiny()) == run

    def test_a_run_may_go_on_for_longer(self, run: Run, tiny) -> None:
        longer = open_run(run.folder, tiny("training.steps=9000", "training.workers=3", "training.hours=5"))
        assert (longer.settings.training.steps, longer.settings.training.hours) == (9000, 5)
        assert json.loads((run.folder / "settings.json").read_text())["training"]["hours"] == 5

    def test_settings_of_an_older_version_are_completed(self, run: Run, tiny) -> None:
        path = run.folder / "settings.json"
        settings = json.loads(path.read_text())
        del settings["training"]["weight_decay"]
        path.write_text(json.dumps(settings))
        assert open_run(run.folder, tiny()) == run
        with pytest.raises(TrainingError, match=r"training.weight_decay was 0.0001, is 0.0"):
            open_run(run.folder, tiny("training.weight_decay=0"))

    def test_before_the_first_checkpoint_settings_and_cases_may_change(self, tmp_path: Path, tiny) -> None:
        open_run(tmp_path, tiny()).keep_split(SPLIT)
        run = open_run(tmp_path, tiny("training.folds=3"))
        run.keep_split(Split(("a",), ("b",)))
        assert run.read_split() == Split(("a",), ("b",))
        assert json.loads((tmp_path / "settings.json").read_text())["training"]["folds"] == 3

    def test_other_cases_are_refused(self, run: Run) -> None:
        assert run.keep_split(SPLIT) == SPLIT == run.read_split()
        with pytest.raises(TrainingError, match=r"E-RUN.*other cases"):
            run.keep_split(Split(("a", "b", "d"), ("c",)))

    def test_what_a_killed_process_left_is_cleared(self, run: Run, tiny) -> None:
        draft = run.folder / ".tmp-abcd_123"
        draft.mkdir()
        (draft / "lock").touch()  # held by nobody
        (draft / "x.safetensors").write_bytes(b"half")
        open_run(run.folder, tiny())
        assert not list(run.folder.glob(".tmp-*"))

    def test_load_run(self, run: Run, tmp_path: Path) -> None:
        assert load_run(run.folder) == run
        with pytest.raises(ImageError, match="E-NOFILE"):
            load_run(tmp_path / "nowhere")
        run.checkpoint.unlink()
        with pytest.raises(TrainingError, match=r"E-RUN.*no checkpoint yet"):
            load_run(run.folder)


@pytest.mark.parametrize("name", ["settings.json", "split.json", "best.safetensors"])
def test_files_of_others_are_no_run(tmp_path: Path, tiny, name: str) -> None:
    (tmp_path / name).write_text('{"mine": 1}')
    with pytest.raises(OutputError, match="E-EXISTS"):
        open_run(tmp_path, tiny())
    assert (tmp_path / name).read_text() == '{"mine": 1}'
    assert [path.name for path in tmp_path.iterdir()] == [name]
