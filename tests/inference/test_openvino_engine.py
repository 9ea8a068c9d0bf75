"""The engine: any shape, the right numbers, memory that does not grow."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gliomaseg.errors import GliomasegError, ModelError
from gliomaseg.inference import openvino_engine as engines
from gliomaseg.inference.bundle import Bundle
from gliomaseg.inference.openvino_engine import OpenVinoEngine, load_openvino
from gliomaseg.settings.schema import InferenceSettings

EXACT = InferenceSettings(precision="fp32", threads=1)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("shape", [(1, 4, 32, 32, 32), (1, 4, 16, 48, 32)])
def test_volumes_of_any_shape(unet3d: Bundle, shape: tuple[int, ...]) -> None:
    got = OpenVinoEngine(unet3d, EXACT).run(noise(*shape))
    assert got.shape == (1, 3, *shape[2:])
    assert got.dtype == np.float32
    assert 0 < got.min() < got.max() < 1


def test_slices_in_batches_of_any_size(unet2d: Bundle) -> None:
    engine, slices = OpenVinoEngine(unet2d, EXACT), noise(5, 4, 32, 48)
    together = engine.run(slices)
    assert together.shape == (5, 3, 32, 48)
    one_by_one = np.concatenate([engine.run(slices[[i]]) for i in range(5)])
    assert np.abs(together - one_by_one).max() < 1e-5


def test_shapes_may_come_in_any_order(unet3d: Bundle) -> None:
    engine = OpenVinoEngine(unet3d, EXACT)
    small, large = noise(1, 4, 32, 32, 32), noise(1, 4, 48, 32, 32)
    first, _, again = engine.run(small), engine.run(large), engine.run(small)
    assert np.array_equal(first, again)


def test_results_are_not_overwritten(unet3d: Bundle) -> None:
    engine = OpenVinoEngine(unet3d, EXACT)
    window = noise(1, 4, 32, 32, 32)
    first = engine.run(window)
    kept = first.copy()
    window[:] = 0  # nor does the engine keep the window
    second = engine.run(window)
    assert np.array_equal(first, kept)
    assert not np.array_equal(first, second)


def test_a_view_gives_the_same_as_its_copy(unet3d: Bundle) -> None:
    engine = OpenVinoEngine(unet3d, EXACT)
    view = noise(32, 32, 32, 4, 1).T
    assert np.array_equal(engine.run(view), engine.run(np.ascontiguousarray(view)))


def test_it_is_compiled_once_for_all_shapes(unet3d: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, compiled = OpenVinoEngine(unet3d, EXACT), []
    core = engines.core()

    class Watched:
        def compile_model(self, path: Path, *rest: object) -> object:
            compiled.append(path.name)
            return core.compile_model(path, *rest)

    monkeypatch.setattr(engines, "core", Watched)
    with ThreadPoolExecutor(2) as pool:  # as when a case is read meanwhile
        list(pool.map(lambda _: engine.compile(), range(4)))
    for size in (32, 48, 32):
        engine.run(noise(1, 4, size, 32, 32))
    assert compiled == ["model.xml"]


def test_threads_may_share_an_engine() -> None:
    """Windows of two sizes at once: each call gets what it gets alone, and none finds the network busy."""
    engine = OpenVinoEngine(Bundle.load(), EXACT)
    windows = [noise(1, 4, size, 48, 48, seed=size) for size in (32, 48, 64)]
    alone = [engine.run(window) for window in windows]
    with ThreadPoolExecutor(4) as pool:
        for again in pool.map(lambda _: [engine.run(window) for window in windows], range(4)):
            assert all(map(np.array_equal, alone, again))


@pytest.mark.parametrize("words", ["std::bad_alloc", "[CPU] could not allocate 12 bytes", "Out of memory"])
def test_memory_that_runs_out_is_no_fault_of_the_network(
    hollow: Bundle, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    class Full:
        def compile_model(self, *_: object) -> object:
            raise RuntimeError(f"Exception from src/cpp/core.cpp:107:\n{words}\n")

    monkeypatch.setattr(engines, "core", Full)
    with pytest.raises(GliomasegError, match="E-MEM") as caught:
        OpenVinoEngine(hollow, EXACT).compile()
    assert "--max-memory" in caught.value.remedy


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_precision_as_asked(unet3d: Bundle, precision: str) -> None:
    engine = OpenVinoEngine(unet3d, InferenceSettings(precision=precision))
    assert engine.precision == precision
    window = noise(1, 4, 32, 32, 32)
    assert np.abs(engine.run(window) - OpenVinoEngine(unet3d, EXACT).run(window)).max() < 0.05


VNNI = frozenset({"avx2", "avx512_vnni"})


@pytest.mark.parametrize(
    ("able", "flags", "change", "precision"),
    [
        (["FP32", "BF16"], VNNI, None, "bf16"),
        (["FP32"], VNNI, None, "fp32"),
        (["FP32", "BF16"], VNNI, {"wt": -0.001, "et": 0.01}, "int8"),
        (["FP32"], {"avx_vnni"}, {"wt": -0.002}, "int8"),
        (["FP32", "BF16"], VNNI, {"wt": -0.003, "et": 0.01}, "bf16"),
        (["FP32", "BF16"], {"avx2"}, {"wt": 0.0}, "bf16"),
        (["FP32"], frozenset(), {"wt": 0.0}, "fp32"),
    ],
)
def test_auto_is_the_fastest_that_loses_nothing(
    hollow: Bundle,
    able: list[str],
    flags: set[str],
    change: dict[str, float] | None,
    precision: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    about = hollow.about if change is None else {**hollow.about, "int8": {"cases": 3, "dice_change": change}}
    monkeypatch.setattr(engines, "core", type("Core", (), {"get_property": lambda *_: able}))
    monkeypatch.setattr(engines, "cpu_flags", lambda: flags)
    assert OpenVinoEngine(replace(hollow, about=about), InferenceSettings()).precision == precision


def test_an_unmeasured_int8_is_used_only_when_asked_for(hollow: Bundle) -> None:
    bundle = replace(hollow, about={**hollow.about, "int8": {"cases": 0, "dice_change": None}})
    assert OpenVinoEngine(bundle, InferenceSettings()).precision != "int8"
    assert OpenVinoEngine(bundle, InferenceSettings(precision="int8")).precision == "int8"


def test_int8_where_there_is_none(unet3d: Bundle) -> None:
    with pytest.raises(ModelError, match=r"E-MODEL.*tiny has no network in int8"):
        OpenVinoEngine(unet3d, InferenceSettings(precision="int8")).compile()


def test_a_window_that_does_not_fit(unet3d: Bundle) -> None:
    engine = OpenVinoEngine(unet3d, EXACT)
    with pytest.raises(ModelError, match=r"E-MODEL.*can't run a window of"):
        engine.run(noise(1, 3, 32, 32, 32))
    assert engine.run(noise(1, 4, 32, 32, 32)).shape == (1, 3, 32, 32, 32)


def test_a_network_that_is_none(hollow: Bundle) -> None:
    with pytest.raises(ModelError, match=r"E-MODEL.*hollow") as caught:
        OpenVinoEngine(hollow, EXACT).run(noise(1, 4, 32, 32, 32))
    assert "install gliomaseg again" not in caught.value.remedy  # its hash was compared: it would not help


def test_a_network_that_is_gone(hollow: Bundle, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="E-MODEL"):
        OpenVinoEngine(replace(hollow, folder=tmp_path), EXACT).run(noise(1, 4, 32, 32, 32))


def test_openvino_has_no_telemetry() -> None:
    openvino = load_openvino()
    assert openvino is engines.load_openvino()
    assert "openvino_telemetry" not in sys.modules or sys.modules["openvino_telemetry"] is None


def test_the_model_converter_is_loaded_when_called() -> None:
    """Importing it takes as long as the rest of OpenVINO, and only exports need it."""
    code = (
        "import sys; from gliomaseg.inference.openvino_engine import load_openvino\n"
        "openvino = load_openvino(); print('openvino.tools.ovc' in sys.modules); openvino.convert_model"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr


_TWO_ENGINES = """
import os, signal, sys
import numpy as np
from gliomaseg.settings.schema import InferenceSettings
from gliomaseg.inference.bundle import Bundle
from gliomaseg.inference.openvino_engine import OpenVinoEngine

engines = [OpenVinoEngine(Bundle.load(sys.argv[1]), InferenceSettings()) for _ in range(2)]
for engine in engines:
    engine.run(np.zeros((1, 4, 32, 32, 32), np.float32))
while engines:
    del engine, engines[0]  # the first goes first
    engine = None
signal.signal(signal.SIGTERM, lambda *_: print("handled"))
os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_a_signal_after_two_engines_is_survived(unet3d: Bundle) -> None:
    command = [sys.executable, "-c", _TWO_ENGINES, str(unet3d.folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr
