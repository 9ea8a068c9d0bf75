"""TensorBoard and MLflow, for those who watch many runs; Accelerate writes to them. Door: accelerate.

Both write into the run folder, ``tensorboard`` and ``mlflow``, and open no connection; history.csv has all
that they show.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from accelerate import Accelerator

from gliomaseg.errors import SettingsError
from gliomaseg.settings.schema import Settings
from gliomaseg.storage import files
from gliomaseg.training.history import Row


def require_trackers(names: Sequence[str]) -> list[str]:
    """Return the names; raises SettingsError (E-EXTRA) for one that is not installed."""
    for name in names:
        if find_spec(name) is None:
            raise SettingsError(
                "E-EXTRA",
                f"training.track asks for {name}, which is not installed",
                expected=f"the extra [{name}]",
                remedy=f'pip install ".[train,{name}]" in the folder of gliomaseg, or leave it out: '
                "history.csv has the same",
            )
    return list(names)


@contextmanager
def tracking(accelerator: Accelerator, settings: Settings, folder: Path) -> Iterator[None]:
    """Open what ``training.track`` names, with the settings of the run, and close it at the end."""
    names = settings.training.track
    if not names:
        yield
        return
    options = {}
    if "mlflow" in names:
        options["mlflow"] = _mlflow_here(folder) | {"run_name": folder.resolve().name}
    accelerator.init_trackers("gliomaseg", _flat(settings), options)
    try:
        yield
    finally:
        accelerator.end_training()


def track(accelerator: Accelerator, row: Row) -> None:
    """Hand a row of the log to the trackers that are open, if any."""
    values = {"loss": row.loss, "learning_rate": row.learning_rate, "minutes": row.minutes, **row.scores}
    accelerator.log(values, step=row.step)


def _mlflow_here(folder: Path) -> dict[str, str]:
    """Make MLflow write to the run folder and send nothing; return where it is to keep files."""
    os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}  # read on import
    import mlflow

    place = files.make_folder(folder.resolve() / "mlflow")
    mlflow.set_tracking_uri(f"sqlite:///{place / 'mlflow.db'}")
    return {"logging_dir": (place / "artifacts").as_uri()}


def _flat(settings: Settings) -> dict[str, str]:
    """Return every setting as text, by section and name."""
    sections = settings.model_dump(mode="json")
    return {
        f"{section}.{name}": str(value)
        for section, values in sections.items()
        if isinstance(values, dict)
        for name, value in values.items()
    }
