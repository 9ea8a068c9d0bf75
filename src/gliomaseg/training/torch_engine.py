"""Networks on PyTorch: those of a bundle, on machines with a GPU, and the one that is being trained.

A bundle's weights are stored as 8-bit numbers; ``gliomaseg export`` measures how much that changes the
probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from gliomaseg.errors import ModelError
from gliomaseg.inference.bundle import Bundle
from gliomaseg.settings.schema import InferenceSettings, Settings
from gliomaseg.training.network import memory_format
from gliomaseg.training.target import probabilities
from gliomaseg.training.trained import load_networks


class TorchEngine:
    """One or several networks, whose probabilities are averaged, on the device that holds their weights.

    The networks stay in evaluation mode.
    """

    def __init__(self, networks: Sequence[nn.Module], settings: Settings, *, bf16: bool = False) -> None:
        self.precision = "bf16" if bf16 else "fp32"
        self._networks = [network.eval() for network in networks]
        self._settings = settings
        self._device = next(networks[0].parameters()).device

    @classmethod
    def load(cls, bundle: Bundle, settings: InferenceSettings, device: str = "cuda") -> TorchEngine:
        """Return the networks of a bundle on a device of PyTorch; raises ModelError (E-MODEL)."""
        if settings.precision == "int8":
            raise _unfit("int8 runs on the CPU only", "use --precision auto with --device cuda")
        if device == "cuda" and not torch.cuda.is_available():
            raise _unfit("PyTorch finds no CUDA device", "use --device cpu, or install PyTorch for CUDA")
        networks = [network.to(device) for network in load_networks(bundle)]
        return cls(networks, bundle.settings, bf16=settings.precision == "bf16")

    def compile(self) -> None:
        """Do nothing: PyTorch runs the networks as they are."""

    def kernels(self) -> dict[str, int]:
        """Return {}: PyTorch does not report them."""
        return {}

    @torch.no_grad()
    def run(self, window: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return probabilities (batch, region, *space) of ``window`` (batch, modality, *space)."""
        image = torch.from_numpy(window).to(self._device, memory_format=memory_format(window.ndim - 2))
        found = [self._probabilities(network, image) for network in self._networks]
        return np.asarray(np.mean(found, axis=0))

    def _probabilities(self, network: nn.Module, image: Tensor) -> npt.NDArray[np.float32]:
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            logits = network(image)[0]
        return np.asarray(probabilities(logits.float(), self._settings).cpu().numpy())


def _unfit(what: str, remedy: str) -> ModelError:
    return ModelError("E-MODEL", what, expected="a precision and a device that go together", remedy=remedy)
