"""A predicted and a reference mask of one region, and what several metrics and rules need of them.

Everything is computed once. A lesion rule selects components of both masks; distances are kept by selection,
so that rules that select the same lesions share them.
"""

from __future__ import annotations

import itertools
import math
from functools import cached_property

import numpy as np
import numpy.typing as npt

from gliomaseg.evaluation.metrics import Overlap, check_shapes
from gliomaseg.evaluation.surface import (
    Ids,
    Kind,
    Mask,
    Numbers,
    Spacing,
    SurfaceDistances,
    SurfacePair,
    surface_voxels,
)
from gliomaseg.imaging.components import label_components
from gliomaseg.imaging.volume import Box, filled_box

Counts = npt.NDArray[np.int64]

#: A box of no voxels at the first corner of an image.
EMPTY_BOX: Box = (slice(0, 0), slice(0, 0), slice(0, 0))
#: The steps to a voxel itself and its 18 neighbours.
_NEIGHBOURS = [step for step in itertools.product((-1, 0, 1), repeat=3) if sum(map(abs, step)) <= 2]
_NO_COUNTS: Counts = np.zeros(0, dtype=np.int64)


class Components:
    """The components (26 neighbours) of a mask, numbered from 1; ``box`` is its place in an image."""

    def __init__(self, mask: Mask, box: Box, image: tuple[int, ...]) -> None:
        self.mask = mask
        self.origin = np.array([side.start for side in box])
        self._box, self._image = box, image
        self.numbers, self.count = label_components(mask)
        self.sizes: Counts = np.bincount(self.numbers[mask], minlength=self.count + 1)
        self._grown: dict[int, tuple[Numbers, Numbers]] = {}

    @cached_property
    def ids(self) -> Ids:
        """Return the numbers of all components."""
        return frozenset(range(1, self.count + 1))

    def grown(self, steps: int) -> tuple[Numbers, Numbers]:
        """Return the numbered components of the dilated mask, and for each component the one around it.

        The first is (x, y, z), the box of the mask; the second (count + 1,), with 0 for the background. The
        numbers follow the order in the whole image, on which some rules depend.
        """
        if steps not in self._grown:
            sides = [(side.start, n - side.stop) for side, n in zip(self._box, self._image, strict=True)]
            margins = [(min(steps, low), min(steps, high)) for low, high in sides]
            dilated = dilate(np.pad(self.mask, margins), steps)
            grown = dilated.astype(np.int32) if self.count <= 1 else label_components(dilated)[0]
            grown = grown[tuple(slice(low, grown.shape[i] - high) for i, (low, high) in enumerate(margins))]
            groups = np.zeros(self.count + 1, dtype=np.int32)
            groups[self.numbers[self.mask]] = grown[self.mask]
            self._grown[steps] = grown, groups
        return self._grown[steps]

    def size(self, ids: Ids) -> int:
        """Return the voxels of the named components."""
        return int(self.sizes[list(ids)].sum())


