"""The engine that runs a network: OpenVINO on the CPU, PyTorch on a GPU. PyTorch is loaded only when used."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from gliomaseg.errors import missing_extra
from gliomaseg.inference.bundle import Bundle
from gliomaseg.inference.hardware import has_gpu
from gliomaseg.inference.openvino_engine import OpenVinoEngine
from gliomaseg.settings.schema import InferenceSettings


class Engine(Protocol):
    """A network that runs windows of any shape; threads may share it."""

    @property
    def precision(self) -> str:
        """Return the number format of the computation: int8, bf16 or fp32."""

    def compile(self) -> None:
        """Compile the network, once; raises ModelError."""

    def kernels(self) -> dict[str, int]:
        """Return the implementations of convolution in use and their number of layers, if known."""

    def run(self, window: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return probabilities (batch, region, *space) of ``window`` (batch, modality, *space)."""


def choose_engine(bundle: Bundle, settings: InferenceSettings) -> Engine:
    """Return the engine for the device in the settings; raises SettingsError (E-EXTRA), ModelError."""
    if settings.device == "cpu" or (settings.device == "auto" and not has_gpu()):
        return OpenVinoEngine(bundle, settings)
    try:
        from gliomaseg.training.torch_engine import TorchEngine
    except ModuleNotFoundError as error:
        if settings.device == "auto":
            return OpenVinoEngine(bundle, settings)
        raise missing_extra("--device cuda", error, remedy=", or use --device cpu") from error
    return TorchEngine.load(bundle, settings)
