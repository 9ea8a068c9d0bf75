"""A run folder: settings, split, log and checkpoint. No pickle: tensors by name, JSON and CSV."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from gliomaseg.errors import OutputError, TrainingError
from gliomaseg.imaging.stored_file import missing_file
from gliomaseg.labels import Region
from gliomaseg.settings.loading import parse_settings
from gliomaseg.settings.schema import Settings
from gliomaseg.storage import files
from gliomaseg.storage.guard import refuse_foreign, refuse_inputs
from gliomaseg.training.history import History, read_history
from gliomaseg.training.split import Split

if TYPE_CHECKING:
    from gliomaseg.training.state import State

#: Settings that may change when a run is resumed: its length, and how it is monitored.
_MAY_CHANGE = frozenset(
    f"training.{name}"
    for name in ("steps", "hours", "pause_at", "workers", "validate_minutes", "checkpoint_minutes", "track")
)
#: Files of a run beside settings.json.
_OWN = ("split.json", "history.csv", "plan.json", "curves.png", "checkpoint.safetensors", "best.safetensors")


@dataclass(frozen=True)
class Run:
    """A run folder and its settings."""

    folder: Path
    settings: Settings

    @property
    def checkpoint(self) -> Path:
        """Return the path of the checkpoint."""
        return self.folder / "checkpoint.safetensors"

    @property
    def best(self) -> Path:
        """Return the path of the averaged weights of the best validation."""
        return self.folder / "best.safetensors"

    @property
    def is_begun(self) -> bool:
        """Return whether there is a checkpoint: settings and cases are fixed from then on."""
        return self.checkpoint.exists()

    def keep_split(self, split: Split) -> Split:
        """Save the split; raises TrainingError (E-RUN) when the run was begun with other cases."""
        if self.is_begun and self.read_split() != split:
            raise TrainingError(
                "E-RUN",
                f"{self.folder} was begun with other cases",
                expected="the same data as at the start of the run",
                remedy="give the same data, or another folder with -o",
            )
        files.write_json(self.folder / "split.json", {name: list(ids) for name, ids in asdict(split).items()})
        return split

    def read_split(self) -> Split:
        """Return the split into training, held-out and test cases."""
        content = json.loads((self.folder / "split.json").read_text(encoding="utf-8"))
        return Split(*(tuple(content.get(f.name, ())) for f in fields(Split)))

    def read_history(self) -> History:
        """Return the whole log."""
        return read_history(self.folder / "history.csv")

    def summary(self) -> list[list[str]]:
        """Return the last scores on the held-out cases, under a header, as text."""
        head = ["step", "minutes", "loss", *(f"Dice {r.upper()}" for r in Region), "held-out cases"]
        count = len(self.read_split().validation)
        scores = [
            [str(row.step), f"{row.minutes:.1f}", f"{row.loss:.3f}"]
            + [f"{row.dice[r]:.3f}" if r in row.dice else "-" for r in Region]
            + [str(count)]
            for row in self.read_history().scored[-1:]
        ]
        return [head, *scores]

    def save(self, state: State) -> None:
        """Write the log, then the checkpoint: if killed in between, later rows are dropped on resuming."""
        tensors = {f"network.{k}": v for k, v in weights(state.network).items()}
        tensors |= {f"average.{k}": v for k, v in weights(state.average).items()}
        for index, moments in state.optimiser.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{k}": v for k, v in moments.items()}
        whole = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
        about = {"step": str(state.step), "seconds": repr(state.seconds)}
        files.write_text(self.folder / "history.csv", state.history.csv())
        files.write_bytes(self.checkpoint, save(whole, metadata=about))

    def save_best(self, average: nn.Module) -> None:
        """Keep the averaged weights as those of the best validation."""
        write_tensors(self.best, weights(average))

    def load(self, state: State) -> None:
        """Set ``state`` to the last checkpoint, if there is one."""
        if not self.is_begun:
            return
        tensors, about = read_checkpoint(self.checkpoint)
        load_weights(state.network, _part(tensors, "network."))
        load_weights(state.average, _part(tensors, "average."))
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _part(tensors, "optimizer.").items():
            index, _, key = name.partition(".")
            moments.setdefault(int(index), {})[key] = tensor
        groups = state.optimiser.state_dict()["param_groups"]
        state.optimiser.load_state_dict({"state": moments, "param_groups": groups})
        state.step, state.seconds = int(about["step"]), float(about["seconds"])
        state.history = read_history(self.folder / "history.csv", up_to=state.step)


def open_run(folder: Path, settings: Settings, inputs: Iterable[Path] = ()) -> Run:
    """Return the run in ``folder``, new or to be resumed, possibly for longer than it was begun for.

    Raises TrainingError (E-RUN) when it was begun with other settings, OutputError when the folder can't be
    written, holds ``inputs``, or holds files with the names of a run's that no run wrote.
    """
    run = Run(folder, settings)
    path, is_begun = folder / "settings.json", run.is_begun
    new = settings.model_dump(mode="json")
    taken = [name for name in _OWN if (folder / name).exists()]
    if taken and not path.exists():
        raise OutputError(
            "E-EXISTS",
            f"{folder} holds {', '.join(taken)}, but no settings.json of a run",
            expected="a new folder, or that of a run",
            remedy="choose another folder with -o",
        )
    refuse_inputs(folder, [], inputs)
    refuse_foreign(path, [b'"network"', b'"training"', b'"prepare"'], overwrite=None)
    if is_begun and path.exists():
        before = parse_settings(json.loads(path.read_text(encoding="utf-8"))).model_dump(mode="json")
        changed = _differences(before, new)
        if changed:
            raise TrainingError(
                "E-RUN",
                f"{folder} holds a run with other settings: {'; '.join(changed[:3])}",
                expected="the settings that the run was begun with",
                remedy="repeat them, or choose another folder with -o",
            )
    files.make_folder(folder)
    files.clear_leftovers(folder)
    files.write_json(path, new)
    return run


def load_run(folder: Path) -> Run:
    """Return an existing run; raises ImageError (E-NOFILE), TrainingError (E-RUN) without checkpoint."""
    path = folder / "settings.json"
    if not path.exists():
        raise missing_file(path)
    run = Run(folder, parse_settings(json.loads(path.read_text(encoding="utf-8"))))
    if not run.is_begun:
        raise TrainingError(
            "E-RUN",
            f"{folder} has no checkpoint yet",
            expected="a run that was trained for some minutes",
            remedy="resume it with the command that began it",
        )
    return run


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the metadata of a checkpoint; raises TrainingError (E-RUN) if damaged."""
    tensors, about = _read(path)
    if not {"step", "seconds"} <= about.keys():
        raise _damaged(path, "its step is missing")
    return tensors, about


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors by name, whole or not at all."""
    files.write_bytes(path, save({name: tensor.contiguous() for name, tensor in tensors.items()}))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file by name; raises TrainingError (E-RUN) if it is damaged."""
    return _read(path)[0]


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as archive:
            return {name: archive.get_tensor(name) for name in archive.keys()}, archive.metadata() or {}  # noqa: SIM118
    except SafetensorError as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, why: str) -> TrainingError:
    return TrainingError(
        "E-RUN",
        f"{path} is damaged: {why}",
        expected="a checkpoint written by gliomaseg train",
        remedy="delete it to begin again",
    )


