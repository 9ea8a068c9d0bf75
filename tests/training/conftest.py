"""Small phantoms, tiny networks and runs for the tests of the training room."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from gliomaseg.cases.case import Case
from gliomaseg.cases.find import find_cases
from gliomaseg.settings.loading import load_settings
from gliomaseg.settings.schema import Settings
from gliomaseg.training.cache import PreparedCase, prepare_cases

SHORT = (
    "training.batch=2",
    "training.steps=6",
    "training.warmup_steps=2",
    "training.workers=0",
    "training.folds=2",
    "training.precision=fp32",
    "prepare.spacing_mm=3",  # that of the small phantom: as stored
)

Tiny = Callable[..., Settings]


def quiet(_fraction: float, _text: str) -> None:
    """Say nothing."""


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Tiny networks are fastest, and sums the same everywhere, on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny(smallest: Callable[[str], list[str]]) -> Tiny:
    """Return a function of (changes, preset) that gives settings of a training of a second or two."""

    def settings(*changes: str, preset: str = "unet3d") -> Settings:
        return load_settings(preset, [*smallest(preset), *SHORT, *changes])

    return settings


@pytest.fixture(scope="session")
def cases(phantom_folder: Path) -> list[Case]:
    """Return four small phantoms on disk."""
    return find_cases(phantom_folder)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory, cases: list[Case], tiny: Tiny) -> Path:
    """Return a folder in which the phantoms are prepared already."""
    folder = tmp_path_factory.mktemp("cache")
    prepare_cases(cases, tiny(), folder, quiet)
    return folder


@pytest.fixture(scope="session")
def prepared(cases: list[Case], cache: Path, tiny: Tiny) -> list[PreparedCase]:
    """Return the phantoms as prepared cases."""
    return prepare_cases(cases, tiny(), cache, quiet)


@pytest.fixture
def store() -> Callable[..., PreparedCase]:
    """Return a function of (folder, image, label) that makes a prepared case of arrays."""

    def make(folder: Path, image: np.ndarray, label: np.ndarray) -> PreparedCase:
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "image.npy", image.astype(np.float16))
        np.save(folder / "label.npy", label.astype(np.uint8))
        masks = {
            "core": (label == 1) | (label == 3),
            "tumour": label > 0,
            "brain": np.any(image != 0, axis=0),
        }
        np.savez(folder / "places.npz", **{k: np.argwhere(m).astype(np.int16) for k, m in masks.items()})
        facts = {"voxels": {"et": int((label == 3).sum())}, "spacing_mm": [1, 1, 1]}
        return PreparedCase(folder.name, folder.name, folder, facts)

    return make
