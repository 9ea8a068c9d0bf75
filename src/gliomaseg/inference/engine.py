"""Run a network on one window. Door: openvino.

OpenVINO's telemetry is replaced by nothing before the first import: it would look up a host on the
network and write to the home folder.
"""

from __future__ import annotations

import sys
from functools import cache, cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from gliomaseg.config import InferenceSettings
from gliomaseg.errors import ModelError
from gliomaseg.inference.bundle import Bundle

Array = npt.NDArray[np.float32]


def load_openvino() -> Any:
    """Return the openvino module, its telemetry stubbed out."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


@cache
def _core() -> Any:
    """Return OpenVINO's one Core of this process, which lives as long as the process.

    Its CPU plugin puts a signal stack of its own in place, and the previous one back when it goes. When
    the first of two Cores goes first, the process is left with a stack that is gone, and the next signal
    with a Python handler, such as Ctrl-C, ends it with a segmentation fault (seen in OpenVINO 2026.4).
    """
    return load_openvino().Core()


class Engine:
    """A bundle's network, ready to run windows of any shape.

    It is compiled for the shape of the last window only: its buffers take about 0.1 GB per million voxels,
    and the brains of many cases have many shapes.
    """

    def __init__(self, bundle: Bundle, settings: InferenceSettings) -> None:
        self._bundle = bundle
        self._settings = settings
        self._shape: tuple[int, ...] | None = None
        self._compiled: Any = None

    @cached_property
    def precision(self) -> str:
        """Return the number format of the computation: bf16 or fp32."""
        if self._settings.precision != "auto":
            return self._settings.precision
        return "bf16" if "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "fp32"

    def prepare_for(self, shape: tuple[int, ...]) -> None:
        """Compile the network for windows of ``shape`` (batch, modality, *space); raises ModelError."""
        if shape == self._shape:
            return
        self._shape = self._compiled = None
        options = {
            "INFERENCE_PRECISION_HINT": "bf16" if self.precision == "bf16" else "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": self._settings.threads,
        }
        try:
            model = _core().read_model(self._bundle.model)
            model.reshape(list(shape))
            self._compiled = _core().compile_model(model, "CPU", options)
        except RuntimeError as error:
            raise ModelError(
                "E-MODEL",
                f"the network of {self._bundle.name} can't be prepared for {shape}: "
                f"{str(error).strip().splitlines()[-1]}",
                expected="a network exported by gliomaseg",
                remedy="install gliomaseg again, or export the model again",
            ) from error
        self._shape = shape

    def run(self, window: Array) -> Array:
        """Return probabilities (batch, region, *space) of ``window`` (batch, modality, *space)."""
        self.prepare_for(window.shape)
        outputs = self._compiled({0: window}, share_inputs=True)
        return np.asarray(outputs[self._compiled.output(0)], dtype=np.float32)