def averaged_weights(run: Run, *, best: bool = False) -> dict[str, Tensor]:
    """Return the averaged weights of a run for export: the last ones, or those of the best validation.

    Raises ImageError (E-NOFILE) when no validation was kept, TrainingError (E-RUN) if damaged.
    """
    if best and not run.best.exists():
        raise missing_file(run.best)
    return read_tensors(run.best) if best else _part(read_checkpoint(run.checkpoint)[0], "average.")


def weights(network: nn.Module) -> dict[str, Tensor]:
    """Return parameters and buffers by name, each once: MONAI's networks hold some modules twice."""
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


@torch.no_grad()
def load_weights(network: nn.Module, saved: Mapping[str, Tensor]) -> None:
    """Copy ``saved`` into the network; raises TrainingError (E-RUN) when names or shapes differ."""
    own = weights(network)
    if {k: v.shape for k, v in own.items()} != {k: v.shape for k, v in saved.items()}:
        raise TrainingError(
            "E-RUN",
            "the saved weights are of another network",
            expected=f"{len(own)} named tensors, such as {next(iter(own))}",
            remedy="use the network settings, and the version of gliomaseg, that trained them",
        )
    for name, tensor in own.items():
        tensor.copy_(saved[name])


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _differences(before: dict[str, object], new: dict[str, object], path: str = "") -> list[str]:
    changed = []
    for key in sorted(before.keys() | new.keys()):
        old, now = before.get(key), new.get(key)
        if isinstance(old, dict) and isinstance(now, dict):
            changed += _differences(old, now, f"{path}{key}.")
        elif old != now and f"{path}{key}" not in _MAY_CHANGE:
            changed.append(f"{path}{key} was {old}, is {now}")
    return changed
