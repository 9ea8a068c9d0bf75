"""``gliomaseg train --smoke``: the whole path on a few cases with a tiny network, in about a minute.

It proves that data, training, resuming, exporting and segmenting work together on this machine. It lives
in a folder of its own, its preset is named a smoke test, and its network has learned nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gliomaseg.cases.case import Case
from gliomaseg.errors import TrainingError
from gliomaseg.segmenter import Segmenter
from gliomaseg.settings.loading import load_settings
from gliomaseg.settings.schema import NetworkSettings, Settings
from gliomaseg.storage import files

Progress = Callable[[float, str], None]

#: Three to train on, one held out.
_PATIENTS = 4
#: Steps before the training is stopped, and those at its end.
_FIRST, _LAST = 4, 8
#: The smallest widths of each network, and the edge of a patch that it can halve often enough.
_TINY: dict[str, tuple[list[int], int]] = {
    "unet3d": ([8, 8, 8], 32),
    "unet2d": ([4, 4, 8, 8, 8], 32),
    "attention_unet": ([4, 8, 8], 32),
    "unet_plusplus": ([4, 4, 4, 8, 8, 4], 32),
    "vnet": ([], 32),
    "residual_unet": ([8, 16, 32], 32),
    "dynunet": ([4, 8, 8, 8, 8], 32),
    "unetr": ([4, 24], 32),
    "swin_unetr": ([12], 64),
    "mednext": ([4], 32),
}


@dataclass(frozen=True)
class Step:
    """A part of the path: what was done, how long it took, what came of it."""

    name: str
    seconds: float
    found: str


@dataclass(frozen=True)
class Proof:
    """What a smoke test went through; ``folder`` holds what it wrote."""

    folder: Path
    steps: tuple[Step, ...]

    def rows(self) -> list[list[str]]:
        """Return the steps as rows under a header."""
        return [["proved", "seconds", "found"], *[[s.name, f"{s.seconds:.1f}", s.found] for s in self.steps]]

    def as_dict(self) -> dict[str, Any]:
        """Return the proof as plain values, for JSON."""
        return {"smoke_test": str(self.folder), "steps": [asdict(step) for step in self.steps]}


def smoke_test(
    cases: Sequence[Case], output: Path, changes: Sequence[str] = (), *, preset: str, progress: Progress
) -> Proof:
    """Train, resume, validate, export and segment into ``output``/smoke-test, which is replaced.

    Of the settings, network and schedule are made tiny, all others are those of ``preset`` and ``changes``.
    Prepared cases go to ``output``/cache, where a real training finds them. Raises TrainingError (E-FEWCASES)
    with fewer than 4 patients, and whatever the path itself raises.
    """
    few = _few(cases)
    files.make_folder(output)
    target = output / "smoke-test"
    with files.open_folder(target) as folder:
        path = _Path(few, folder, output / "cache", progress)
        steps = tuple(path.walk(_tiny(preset, changes)))
        files.write_text(folder / "SMOKE-TEST.txt", "A smoke test: this network has learned nothing.\n")
    return Proof(target, steps)


def _few(cases: Sequence[Case]) -> list[Case]:
    first: dict[str, Case] = {}
    for case in cases:
        first.setdefault(case.patient, case)
    if len(first) < _PATIENTS:
        raise TrainingError(
            "E-FEWCASES",
            f"a smoke test with {len(first)} patients",
            expected=f"at least {_PATIENTS}",
            remedy="name a folder with cases of more patients",
        )
    return list(first.values())[:_PATIENTS]


def smallest_network(network: NetworkSettings) -> list[str]:
    """Return the changes that make a network as small as it can be, and its patch with it."""
    filters, edge = _TINY[network.name]
    patch = [edge] * network.dimensions
    window = [f"network.window={patch}"] if network.window else []
    return [f"network.filters={filters}", f"training.patch={patch}", *window]


def _tiny(preset: str, changes: Sequence[str]) -> Settings:
    smallest = smallest_network(load_settings(preset, changes).network)
    short = (
        "training.batch=2",
        f"training.steps={_LAST}",
        "training.hours=null",
        "training.fractions=null",
        "training.folds=4",
        "training.fold=0",
        "training.warmup_steps=2",
        "training.init_from=null",
        "training.track=[]",
    )
    settings = load_settings(preset, [*changes, *smallest, *short])
    return settings.model_copy(update={"preset": f"smoke test of {preset}"})


@dataclass(frozen=True)
class _Path:
    cases: Sequence[Case]
    folder: Path
    cache: Path
    progress: Progress

    def walk(self, settings: Settings) -> list[Step]:
        """Go the whole way; returns what each part took and found."""
        shorter = settings.training.model_copy(update={"steps": _FIRST})
        parts = {
            "prepare, plan, train, validate": lambda: self._train(
                settings.model_copy(update={"training": shorter})
            ),
            "resume": lambda: self._train(settings),
            "export": self._export,
            "segment": self._segment,
        }
        steps = []
        for name, part in parts.items():
            started = time.monotonic()
            found = part()
            steps.append(Step(name, round(time.monotonic() - started, 1), found))
        return steps

    def _train(self, settings: Settings) -> str:
        from gliomaseg.training.train import train

        run = train(self.cases, self.folder, settings, cache=self.cache, progress=self.progress)
        split, last = run.read_split(), run.read_history().scored[-1]
        return (
            f"{last.step} steps on {len(split.train)} cases, loss {last.loss:.3f}; "
            f"{len(split.validation)} held-out cases scored"
        )

    def _export(self) -> str:
        from gliomaseg.training.export import export
        from gliomaseg.training.run import load_run

        bundle = export(load_run(self.folder), self.folder / "model", name="smoke test")
        return f"a bundle, sha256 {bundle.sha256[:12]}..., in agreement with PyTorch"

    def _segment(self) -> str:
        case = self.cases[0]
        self.progress(1, f"segmenting {case.id}")
        result = Segmenter.load(str(self.folder / "model")).segment(case)
        found = np.count_nonzero(result.segmentation.labels)
        return f"{case.id}: {found} voxels labelled (without meaning)"
