"""OpenVINO: a network on the CPU.

Its telemetry is disabled before the first import: it would contact a host and write to the home folder.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from functools import cache, cached_property
from pathlib import Path
from threading import Lock, RLock
from typing import Any

import numpy as np
import numpy.typing as npt

from gliomaseg.errors import GliomasegError, ModelError
from gliomaseg.inference.bundle import Bundle
from gliomaseg.inference.hardware import cpu_flags, threads
from gliomaseg.settings.schema import InferenceSettings

Array = npt.NDArray[np.float32]

#: Linux's names of the instructions that multiply 8-bit numbers; without them int8 is little faster.
_VNNI = frozenset({"avx512_vnni", "avx_vnni"})

#: What OpenVINO and its libraries report when memory runs out.
_NO_MEMORY = re.compile(
    r"bad_alloc|bad allocation|out of memory|(can'?t|could ?n[o']t) allocate", re.IGNORECASE
)

_CONVERTER = "openvino.tools.ovc"
_lock = RLock()


def load_openvino() -> Any:
    """Return openvino without its telemetry; its model converter, 0.04 s, is imported when called."""
    with _lock:
        if "openvino" not in sys.modules:
            sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
            sys.modules[_CONVERTER] = None  # type: ignore[assignment]
            import openvino

            del sys.modules[_CONVERTER]
            openvino.convert_model = _convert_model
    return sys.modules["openvino"]


def _convert_model(*args: Any, **options: Any) -> Any:
    from openvino.tools.ovc import convert_model

    return convert_model(*args, **options)


def core() -> Any:
    """Return OpenVINO's only Core of this process, which lives as long as the process.

    Its CPU plugin installs a signal stack, and restores the previous one when it is destroyed. If the first
    of two Cores is destroyed first, the process keeps a stack that no longer exists, and the next signal with
    a Python handler, such as Ctrl-C, is a segmentation fault (seen in OpenVINO 2026.4).
    """
    with _lock:
        return _only_core()


@cache
def _only_core() -> Any:
    return load_openvino().Core()


class OpenVinoEngine:
    """A bundle's network on the CPU.

    It is compiled once, with dynamic shapes: a window of a new shape then takes no more processor time than
    any other, whereas compiling for each shape adds a fifth of a second (docs/speed.md).
    """

    def __init__(self, bundle: Bundle, settings: InferenceSettings) -> None:
        self._bundle = bundle
        self._settings = settings
        self._compiling = Lock()

    @cached_property
    def precision(self) -> str:
        """Return the number format of the computation: int8, bf16 or fp32.

        ``auto`` is int8 if the processor has instructions for it and the bundle was measured to lose next to
        nothing by it, else bf16 if the processor supports it, else fp32.
        """
        if self._settings.precision != "auto":
            return self._settings.precision
        if self._bundle.int8_is_as_good and _VNNI & cpu_flags():
            return "int8"
        return "bf16" if _has_bf16() else "fp32"

    def compile(self) -> None:
        """Compile the network for windows of any shape, once; raises ModelError."""
        with self._compiling:
            self._compiled  # noqa: B018 (kept from now on)

    @property
    def network(self) -> Path:
        """Return the file of the network; raises ModelError if the bundle has none in int8."""
        return self._bundle.network(self.precision)

    @property
    def options(self) -> dict[str, object]:
        """Return OpenVINO's options for the CPU."""
        # in int8 some layers stay in floating point: they use the faster format
        short = self.precision == "bf16" or (self.precision == "int8" and _has_bf16())
        return {
            "INFERENCE_PRECISION_HINT": "bf16" if short else "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads(self._settings.threads),
        }

    @cached_property
    def _compiled(self) -> Any:
        try:
            return core().compile_model(self.network, "CPU", self.options)
        except RuntimeError as error:
            remedy = "upgrade OpenVINO (pip install -U openvino), or export the model again"
            raise self._error("can't be compiled", error, remedy) from error

    def kernels(self) -> dict[str, int]:
        """Return the implementations of convolution that were chosen, and their number of layers."""
        self.compile()
        found: Counter[str] = Counter()
        for op in self._compiled.get_runtime_model().get_ops():
            info = op.get_rt_info()
            if info["layerType"].astype(str) in ("Convolution", "Deconvolution"):
                found[info["primitiveType"].astype(str)] += 1
        return dict(found)

    def run(self, window: Array) -> Array:
        """Return probabilities (batch, region, *space) of ``window`` (batch, modality, *space).

        Each call creates its own request, so that threads may share an engine.
        """
        self.compile()
        try:
            outputs = self._compiled.create_infer_request().infer({0: window}, share_inputs=True)
        except RuntimeError as error:
            remedy = "try another --precision, or give the same command with --debug and report the output"
            raise self._error(f"can't run a window of {window.shape}", error, remedy) from error
        return np.asarray(outputs[0], dtype=np.float32)

    def _error(self, what: str, error: RuntimeError, remedy: str) -> GliomasegError:
        reason = str(error).strip().splitlines()[-1]
        if _NO_MEMORY.search(str(error)):
            return GliomasegError(
                "E-MEM",
                f"the memory ran out while the network was running: {reason}",
                remedy="lower --max-memory: windows are then smaller; or close other programs",
            )
        return ModelError(
            "E-MODEL",
            f"the network of {self._bundle.name} {what}: {reason}",
            expected="a network exported by gliomaseg, and an OpenVINO that supports it",
            remedy=remedy,
        )


def _has_bf16() -> bool:
    return "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
