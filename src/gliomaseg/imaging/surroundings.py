"""What a brain mask removed from images of a whole head, kept small so that a reader can judge the mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_Box = tuple[slice, slice, slice]

#: Voxels are kept about so far apart: at 1 mm one of eight, 3 MB of each sequence.
_APART_MM = 2.0


@dataclass(frozen=True)
class Surroundings:
    """The ``brain`` (x, y, z) that was cut out of heads, and what is around it.

    ``head`` (channel, x, y, z) holds, of each image before it was masked, one of every ``steps`` voxels along
    each axis of the grid of ``brain``, from the first on; 0 outside its field of view.
    """

    brain: npt.NDArray[np.bool_]
    head: npt.NDArray[np.float32]
    steps: tuple[int, int, int]

    @classmethod
    def empty(cls, channels: int, brain: npt.NDArray[np.bool_], spacing_mm: Sequence[float]) -> Surroundings:
        """Return surroundings of so many images, to be filled."""
        x, y, z = (max(1, round(_APART_MM / length)) for length in spacing_mm)
        shape = [-(-length // step) for length, step in zip(brain.shape, (x, y, z), strict=True)]
        return cls(brain, np.zeros((channels, *shape), np.float32), (x, y, z))

    def keep(self, channel: int, image: npt.NDArray[np.generic]) -> None:
        """Keep some voxels of the ``image`` (x, y, z) of a whole head."""
        x, y, z = self.steps
        self.head[channel] = image[::x, ::y, ::z]

    def spread(self, few: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return what is known of the kept voxels for every voxel (x, y, z): that of the one before it."""
        places = [np.arange(n) // step for n, step in zip(self.brain.shape, self.steps, strict=True)]
        return np.asarray(few[np.ix_(*places)])

    def values(self, channel: int, box: _Box) -> npt.NDArray[np.float32]:
        """Return the head in a ``box`` (x, y, z) of the grid of ``brain``, linear between the kept voxels."""
        found = self.head[channel]
        for axis in sorted(range(3), key=lambda axis: box[axis].stop - box[axis].start):
            before, beyond = np.divmod(np.arange(box[axis].start, box[axis].stop), self.steps[axis])
            after = np.minimum(before + 1, found.shape[axis] - 1)
            share = (
                (beyond / self.steps[axis])
                .astype(np.float32)
                .reshape([-1 if a == axis else 1 for a in range(3)])
            )
            found = found.take(before, axis) * (1 - share) + found.take(after, axis) * share
        return np.asarray(found)
