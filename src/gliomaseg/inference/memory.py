"""The memory that one case needs, estimated before the work, and the largest window that fits.

Bytes per process and per voxel were measured with the shipped network: 1595, 1633 and 2330 MB in int8, bf16
and fp32 for one window of 256^3 voxels, 160, 163 and 184 MB for one of 64^3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from gliomaseg.errors import CaseError, Note
from gliomaseg.inference.hardware import free_memory
from gliomaseg.settings.schema import InferenceSettings, Settings

#: The brain's share of a BraTS image: the estimate from headers alone takes it.
BRAIN = 0.45
#: The interpreter, the libraries and the compiled network.
_PROCESS = 200e6
#: The network's bytes per voxel of a window, and bytes per voxel and feature of its first level.
_PER_VOXEL, _PER_FEATURE = 34, 0.64
#: Features of the first level of a network with fixed widths (V-Net).
_WIDTH = 16
#: Bytes per voxel of a region's two maps: its probability and its entropy.
_MAPPED = 5
#: The smallest window, in voxels: with 64^3 regions lose up to half of their volume (docs/stability.md).
_SMALLEST = 96**3
#: How well results in the smallest windows agree with those of the whole brain (docs/stability.md).
_AGREEMENT = (
    "borders may move: over 21 real cases the Dice with the tumour core of the whole brain at once was 0.98 "
    "on average and 0.89 at least; free memory or raise --max-memory, then run again with --overwrite"
)


def memory_limit(settings: InferenceSettings) -> float:
    """Return the bytes that this process may use: as set, or the free memory; infinite where unknown."""
    return settings.max_memory_gb * 1e9 if settings.max_memory_gb else float(free_memory() or math.inf)


@dataclass(frozen=True)
class MemoryEstimate:
    """The memory of one case: voxels of its image and brain, and bytes per voxel of its files together.

    ``short``: the network computes with numbers of one or two bytes; ``maps``: each region's probability and
    entropy are kept.
    """

    settings: Settings
    image: int
    brain: int
    stored: int
    short: bool
    maps: bool = False

    def reading(self) -> float:
        """Return the peak in bytes while images are read: the files decompressed, then stacked."""
        return _PROCESS + 2 * self.image * self.stored

    def inferring(self, window: int) -> float:
        """Return the peak in bytes of inference with windows of ``window`` voxels."""
        network, inference = self.settings.network, self.settings.inference
        channels, regions = len(network.modalities), len(network.regions)
        held = self.image * self.stored + 4 * self.brain * (channels + regions)
        if window < self.brain:
            held += 4 * self.brain + 4 * window * (channels + regions)
        if inference.quality != "fast":  # at most a copy of the image, and its probabilities twice
            held += 4 * self.brain * (channels + 2 * regions)
        if self.maps:
            held += _MAPPED * regions * (self.image + self.brain)
        full = 1 if network.name == "unet3d" else 8  # unet3d works on an eighth of the voxels
        features = full * next(iter(network.filters), _WIDTH) * (2 if self.short else 4)
        return _PROCESS + held + window * (_PER_VOXEL + _PER_FEATURE * features)

    def is_windowed(self, window: int) -> bool:
        """Return whether windows of ``window`` voxels cut a brain that the network could process whole."""
        takes_any_size = self.settings.network.dimensions == 3 and not self.settings.network.window
        return takes_any_size and window < self.brain

    def needs_windows(self, limit: float) -> bool:
        """Return whether the whole brain at once would take more than ``limit`` bytes."""
        window = min(self.settings.inference.window_voxels, self.brain)
        return self.is_windowed(window) or self.inferring(window) > limit

    def fit(self, limit: float) -> int:
        """Return the largest window, in voxels, with which the case takes at most ``limit`` bytes.

        It is at most ``inference.window_voxels``. Raises CaseError (E-MEM) if not even the smallest fits.
        """
        window = min(self.settings.inference.window_voxels, self.brain)
        while window > _SMALLEST and self.inferring(window) > limit:
            window = max(window * 7 // 8, _SMALLEST)
        needed = max(self.reading(), self.inferring(window))
        if needed > limit:
            raise CaseError(
                "E-MEM",
                f"a case of {self.image:,} voxels needs {needed / 1e9:.1f} GB even in the smallest windows, "
                f"and {limit / 1e9:.1f} GB may be used",
                expected="enough memory for the images, the brain and one window of 96 x 96 x 96 voxels",
                remedy="raise --max-memory, close other programs, or crop the images to the brain",
            )
        return window

    def notes(self, window: int, case_id: str) -> tuple[Note, ...]:
        """Return a note if the brain is cut into windows: the result differs a little from the usual one."""
        if not self.is_windowed(window):
            return ()
        what = f"case {case_id} was computed in windows of {window:,} voxels, for want of memory"
        return (Note("W-WINDOW", what, _AGREEMENT),)
