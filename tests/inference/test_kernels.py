"""The engine on a processor without AVX-512 and VNNI: other kernels, nearly the same numbers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gliomaseg.inference.bundle import Bundle
from gliomaseg.inference.openvino_engine import OpenVinoEngine
from gliomaseg.settings.schema import InferenceSettings

_OLD = """
import sys
import numpy as np
from gliomaseg.settings.schema import InferenceSettings
from gliomaseg.inference import openvino_engine as engine
from gliomaseg.inference.bundle import Bundle

engine._has_bf16 = lambda: False  # the limit below binds the kernels, not what OpenVINO says of the processor
window = np.random.default_rng(0).normal(size=(1, 4, 48, 48, 48)).astype(np.float32)
for precision in ("int8", "fp32"):
    one = engine.OpenVinoEngine(Bundle.load(), InferenceSettings(precision=precision))
    np.save(f"{sys.argv[1]}/{precision}.npy", one.run(window))
    print(*one.kernels())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="kernels of x86 processors")
def test_a_processor_without_avx512_and_vnni(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _OLD, str(tmp_path)],
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "avx512" not in done.stdout
    assert "I8" in done.stdout
    window = np.random.default_rng(0).normal(size=(1, 4, 48, 48, 48)).astype(np.float32)
    for precision, most in (("fp32", 1e-3), ("int8", 0.1)):
        here = OpenVinoEngine(Bundle.load(), InferenceSettings(precision=precision)).run(window)  # type: ignore[arg-type]
        old = np.load(tmp_path / f"{precision}.npy", allow_pickle=False)
        assert np.abs(here - old).mean() < most / 10
        assert np.abs(here - old).max() < most