class MaskPair:
    """Two masks (x, y, z) on one grid and their voxel size in mm, cropped to the box around both.

    ``within`` is the box of the masks in a larger image, and the shape of that image.
    """

    def __init__(
        self,
        prediction: Mask,
        reference: Mask,
        spacing: Spacing,
        *,
        within: tuple[Box, tuple[int, ...]] | None = None,
    ) -> None:
        check_shapes(prediction, reference)
        outer, image = within or (EMPTY_BOX, prediction.shape)
        box = filled_box(prediction, reference) or EMPTY_BOX
        x, y, z = (
            slice(o.start + side.start, o.start + side.stop) for o, side in zip(outer, box, strict=True)
        )
        self.spacing = spacing
        self.voxels = math.prod(image)
        self.prediction = Components(prediction[box], (x, y, z), image)
        self.reference = Components(reference[box], (x, y, z), image)
        self._surfaces: dict[tuple[Kind, Spacing], SurfacePair] = {}
        self._distances: dict[tuple[Kind, Spacing, Ids, Ids], SurfaceDistances] = {}

    @cached_property
    def common(self) -> tuple[Counts, Counts, Counts]:
        """Return the components that overlap: their numbers in prediction and reference, voxels shared."""
        return joint(self.prediction.numbers, self.reference.numbers)

    def overlap(self, predicted: Ids | None = None, expected: Ids | None = None) -> Overlap:
        """Return the voxel counts of the named components of both masks; of all by default."""
        predicted = self.prediction.ids if predicted is None else predicted
        expected = self.reference.ids if expected is None else expected
        ours, theirs = np.isin(self.common[0], list(predicted)), np.isin(self.common[1], list(expected))
        return Overlap(
            common=int(self.common[2][ours & theirs].sum()),
            prediction=self.prediction.size(predicted),
            reference=self.reference.size(expected),
            voxels=self.voxels,
        )

    def distances(
        self, kind: Kind, spacing: Spacing, predicted: Ids | None = None, expected: Ids | None = None
    ) -> SurfaceDistances:
        """Return the distances between the surfaces of the named components; of all by default."""
        predicted = self.prediction.ids if predicted is None else predicted
        expected = self.reference.ids if expected is None else expected
        if (kind, spacing) not in self._surfaces:
            numbers = self.prediction.numbers, self.reference.numbers
            self._surfaces[kind, spacing] = SurfacePair(*numbers, spacing, kind=kind)
        key = (kind, spacing, predicted, expected)
        if key not in self._distances:
            self._distances[key] = self._surfaces[kind, spacing].distances(predicted, expected)
        return self._distances[key]


def dilate(mask: Mask, steps: int) -> Mask:
    """Return a mask (x, y, z) grown by ``steps`` voxels over faces and edges (18 neighbours), not corners.

    The image ends at its border. The result is that of ``scipy.ndimage.binary_dilation`` with
    ``generate_binary_structure(3, 2)``, two to six times as fast: the neighbourhood is three squares, each
    of them two passes.
    """
    for _ in range(steps):
        along_x, along_y = _widened(mask, 0), _widened(mask, 1)
        mask = _widened(along_x, 1) | _widened(along_x, 2) | _widened(along_y, 2)
    return mask


def _widened(mask: Mask, axis: int) -> Mask:
    wide = mask.copy()
    low, high = [slice(None)] * mask.ndim, [slice(None)] * mask.ndim
    low[axis], high[axis] = slice(None, -1), slice(1, None)
    wide[tuple(low)] |= mask[tuple(high)]
    wide[tuple(high)] |= mask[tuple(low)]
    return wide


def joint(one: Numbers, other: Numbers) -> tuple[Counts, Counts, Counts]:
    """Return each pair of numbers above 0 that two arrays have in one voxel, and the count of such voxels."""
    both = (one > 0) & (other > 0)
    first, second = one[both].astype(np.int64), other[both]
    width = int(second.max(initial=0)) + 1
    codes = first * width + second
    if codes.size and codes.max() <= codes.size:
        counts = np.bincount(codes)
        found = np.flatnonzero(counts)
        counts = counts[found]
    else:
        found, counts = np.unique(codes, return_counts=True)
    return found // width, found % width, counts


def touching(one: Components, other: Components) -> tuple[Counts, Counts]:
    """Return the numbers of components of two masks that overlap or touch over a face or an edge (18).

    The masks may be of different boxes of one image.
    """
    if not one.count or not other.count:
        return _NO_COUNTS, _NO_COUNTS
    places = np.argwhere(surface_voxels(np.pad(one.mask, 1))) - 1
    numbers = one.numbers[tuple(places.T)].astype(np.int64)
    places += one.origin - other.origin
    pairs = []
    for step in _NEIGHBOURS:
        moved = places + step
        inside = ((moved >= 0) & (moved < other.numbers.shape)).all(axis=1)
        met = other.numbers[tuple(moved[inside].T)]
        pairs.append(np.unique(numbers[inside][met > 0] * (other.count + 1) + met[met > 0]))
    found = np.unique(np.concatenate(pairs))
    return found // (other.count + 1), found % (other.count + 1)
