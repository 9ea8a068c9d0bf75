"""How much memory a case will take, foretold before the work, and the largest windows that fit.

Process and bytes per voxel were measured on the shipped network: 1595, 1633 and 2330 MB in int8, bf16 and
fp32 for one window of 256^3 voxels, 160, 163 and 184 MB for one of 64^3. Ignorant of files.
"""

from __future__ import annotations

from dataclasses import dataclass

from gliomaseg.errors import CaseError, Note
from gliomaseg.settings.schema import Settings

#: The interpreter, the libraries and the compiled network.
_PROCESS = 200e6
#: What the network takes for each voxel of a window: bytes, and bytes per feature of its first level.
_PER_VOXEL, _PER_FEATURE = 34, 0.64
#: Features of the first level of a network whose widths are fixed (V-Net).
_WIDTH = 16
#: Bytes of a voxel of a region's two maps: its probability and its entropy.
_MAPPED = 5
#: The smallest windows, in voxels: in those of 64^3 regions lose up to half (docs/stability.md).
_SMALLEST = 96**3
#: How far results in the smallest windows are from those of the whole brain at once (docs/stability.md).
_AGREEMENT = (
    "borders may move: over 21 real cases the Dice with the tumour core of the whole brain at once was 0.98 "
    "on average and 0.89 at least; free memory or raise --max-memory, then run again with --overwrite"
)
#: A brain fills about this part of a BraTS image: what is foretold from headers alone goes by it.
BRAIN = 0.45


@dataclass(frozen=True)
class Demand:
    """What a case asks for: the voxels of its image and of its brain, and bytes per voxel as stored.

    With ``maps`` each region's probability and entropy are kept, too.
    """

    image: int
    brain: int
    stored: int
    maps: bool = False

    def reading(self) -> float:
        """Return the bytes at the peak of reading: the files inflated, then stacked."""
        return _PROCESS + 2 * self.image * self.stored

    def inferring(self, settings: Settings, window: int, short: bool) -> float:
        """Return the bytes at the peak of inference in windows of ``window`` voxels."""
        channels, regions = len(settings.network.modalities), len(settings.network.regions)
        held = self.image * self.stored + 4 * self.brain * (channels + regions)
        if window < self.brain:
            held += 4 * self.brain + 4 * window * (channels + regions)
        if settings.inference.quality != "fast":  # at most all of an image again, and its probabilities twice
            held += 4 * self.brain * (channels + 2 * regions)
        if self.maps:
            held += _MAPPED * regions * (self.image + self.brain)
        full = 1 if settings.network.name == "unet3d" else 8  # unet3d works on an eighth of the voxels
        width = next(iter(settings.network.filters), _WIDTH)
        features = full * width * (2 if short else 4)
        return _PROCESS + held + window * (_PER_VOXEL + _PER_FEATURE * features)

    def is_cut(self, settings: Settings, window: int) -> bool:
        """Return whether the network sees the brain in windows of so many voxels that it may see at once."""
        takes_any_size = settings.network.dimensions == 3 and not settings.network.window
        return takes_any_size and window < self.brain

    def notes(self, settings: Settings, window: int, case_id: str) -> tuple[Note, ...]:
        """Return a note where the brain is cut into windows: the result is not quite that of a whole one."""
        if not self.is_cut(settings, window):
            return ()
        what = f"case {case_id} was computed in windows of {window:,} voxels, for want of memory"
        return (Note("W-WINDOW", what, _AGREEMENT),)

    def fits_whole(self, settings: Settings, limit: float, *, short: bool) -> bool:
        """Return whether the whole brain at once takes at most ``limit`` bytes, or can't be had at once."""
        window = min(settings.inference.window_voxels, self.brain)
        return not self.is_cut(settings, window) and self.inferring(settings, window, short) <= limit

    def fit(self, settings: Settings, limit: float, *, short: bool) -> int:
        """Return the largest window, in voxels, with which the case takes at most ``limit`` bytes.

        At most ``inference.window_voxels``. Raises CaseError (E-MEM) when not even small ones fit.
        """
        window = min(settings.inference.window_voxels, self.brain)
        while window > _SMALLEST and self.inferring(settings, window, short) > limit:
            window = max(window * 7 // 8, _SMALLEST)
        needed = max(self.reading(), self.inferring(settings, window, short))
        if needed > limit:
            raise CaseError(
                "E-MEM",
                f"a case of {self.image:,} voxels needs {needed / 1e9:.1f} GB even in the smallest windows, "
                f"and {limit / 1e9:.1f} GB may be used",
                expected="enough memory for the images, the brain and one window of 96 x 96 x 96 voxels",
                remedy="raise --max-memory, close other programs, or crop the images to the brain",
            )
        return window
