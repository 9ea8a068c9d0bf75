"""What a network runs on: OpenVINO on the CPU, PyTorch on a GPU. PyTorch is loaded only to be used."""

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
    """A network that is ready to run windows of any shape."""

    @property
    def precision(self) -> str:
        """Return the number format of the computation."""

    def compile(self) -> None:
        """Get ready, once; raises ModelError."""

    def kernels(self) -> dict[str, int]:
        """Return which implementations of convolution run, and for how many layers each, where known."""

    def run(self, window: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return probabilities (batch, region, *space) of ``window`` (batch, modality, *space)."""


def choose_engine(bundle: Bundle, settings: InferenceSettings) -> Engine:
    """Return what runs the network on the wanted device; raises SettingsError (E-EXTRA), ModelError."""
    if settings.device == "cpu" or (settings.device == "auto" and not has_gpu()):
        return OpenVinoEngine(bundle, settings)
    try:
        from gliomaseg.training.torch_engine import TorchEngine
    except ModuleNotFoundError as error:
        if settings.device == "auto":
            return OpenVinoEngine(bundle, settings)
        raise missing_extra("--device cuda", error, remedy=", or use --device cpu") from error
    return TorchEngine.load(bundle, settings)
