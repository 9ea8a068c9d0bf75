"""A predicted and a reference mask of one part: what several metrics and rules need, computed once.

A lesion rule selects components of both masks; distances are kept by that selection, so that rules which
come to the same lesions share them. Ignorant of labels and of profiles.
"""

from __future__ import annotations

import itertools
import math
from functools import cached_property

import numpy as np
import numpy.typing as npt

from gliomaseg.evaluation import morphology, surface
from gliomaseg.evaluation.metrics import Overlap, check_shapes
from gliomaseg.evaluation.surface import Ids, Kind, Spacing, SurfaceDistances, SurfacePair

Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int32]
Counts = npt.NDArray[np.int64]
Box = tuple[slice, ...]

#: The steps to a voxel itself and its 18 neighbours.
_NEIGHBOURS = [step for step in itertools.product((-1, 0, 1), repeat=3) if sum(map(abs, step)) <= 2]
_NOBODY: Counts = np.zeros(0, dtype=np.int64)


class Components:
    """The components (26) of a mask, numbered from 1; the mask is that ``box`` of an image of that shape."""

    def __init__(self, mask: Mask, box: Box, image: tuple[int, ...]) -> None:
        self.mask = mask
        self.origin = np.array([part.start for part in box])
        self._box, self._image = box, image
        self.numbers, self.count = morphology.components(mask) if mask.any() else (_none(mask), 0)
        self.sizes: Counts = np.bincount(self.numbers[mask], minlength=self.count + 1)
        self._grown: dict[int, tuple[Numbers, Numbers]] = {}

    @property
    def ids(self) -> Ids:
        """Return the numbers of all components."""
        return frozenset(range(1, self.count + 1))

    def grown(self, steps: int) -> tuple[Numbers, Numbers]:
        """Return the numbered components of the dilated mask, and the one that each component lies in.

        The first is (x, y, z), the box of the mask; the second (count + 1,), with 0 for the background. Their
        order is that in the whole image, on which some rules depend.
        """
        if steps not in self._grown:
            sides = [(part.start, n - part.stop) for part, n in zip(self._box, self._image, strict=True)]
            margins = [(min(steps, low), min(steps, high)) for low, high in sides]
            dilated = morphology.dilate(np.pad(self.mask, margins), steps)
            grown = dilated.astype(np.int32) if self.count <= 1 else morphology.components(dilated)[0]
            grown = grown[tuple(slice(low, grown.shape[i] - high) for i, (low, high) in enumerate(margins))]
            groups = np.zeros(self.count + 1, dtype=np.int32)
            groups[self.numbers[self.mask]] = grown[self.mask]
            self._grown[steps] = grown, groups
        return self._grown[steps]


class MaskPair:
    """Two masks (x, y, z) on one grid and their voxel size in mm, cropped to the box around both.

    ``within`` is the box of the masks, and the shape, of the image that they are a part of.
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
        outer, image = within or (tuple(slice(0, n) for n in prediction.shape), prediction.shape)
        box = surface.bounding_box(prediction | reference)
        place = tuple(
            slice(o.start + part.start, o.start + part.stop) for o, part in zip(outer, box, strict=True)
        )
        self.spacing = spacing
        self.voxels = math.prod(image)
        self.prediction = Components(prediction[box], place, image)
        self.reference = Components(reference[box], place, image)
        self._surfaces: dict[tuple[Kind, Spacing], SurfacePair] = {}
        self._distances: dict[tuple[Kind, Spacing, Ids, Ids], SurfaceDistances] = {}

    @cached_property
    def common(self) -> tuple[Counts, Counts, Counts]:
        """Return which components meet: their numbers in prediction and reference, and the voxels shared."""
        return joint(self.prediction.numbers, self.reference.numbers)

    def overlap(self, predicted: Ids | None = None, expected: Ids | None = None) -> Overlap:
        """Return the voxel counts of some components of both masks; of all by default."""
        ours = np.isin(self.common[0], list(self.prediction.ids if predicted is None else predicted))
        theirs = np.isin(self.common[1], list(self.reference.ids if expected is None else expected))
        return Overlap(
            common=int(self.common[2][ours & theirs].sum()),
            prediction=_size(self.prediction, predicted),
            reference=_size(self.reference, expected),
            voxels=self.voxels,
        )

    def distances(
        self, kind: Kind, spacing: Spacing, predicted: Ids | None = None, expected: Ids | None = None
    ) -> SurfaceDistances:
        """Return the distances between the surfaces of some components; of all by default."""
        if (kind, spacing) not in self._surfaces:
            numbers = self.prediction.numbers, self.reference.numbers
            self._surfaces[kind, spacing] = SurfacePair(*numbers, spacing, kind=kind)
        predicted = self.prediction.ids if predicted is None else predicted
        expected = self.reference.ids if expected is None else expected
        key = (kind, spacing, predicted, expected)
        if key not in self._distances:
            self._distances[key] = self._surfaces[kind, spacing].distances(predicted, expected)
        return self._distances[key]


def joint(one: Numbers, other: Numbers) -> tuple[Counts, Counts, Counts]:
    """Return each pair of numbers above 0 that two arrays have in one place, and how many such places."""
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
    """Return the numbers of components of two masks that touch: over a face or an edge (18), or overlap.

    The masks may be different parts of one image.
    """
    if not one.count or not other.count:
        return _NOBODY, _NOBODY
    places = np.argwhere(surface.surface_voxels(np.pad(one.mask, 1))) - 1
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


def _none(mask: Mask) -> Numbers:
    return np.zeros(mask.shape, dtype=np.int32)


def _size(components: Components, ids: Ids | None) -> int:
    return int(components.sizes[1:].sum() if ids is None else components.sizes[list(ids)].sum())
