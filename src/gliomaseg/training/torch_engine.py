"""A bundle's networks on PyTorch, for machines with a GPU: built by name, with the weights in the bundle.

Those are rounded to 8-bit numbers; ``gliomaseg export`` measures by how much that moves a probability.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch

from gliomaseg.errors import ModelError
from gliomaseg.inference.bundle import Bundle
from gliomaseg.settings.schema import InferenceSettings
from gliomaseg.training.trained import load_networks
from gliomaseg.training.validation import ModuleEngine


class TorchEngine:
    """Runs windows of any shape on a device of PyTorch; raises ModelError without such a device."""

    def __init__(self, bundle: Bundle, settings: InferenceSettings, device: str = "cuda") -> None:
        if settings.precision == "int8":
            raise _refuse("int8 runs on the CPU only", "use --precision auto with --device cuda")
        if device == "cuda" and not torch.cuda.is_available():
            raise _refuse("PyTorch finds no CUDA device", "use --device cpu, or install PyTorch for CUDA")
        self.precision = "fp32" if settings.precision == "auto" else settings.precision
        self._bundle = bundle
        self._device = device

    def compile(self) -> None:
        """Read the networks, once; raises ModelError."""
        self._networks  # noqa: B018 (kept from now on)

    @cached_property
    def _networks(self) -> list[ModuleEngine]:
        bf16, settings = self.precision == "bf16", self._bundle.settings
        return [
            ModuleEngine(network.to(self._device), settings, bf16=bf16)
            for network in load_networks(self._bundle)
        ]

    def kernels(self) -> dict[str, int]:
        """Return nothing: PyTorch does not tell."""
        return {}

    def run(self, window: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return probabilities (batch, region, *space) of ``window`` (batch, modality, *space)."""
        return np.asarray(np.mean([network.run(window) for network in self._networks], axis=0))


def _refuse(what: str, remedy: str) -> ModelError:
    return ModelError("E-MODEL", what, expected="a network and a device that go together", remedy=remedy)
