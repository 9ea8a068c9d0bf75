"""Whole held-out cases under a network that is still being trained."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from gliomaseg.config import Settings
from gliomaseg.evaluation.metrics import dice
from gliomaseg.imaging.prepare import padded
from gliomaseg.inference.window import infer
from gliomaseg.labels import Region
from gliomaseg.learning.dataset import STORED, PreparedCase
from gliomaseg.learning.network import channels_last
from gliomaseg.results.segment import label_regions


def validate(
    network: nn.Module, cases: Iterable[PreparedCase], settings: Settings, *, bf16: bool
) -> dict[Region, float]:
    """Return the mean Dice per region over whole cases, by BraTS 2020's rule for empty masks.

    Leaves ``network`` in evaluation mode: it is the averaged one, which is never trained itself.
    """
    network.eval()
    scores = [_score(network, case, settings, bf16=bf16) for case in cases]
    return {region: float(np.mean([s[region] for s in scores])) for region in settings.network.regions}


def _score(network: nn.Module, case: PreparedCase, settings: Settings, *, bf16: bool) -> dict[Region, float]:
    labels = label_regions(predict(network, case.image, settings, bf16=bf16), settings, STORED)
    reference = case.label
    return {
        region: dice(STORED.mask(labels, region), STORED.mask(reference, region))
        for region in settings.network.regions
    }


def predict(
    network: nn.Module, image: npt.NDArray[np.floating], settings: Settings, *, bf16: bool
) -> npt.NDArray[np.float32]:
    """Return probabilities (region, x, y, z) of an image (modality, x, y, z), as ``segment`` would.

    Padding, windows and slices are those of inference; only the engine is PyTorch.
    """
    room, valid = padded(len(image), image.shape[1:], settings.prepare)
    room[(slice(None), *valid)] = image
    found: npt.NDArray[np.float32] = infer(room, _Torch(network, bf16), settings)[(slice(None), *valid)]
    return found


class _Torch:
    """A network of PyTorch as an engine."""

    def __init__(self, network: nn.Module, bf16: bool) -> None:
        self._network, self._bf16 = network, bf16

    @torch.no_grad()
    def run(self, window: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return probabilities (batch, region, *space) of (batch, modality, *space)."""
        image = channels_last(torch.from_numpy(window), window.ndim - 2)
        with torch.autocast("cpu", torch.bfloat16, enabled=self._bf16):
            logits: Tensor = self._network(image)[0]
        return np.asarray(logits.float().sigmoid().numpy())
