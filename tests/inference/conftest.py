"""A tiny exported network of each kind, and a bundle that is sealed but holds no network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gliomaseg.inference.bundle import MEMBERS, Bundle, seal
from gliomaseg.settings.loading import load_settings
from gliomaseg.storage import files


def _export(folder: Path, preset: str, smallest: list[str]) -> Bundle:
    from accelerate import Accelerator

    from gliomaseg.training.export import export
    from gliomaseg.training.run import open_run
    from gliomaseg.training.split import Split
    from gliomaseg.training.state import begin

    run = open_run(folder / "run", load_settings(preset, [*smallest, "training.precision=fp32"]))
    run.keep_split(Split(("a",), ("b",)))
    run.save(begin(run, Accelerator()))
    return export(run, folder / "tiny", name="tiny")


@pytest.fixture(scope="session")
def unet3d(tmp_path_factory: pytest.TempPathFactory, smallest: Callable[[str], list[str]]) -> Bundle:
    """Return the bundle of a tiny 3D network with random weights."""
    return _export(tmp_path_factory.mktemp("unet3d"), "unet3d", smallest("unet3d"))


@pytest.fixture(scope="session")
def unet2d(tmp_path_factory: pytest.TempPathFactory, smallest: Callable[[str], list[str]]) -> Bundle:
    """Return the bundle of a tiny 2D network with random weights."""
    return _export(tmp_path_factory.mktemp("unet2d"), "unet2d", smallest("unet2d"))


@pytest.fixture
def hollow(tmp_path: Path) -> Bundle:
    """Return a sealed bundle whose network is a few bytes."""
    folder = tmp_path / "hollow"
    folder.mkdir()
    for name in MEMBERS:
        (folder / name).write_bytes(f"the content of {name}".encode())
    files.write_json(folder / "settings.json", load_settings().model_dump(mode="json"))
    return seal(folder, {"name": "hollow", "trained_on": []})
