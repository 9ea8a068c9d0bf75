"""A run folder: what a training needs to go on, and what came of it.     [door: safetensors]

No pickle: weights and optimiser state are plain tensors with names, the rest is JSON and CSV.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from gliomaseg import files
from gliomaseg.config import Settings, parse_settings
from gliomaseg.errors import TrainingError
from gliomaseg.imaging.nifti import missing_file
from gliomaseg.learning.dataset import Split


class State(Protocol):
    """What a checkpoint holds."""

    network: nn.Module
    average: nn.Module
    optimizer: torch.optim.AdamW
    step: int
    seconds: float


@dataclass(frozen=True)
class Row:
    """One line of history.csv; Dice values are of whole held-out cases, in the prepared crop."""

    step: int
    minutes: float
    loss: float
    learning_rate: float
    dice_wt: float | None = None
    dice_tc: float | None = None
    dice_et: float | None = None
    final: int | None = None


class History:
    """The log of a run, as rows."""

    def __init__(self, rows: list[Row] | None = None) -> None:
        self.rows = rows or []

    def add(self, row: Row) -> None:
        """Add a row."""
        self.rows.append(row)

    def add_scores(self, dice: Mapping[str, float], *, final: bool = False) -> None:
        """Put validation scores into the last row."""
        last = self.rows.pop() if self.rows else Row(0, 0, 0, 0)
        scores = {f"dice_{region}": round(value, 5) for region, value in dice.items()}
        self.rows.append(replace(last, **scores, final=int(final)))  # type: ignore[arg-type]

    @property
    def is_final(self) -> bool:
        """Return whether the finished network was validated."""
        return bool(self.rows and self.rows[-1].final)

    def csv(self) -> str:
        """Return the rows as CSV text."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([f.name for f in fields(Row)])
        for row in self.rows:
            cells = astuple(row)
            writer.writerow([f"{v:.6g}" if isinstance(v, float) else v for v in cells])
        return text.getvalue()


@dataclass(frozen=True)
class Run:
    """A run folder and its settings."""

    folder: Path
    settings: Settings

    @property
    def checkpoint(self) -> Path:
        """Return where the checkpoint lies."""
        return self.folder / "checkpoint.safetensors"

    def keep_split(self, split: Split) -> Split:
        """Save the split; raises TrainingError (E-RUN) when the run was begun with other cases."""
        path = self.folder / "split.json"
        content = {"train": list(split.train), "validation": list(split.validation)}
        if path.exists() and json.loads(path.read_text(encoding="utf-8")) != content:
            raise TrainingError(
                "E-RUN",
                f"{self.folder} was begun with other cases",
                expected="the same data as at the start of the run",
                remedy="give the same data, or another folder with -o",
            )
        files.write_json(path, content)
        return split

    def read_history(self, step: int) -> History:
        """Return the log up to ``step``: rows behind the checkpoint are trained again."""
        path = self.folder / "history.csv"
        if not path.exists():
            return History()
        with path.open(newline="", encoding="utf-8") as stream:
            rows = [_row(cells) for cells in csv.DictReader(stream)]
        return History([row for row in rows if row.step <= step])

    def save(self, state: State, history: History) -> None:
        """Write the checkpoint, then the log."""
        tensors = {f"network.{k}": v for k, v in weights(state.network).items()}
        tensors |= {f"average.{k}": v for k, v in weights(state.average).items()}
        for index, moments in state.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{k}": v for k, v in moments.items()}
        whole = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
        about = {"step": str(state.step), "seconds": repr(state.seconds)}
        files.write_bytes(self.checkpoint, save(whole, metadata=about))
        files.write_text(self.folder / "history.csv", history.csv())

    def load(self, state: State) -> None:
        """Bring ``state`` to the last checkpoint, if there is one."""
        if not self.checkpoint.exists():
            return
        tensors, about = read_checkpoint(self.checkpoint)
        load_weights(state.network, _part(tensors, "network."))
        load_weights(state.average, _part(tensors, "average."))
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _part(tensors, "optimizer.").items():
            index, _, key = name.partition(".")
            moments.setdefault(int(index), {})[key] = tensor
        groups = state.optimizer.state_dict()["param_groups"]
        state.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        state.step, state.seconds = int(about["step"]), float(about["seconds"])


def open_run(folder: Path, settings: Settings) -> Run:
    """Return the run in ``folder``, new or to be continued.

    Raises TrainingError (E-RUN) when it was begun with other settings, OutputError when the folder
    can't be written.
    """
    files.make_folder(folder)
    path = folder / "settings.json"
    mine = settings.model_dump(mode="json")
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        changed = _differences(before, mine)
        if changed:
            raise TrainingError(
                "E-RUN",
                f"{folder} holds a run with other settings: {'; '.join(changed[:3])}",
                expected="the settings that the run was begun with",
                remedy="repeat them, or choose another folder with -o",
            )
    files.write_json(path, mine)
    return Run(folder, settings)


def load_run(folder: Path) -> Run:
    """Return an existing run; raises ImageError (E-NOFILE), TrainingError (E-RUN) without checkpoint."""
    path = folder / "settings.json"
    if not path.exists():
        raise missing_file(path)
    run = Run(folder, parse_settings(json.loads(path.read_text(encoding="utf-8"))))
    if not run.checkpoint.exists():
        raise TrainingError(
            "E-RUN",
            f"{folder} has no checkpoint yet",
            expected="a run that was trained for some minutes",
            remedy="train it on with the command that began it",
        )
    return run


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of a checkpoint and its notes; raises TrainingError (E-RUN) if damaged."""
    try:
        with safe_open(path, framework="pt") as archive:
            tensors = {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118
            return tensors, dict(archive.metadata())
    except (SafetensorError, KeyError) as error:
        raise TrainingError(
            "E-RUN",
            f"{path} is damaged: {error}",
            expected="a checkpoint written by gliomaseg train",
            remedy="delete it to begin again",
        ) from error


def averaged_weights(run: Run) -> dict[str, Tensor]:
    """Return the averaged weights of a run, the ones that are exported."""
    return _part(read_checkpoint(run.checkpoint)[0], "average.")


def weights(network: nn.Module) -> dict[str, Tensor]:
    """Return parameters and buffers by name, each once: MONAI's networks hold some modules twice."""
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


@torch.no_grad()
def load_weights(network: nn.Module, saved: Mapping[str, Tensor]) -> None:
    """Copy ``saved`` into the network; raises TrainingError (E-RUN) when the names differ."""
    own = weights(network)
    if own.keys() != saved.keys():
        raise TrainingError(
            "E-RUN",
            "the saved weights are of another network",
            expected=f"{len(own)} named tensors, such as {next(iter(own))}",
            remedy="use the version of gliomaseg that trained it, or train again",
        )
    for name, tensor in own.items():
        tensor.copy_(saved[name])


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _differences(before: dict[str, object], mine: dict[str, object], path: str = "") -> list[str]:
    changed = []
    for key in sorted(before.keys() | mine.keys()):
        old, new = before.get(key), mine.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            changed += _differences(old, new, f"{path}{key}.")
        elif old != new:
            changed.append(f"{path}{key} was {old}, is {new}")
    return changed


def _row(cells: Mapping[str, str]) -> Row:
    numbers = {k: (float(v) if v else None) for k, v in cells.items()}
    row = Row(**numbers)  # type: ignore[arg-type]
    return replace(row, step=int(row.step), final=None if row.final is None else int(row.final))
