"""The networks on PyTorch: the numbers of OpenVINO; what they can't do is said."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from gliomaseg.errors import ModelError, SettingsError
from gliomaseg.inference import engine as devices
from gliomaseg.inference.bundle import Bundle
from gliomaseg.inference.engine import choose_engine
from gliomaseg.inference.openvino_engine import OpenVinoEngine
from gliomaseg.settings.schema import InferenceSettings
from gliomaseg.training.export import export
from gliomaseg.training.run import open_run
from gliomaseg.training.split import Split
from gliomaseg.training.state import begin
from gliomaseg.training.torch_engine import TorchEngine

EXACT = InferenceSettings(precision="fp32", threads=1)


@pytest.fixture(scope="module", params=["unet3d", "unet2d"])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny) -> Bundle:
    folder = tmp_path_factory.mktemp(request.param)
    run = open_run(folder / "run", tiny(preset=request.param))
    run.keep_split(Split(("a",), ("b",)))
    run.save(begin(run, Accelerator()))
    return export(run, folder / "model")


def noise(bundle: Bundle, *extra: int) -> np.ndarray:
    shape = (1, 4, 48, 32, *extra) if bundle.settings.network.dimensions == 3 else (3, 4, 48, 32)
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_it_computes_what_openvino_computes(bundle: Bundle) -> None:
    engine = TorchEngine.load(bundle, EXACT, "cpu")
    for depth in (32, 64):
        window = noise(bundle, depth)
        expected = OpenVinoEngine(bundle, EXACT).run(window)
        assert expected.std() > 0.01
        assert np.abs(engine.run(window) - expected).max() < 0.05


def test_bf16(bundle: Bundle) -> None:
    window = noise(bundle, 32)
    short = TorchEngine.load(bundle, InferenceSettings(precision="bf16"), "cpu").run(window)
    exact = OpenVinoEngine(bundle, EXACT).run(window)
    assert 0 < np.abs(short - exact).max() < 0.05


def test_the_shipped_model_in_torch() -> None:
    window = np.random.default_rng(0).normal(size=(1, 4, 32, 32, 32)).astype(np.float32)
    expected = OpenVinoEngine(Bundle.load(), EXACT).run(window)
    assert np.abs(TorchEngine.load(Bundle.load(), EXACT, "cpu").run(window) - expected).max() < 0.05


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu(bundle: Bundle) -> None:
    with pytest.raises(ModelError, match=r"E-MODEL.*no CUDA device"):
        choose_engine(bundle, InferenceSettings(device="cuda"))


def test_int8_is_for_the_cpu(bundle: Bundle) -> None:
    with pytest.raises(ModelError, match=r"E-MODEL.*int8"):
        TorchEngine.load(bundle, InferenceSettings(precision="int8"), "cpu")


def test_a_bundle_without_weights(bundle: Bundle) -> None:
    about = {name: value for name, value in bundle.about.items() if name != "weights"}
    with pytest.raises(ModelError, match=r"E-MODEL.*no weights for PyTorch"):
        TorchEngine.load(replace(bundle, about=about), EXACT, "cpu")


def test_weights_of_some_networks_only(bundle: Bundle) -> None:
    with pytest.raises(ModelError, match=r"E-MODEL.*mean of 2 networks"):
        TorchEngine.load(replace(bundle, about={**bundle.about, "networks": 2}), EXACT, "cpu")


def test_auto_stays_on_the_cpu_without_a_gpu(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "has_gpu", lambda: False)
    assert isinstance(choose_engine(bundle, InferenceSettings(device="auto")), OpenVinoEngine)


def test_without_torch(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gliomaseg.training.torch_engine", None)
    monkeypatch.setattr(devices, "has_gpu", lambda: True)
    assert isinstance(choose_engine(bundle, InferenceSettings(device="auto")), OpenVinoEngine)
    with pytest.raises(SettingsError, match="E-EXTRA"):
        choose_engine(bundle, InferenceSettings(device="cuda"))
