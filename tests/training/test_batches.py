"""Batches from other processes: the same patches in order, none overwritten while it is used."""

from __future__ import annotations

import time
from contextlib import closing

import pytest
import torch

from gliomaseg.training.dataset import PatchDataset
from gliomaseg.training.process import read_batches


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_batches_are_the_patches_of_their_numbers(prepared, tiny, workers: int) -> None:
    patches = PatchDataset(prepared, tiny())
    numbers = [range(n, n + 2) for n in range(0, 40, 2)]
    with closing(read_batches(patches, iter(numbers), workers)) as batches:
        for wanted, (image, target) in zip(numbers, batches, strict=True):
            time.sleep(0.02)  # workers go on as far as they may
            assert image.shape[0] == target.shape[0] == 2
            for place, number in enumerate(wanted):
                for found, expected in zip((image[place], target[place]), patches[number], strict=True):
                    assert torch.equal(found, expected)
