"""Processes of a training: batches from workers, in order; TensorBoard and MLflow, where installed."""

from __future__ import annotations

import importlib.util
import time
from contextlib import closing
from pathlib import Path

import pytest
import torch

from gliomaseg.cases.case import Case
from gliomaseg.errors import SettingsError
from gliomaseg.training import process
from gliomaseg.training.dataset import PatchDataset
from gliomaseg.training.process import read_batches
from gliomaseg.training.train import train


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_batches_are_the_patches_of_their_numbers(prepared, tiny, workers: int) -> None:
    patches = PatchDataset(prepared, tiny())
    numbers = [range(n, n + 2) for n in range(0, 40, 2)]
    with closing(read_batches(patches, iter(numbers), workers)) as batches:
        for wanted, (image, target) in zip(numbers, batches, strict=True):
            time.sleep(0.02)  # workers go on as far as they may
            assert image.shape[0] == target.shape[0] == 2
            for place, number in enumerate(wanted):
                for found, expected in zip((image[place], target[place]), patches[number], strict=True):
                    assert torch.equal(found, expected)


def quiet(_fraction: float, _text: str) -> None:
    """Report nothing."""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of TensorBoard's generated code
def test_tensorboard_shows_the_log(tmp_path: Path, tiny, cases: list[Case], cache: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs the extra [tensorboard]")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    settings = tiny("training.track=[tensorboard]", "training.steps=2")
    run = train(cases, tmp_path, settings, cache=cache, progress=quiet)
    events = EventAccumulator(str(tmp_path / "tensorboard" / "gliomaseg"))
    events.Reload()
    (row,) = run.read_history().rows
    found = {name: events.Scalars(name)[-1] for name in ("loss", "learning_rate", "dice_wt")}
    assert {event.step for event in found.values()} == {2}
    assert found["dice_wt"].value == pytest.approx(row.scores["dice_wt"], abs=1e-4)
    assert found["loss"].value == pytest.approx(row.loss, rel=1e-4)


def test_mlflow_stays_in_the_run_folder(tmp_path: Path, tiny, cases: list[Case], cache: Path) -> None:
    mlflow = pytest.importorskip("mlflow", reason="needs the extra [mlflow]")
    settings = tiny("training.track=[mlflow]", "training.steps=2")
    train(cases, tmp_path / "mine", settings, cache=cache, progress=quiet)
    assert (tmp_path / "mine" / "mlflow" / "mlflow.db").is_file()
    client = mlflow.MlflowClient()
    (experiment,) = [e for e in client.search_experiments() if e.name == "gliomaseg"]
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.run_name == "mine"
    assert {"loss", "dice_wt"} <= found.data.metrics.keys()
    assert experiment.artifact_location.endswith("/mine/mlflow/artifacts")


@pytest.mark.parametrize("name", ["tensorboard", "mlflow"])
def test_a_missing_tracker_is_refused_before_the_work(
    tmp_path: Path, tiny, cases: list[Case], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    known = importlib.util.find_spec
    monkeypatch.setattr(process, "find_spec", lambda asked: None if asked == name else known(asked))
    with pytest.raises(SettingsError) as error:
        train(cases, tmp_path, tiny(f"training.track=[{name}]"), progress=quiet)
    assert error.value.code == "E-EXTRA"
    assert f'pip install ".[train,{name}]"' in error.value.remedy
    assert not list(tmp_path.iterdir())
