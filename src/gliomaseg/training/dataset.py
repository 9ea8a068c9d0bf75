"""Augmented patches, cut from prepared cases on the fly."""

from __future__ import annotations

from collections.abc import Sequence

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

#: At most this much enhancing tumour, in ml, is a small one: 8 of 51 cases of BraTS.
SMALL_ET_ML = 1.0


class PatchDataset(Dataset[tuple[Tensor, Tensor]]):
    """Augmented patches by number: the same number and seed always give the same patch.

    An item is (image (c, *patch) float16, target (channel, *patch) bool), converted to float32 by the
    training process: passing float32 from a worker makes a patch a third more expensive. There is no last
    number, so no length.
    """

    def __init__(self, cases: Sequence[PreparedCase], settings: Settings) -> None:
        self.cases = list(cases)
        self.settings = settings
        times = settings.training.oversample_small_et
        self._round = [case for case in self.cases for _ in range(times if case.et_ml <= SMALL_ET_ML else 1)]

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        image, label = self.patch(number)
        image, target = image.half(), as_target(label, self.settings)
        return (image, target) if self.settings.network.dimensions == 3 else (image[..., 0], target[..., 0])

    def patch(self, number: int) -> tuple[Tensor, Tensor]:
        """Return image (c, x, y, z) and stored labels (x, y, z) of a patch; z is 1 for slices."""
        rng = self._rng(number)
        image, label = self._cut(*self._draw(number, rng), rng)
        if rng.random() < self.settings.augment.paste:
            donor = self.cases[int(rng.integers(len(self.cases)))]
            image, label = paste_lesion(image, label, self._cut(donor, TUMOUR, rng), rng)
        if self.settings.augment.lesion_contrast and rng.random() < self.settings.augment.lesion_contrast:
            image = lower_lesion_contrast(image, label, rng)
        return augment(image, label, self.settings.augment, rng)

    def describe(self, number: int) -> str:
        """Return the case and the place of a patch, for a message."""
        rng = self._rng(number)
        case, kind = self._draw(number, rng)
        place = tuple(_centre(case, kind, rng).tolist())
        return f"case {case.id}, {KINDS[kind]} voxel {place} of the brain's box"

    def _rng(self, number: int) -> np.random.Generator:
        return np.random.default_rng([self.settings.training.seed, number])

    def _draw(self, number: int, rng: np.random.Generator) -> tuple[PreparedCase, int]:
        """Return the case of a patch, from a shuffled round of all, and the kind of its centre."""
        seed = self.settings.training.seed
        epoch, place = divmod(number, len(self._round))
        order = np.random.default_rng([seed, epoch, 1]).permutation(len(self._round))
        return self._round[order[place]], int(rng.choice(3, p=self.settings.training.centre_on))

    def _cut(self, case: PreparedCase, kind: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        centre, image, label = _centre(case, kind, rng), case.image, case.label
        size = (*self.settings.training.patch, 1)[:3]
        warp = draw_warp(rng, self.settings.augment, size, self.settings.network.modalities)
        return sample_patch(image, label, centre, warp)


def _centre(case: PreparedCase, kind: int, rng: np.random.Generator) -> npt.NDArray[np.int16]:
    """Return a random voxel of a kind, or of the next wider kind if there is none."""
    for wider in range(kind, len(KINDS)):
        places = case.places(wider)
        if len(places):
            break
    return np.asarray(places[rng.integers(len(places))])
