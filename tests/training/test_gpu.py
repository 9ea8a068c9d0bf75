"""benchmarks/model/gpu: cases in few bytes and back, runs in one file, and a rehearsal with few packages."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import yaml

from gliomaseg.cases.case import Case
from gliomaseg.cases.find import find_cases
from gliomaseg.imaging.nifti import read_image
from gliomaseg.settings.loading import load_settings
from gliomaseg.training.cache import prepare_cases
from gliomaseg.training.network import build_network
from gliomaseg.training.run import averaged_weights, load_run, read_tensors, weights

pytestmark = pytest.mark.slow

MODEL = Path(__file__).parents[2] / "benchmarks" / "model"
#: What a machine has on which PyTorch, NumPy and SciPy are installed, besides these: what PyTorch needs.
BASE = {"torch", "numpy", "scipy", "filelock", "fsspec", "jinja2", "markupsafe", "mpmath", "networkx",
        "sympy", "typing-extensions", "setuptools", "pip"}  # fmt: skip


def load(name: str) -> ModuleType:
    """Return a script of benchmarks/model as a module."""
    spec = importlib.util.spec_from_file_location(Path(name).stem, MODEL / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # other processes are told of functions by its name
    spec.loader.exec_module(module)
    return module


packs, one_file = load("gpu/packs"), load("one_file")


def quiet(_fraction: float, _text: str) -> None:
    """Say nothing."""


class TestPacks:
    @pytest.mark.parametrize("shape", [(1, 1, 1), (7, 5, 3), (24, 17, 9)])
    def test_levels_come_back(self, shape: tuple[int, int, int]) -> None:
        random = np.random.default_rng(0)
        levels = (random.integers(1, 65, shape) * (random.random(shape) < 0.8)).astype(np.uint8)
        brain = (levels != 0) | (random.random(shape) < 0.1)
        assert np.array_equal(packs.decode(packs.encode(levels, brain), brain), levels)

    def test_an_empty_sequence_comes_back(self) -> None:
        empty, brain = np.zeros((4, 4, 4), np.uint8), np.ones((4, 4, 4), bool)
        assert not packs.decode(packs.encode(empty, brain), brain).any()

    def test_smooth_images_take_far_less_than_a_byte_a_voxel(self) -> None:
        x, y, z = np.indices((40, 40, 40))
        levels = (1 + (x + y + z) // 2).astype(np.uint8)
        assert len(packs.encode(levels, levels != 0)) < levels.size / 20

    def test_levels_by_pencil(self) -> None:
        few = np.array([[0, 1, 64]])
        assert np.array_equal(packs.in_levels(few), few)
        many = np.concatenate([[0.0], np.linspace(100, 1000, 4001)])
        found = packs.in_levels(many)
        assert (found[0], found[1], found[-1]) == (0, 1, 64)
        assert np.abs(found[1:] - (1 + 63 * (many[1:] - 100) / 900)).max() < 0.6

    def test_phantoms_come_back_in_pieces_of_whole_cases(
        self, phantom_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cases = find_cases(phantom_folder)
        whole = packs.pack(cases, tmp_path / "whole")
        assert [path.name for path in whole] == ["cases-00.zip"]
        monkeypatch.setattr(packs, "PIECE", whole[0].stat().st_size // 2)
        pieces = packs.pack(cases, tmp_path / "pieces")
        assert len(pieces) >= 2
        folders = packs.unpack(tmp_path / "pieces", tmp_path / "data")
        again = find_cases(tmp_path / "data")
        assert [case.id for case in again] == [case.id for case in cases] == sorted(f.name for f in folders)
        for case, other in zip(cases, again, strict=True):
            assert case.reference is not None
            assert other.reference is not None
            images = [
                (case.reference, other.reference),
                *((case.images[m], other.images[m]) for m in case.images),
            ]
            for number, (one, two) in enumerate(images):
                (array, grid), (unpacked, same) = read_image(one), read_image(two)
                assert grid.matches(same)
                expected = array if number == 0 else packs.in_levels(array)
                assert np.array_equal(unpacked, expected)

    @pytest.mark.real
    def test_a_case_of_64_levels_is_prepared_as_before(self, real_cases: list[Case], tmp_path: Path) -> None:
        case = next(c for c in real_cases if c.id == "Brats18_CBICA_AQR_1")
        (piece,) = packs.pack([case], tmp_path / "packs")
        assert piece.stat().st_size < 2_700_000
        packs.unpack(tmp_path / "packs", tmp_path / "data")
        settings = load_settings("shipped")
        one, two = (
            prepare_cases(c, settings, tmp_path / name, quiet)[0]
            for name, c in (("a", [case]), ("b", find_cases(tmp_path / "data")))
        )
        assert one.image.tobytes() == two.image.tobytes()
        assert one.label.tobytes() == two.label.tobytes()


def test_the_rehearsal_trains_with_few_packages_and_keeps_what_it_has(
    phantom_folder: Path, tmp_path: Path, tiny
) -> None:
    packs.pack(find_cases(phantom_folder), tmp_path / "packs")
    widths = tiny().network.filters
    changes = {"network.filters": list(widths), "training.patch": [32, 32, 32], "training.warmup_steps": 1,
               "training.schedule": "trapezoid", "training.validate_minutes": 1000}  # fmt: skip
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump({"preset": "unet3d", "set": changes}))
    (tmp_path / "held_out.json").write_text(json.dumps([["phantom-0"]]))
    started, out = time.monotonic(), tmp_path / "out"
    for begin in ((), ("--begin", str(out))):  # what came of the first is what the second begins with
        work = tmp_path / f"work{len(begin)}"
        done = subprocess.run(
            [sys.executable, str(MODEL / "gpu" / "train.py"), str(tmp_path / "packs"), "--write", str(out),
             "--minutes", "6", "--each", "0.02", "--runs", "fold0", "--work", str(work),
             "--recipe", str(tmp_path / "tiny.yaml"), "--held-out", str(tmp_path / "held_out.json"), *begin],
            env={**os.environ, "PYTHONPATH": str(without_others(tmp_path / "few"))},
            capture_output=True, text=True, timeout=360, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
    assert time.monotonic() - started < 2 * 360
    assert sorted(path.name for path in out.iterdir()) == ["fold0.safetensors", "log.txt"]
    assert "4 cases are prepared" in (out / "log.txt").read_text()
    one_file.take(out / "fold0.safetensors", tmp_path / "taken")
    run = load_run(tmp_path / "taken")
    assert run.read_split().validation == ("phantom-0",)
    assert run.settings.training.init_from == str(tmp_path / "work2" / "begin" / "fold0")
    assert json.loads((run.folder / "initial.json").read_text())["name"] == "fold0"
    kept = averaged_weights(run)
    assert kept.keys() == weights(build_network(run.settings.network)).keys()
    trained = averaged_weights(load_run(tmp_path / "work2" / "fold0"))
    assert all(torch.allclose(kept[name], trained[name], rtol=1e-3, atol=1e-6) for name in kept)
    stored = read_tensors(out / "fold0.safetensors")
    assert {t.dtype for t in stored.values() if t.ndim > 1} == {torch.float16}


def without_others(folder: Path) -> Path:
    """Return a folder for PYTHONPATH with which Python finds no package but those of wheels.txt and BASE."""
    named = (MODEL / "gpu" / "wheels.txt").read_text().split()
    kept = BASE | {line.partition("==")[0] for line in named}
    found = importlib.metadata.packages_distributions().items()
    gone = sorted(
        n for n, of in found if not {d.lower().replace("_", "-") for d in of} & kept and n[0] != "_"
    )
    assert {"openvino", "nncf", "onnx", "matplotlib", "typer", "rich"} <= set(gone)
    gone.remove("gliomaseg") if "gliomaseg" in gone else None
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({gone}))\n")
    return folder
