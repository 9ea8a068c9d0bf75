"""What a brain mask removed from images of a whole head, kept small so that a reader can judge the mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_Box = tuple[slice, slice, slice]

#: One in so many voxels along each axis is kept: at 1 mm, 3 MB of each sequence.
STEP = 2


@dataclass(frozen=True)
class Surroundings:
    """The ``brain`` (x, y, z) that was cut out of heads, and what is around it.

    ``head`` (channel, x, y, z) holds every second voxel of the grid of ``brain``, from the first on, of each
    image before it was masked; 0 outside its field of view.
    """

    brain: npt.NDArray[np.bool_]
    head: npt.NDArray[np.float32]

    @classmethod
    def empty(cls, channels: int, brain: npt.NDArray[np.bool_]) -> Surroundings:
        """Return surroundings to be filled, all 0."""
        shape = [-(-length // STEP) for length in brain.shape]
        return cls(brain, np.zeros((channels, *shape), np.float32))

    def keep(self, channel: int, image: npt.NDArray[np.generic]) -> None:
        """Keep every second voxel of the ``image`` (x, y, z) of a whole head."""
        self.head[channel] = image[::STEP, ::STEP, ::STEP]

    def spread(self, few: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return something known of the kept voxels for every voxel (x, y, z): that of the next kept one."""
        return np.asarray(few[np.ix_(*(np.arange(length) // STEP for length in self.brain.shape))])

    def values(self, channel: int, box: _Box) -> npt.NDArray[np.float32]:
        """Return the head in a ``box`` (x, y, z) of the grid of ``brain``, linear between the kept voxels."""
        found = self.head[channel]
        for axis in sorted(range(3), key=lambda axis: box[axis].stop - box[axis].start):
            place = np.arange(box[axis].start, box[axis].stop)
            after = np.minimum(-(-place // STEP), found.shape[axis] - 1)
            found = (found.take(place // STEP, axis) + found.take(after, axis)) / 2
        return np.asarray(found)
