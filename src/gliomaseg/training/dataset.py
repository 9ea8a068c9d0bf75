"""Augmented patches, read from prepared cases on the fly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.utils.data import Dataset

from gliomaseg.settings.schema import Settings
from gliomaseg.training.augment import augment
from gliomaseg.training.cache import KINDS, TUMOUR, PreparedCase
from gliomaseg.training.lesions import lower_lesion_contrast, paste_lesion
from gliomaseg.training.patch import draw_warp, sample_patch
from gliomaseg.training.target import as_target

#: Cases with no more enhancing tumour, in ml, are of another kind, and rare: 8 of 51 of BraTS.
FAINT_ML = 1.0


class _Draw(NamedTuple):
    """What is decided about a patch before it is cut out."""

    case: PreparedCase
    kind: int
    centre: npt.NDArray[np.int16]


class PatchDataset(Dataset[tuple[Tensor, Tensor]]):
    """Augmented patches by number: the same number and seed always give the same patch.

    An item is (image (c, *patch) float16, target (channel, *patch) bool), to be widened by who takes it: as
    float32 a patch costs a third as much again, to hand it from one process to another. A resumed training
    goes on with the patches that an uninterrupted one would have seen. There is no last number, so no length.
    """

    def __init__(self, cases: Sequence[PreparedCase], settings: Settings) -> None:
        self.cases = list(cases)
        self.settings = settings
        times = settings.training.oversample_small_et
        self._round = [case for case in self.cases for _ in range(times if case.et_ml <= FAINT_ML else 1)]

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        image, label = self.patch(number)
        image, target = image.half(), as_target(label, self.settings)
        return (image, target) if self.settings.network.dimensions == 3 else (image[..., 0], target[..., 0])

    def patch(self, number: int) -> tuple[Tensor, Tensor]:
        """Return image (c, x, y, z) and stored labels (x, y, z) of a patch; z is 1 for slices."""
        rng = self._rng(number)
        image, label = self._cut(self._draw(number, rng), rng)
        if rng.random() < self.settings.augment.paste:
            donor = self.cases[int(rng.integers(len(self.cases)))]
            centre = _centre(donor, TUMOUR, rng)
            image, label = paste_lesion(image, label, self._cut(_Draw(donor, TUMOUR, centre), rng), rng)
        if self.settings.augment.lesion_contrast and rng.random() < self.settings.augment.lesion_contrast:
            image = lower_lesion_contrast(image, label, rng)
        return augment(image, label, self.settings.augment, rng)

    def describe(self, number: int) -> str:
        """Return which case and place a patch is of, for a message."""
        draw = self._draw(number, self._rng(number))
        return (
            f"case {draw.case.id}, {KINDS[draw.kind]} voxel {tuple(draw.centre.tolist())} of the brain's box"
        )

    def _rng(self, number: int) -> np.random.Generator:
        return np.random.default_rng([self.settings.training.seed, number])

    def _draw(self, number: int, rng: np.random.Generator) -> _Draw:
        training = self.settings.training
        case = self._round[_shuffled(number, len(self._round), training.seed)]
        kind = int(rng.choice(3, p=training.centre_on))
        return _Draw(case, kind, _centre(case, kind, rng))

    def _cut(self, draw: _Draw, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        size = (*self.settings.training.patch, 1)[:3]
        warp = draw_warp(rng, self.settings.augment, size, self.settings.network.modalities)
        return sample_patch(draw.case.image, draw.case.label, draw.centre, warp)


def _shuffled(number: int, count: int, seed: int) -> int:
    epoch, place = divmod(number, count)
    return int(np.random.default_rng([seed, epoch, 1]).permutation(count)[place])


def _centre(case: PreparedCase, kind: int, rng: np.random.Generator) -> npt.NDArray[np.int16]:
    """Return a random voxel of a kind, of the next wider kind if there is none."""
    for wider in range(kind, len(KINDS)):
        places = case.places(wider)
        if len(places):
            break
    return np.asarray(places[rng.integers(len(places))])
