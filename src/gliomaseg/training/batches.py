"""Batches of patches, made by other processes while the network works on those before."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from gliomaseg.training.dataset import PatchDataset
from gliomaseg.training.process import quiet_worker

Batch = tuple[Tensor, Tensor]

#: Batches that each process makes ahead.
_AHEAD = 4


def read_batches(patches: PatchDataset, numbers: Iterable[Sequence[int]], workers: int) -> Generator[Batch]:
    """Yield the patches of each sequence of numbers, stacked; by this process if there are no ``workers``.

    A batch is to be used before the next is asked for: its memory is written again. To be closed, also after
    an error: the workers ignore signals and are ended by nothing else.
    """
    yield from DataLoader(
        patches,
        batch_sampler=numbers,  # type: ignore[arg-type]
        num_workers=workers,
        prefetch_factor=_AHEAD if workers else None,
        worker_init_fn=quiet_worker,
        collate_fn=_Shelf() if workers else None,
    )


class _Shelf:
    """Stacks patches in memory shared with the training process, by turns in the same few places.

    PyTorch's way, fresh memory for each batch, takes a fifth of the time of a patch, as the kernel clears
    it page by page. While a batch is being used, its worker can be no more than ``_AHEAD`` batches further.
    """

    def __init__(self) -> None:
        self._places: list[list[Tensor]] = []
        self._count = 0

    def __call__(self, patches: Sequence[tuple[Tensor, ...]]) -> list[Tensor]:
        parts = list(zip(*patches, strict=True))
        turn = self._count % (_AHEAD + 1)
        self._count += 1
        if turn == len(self._places):
            self._places.append([torch.stack(part).share_memory_() for part in parts])
            return self._places[turn]
        return [torch.stack(part, out=place) for part, place in zip(parts, self._places[turn], strict=True)]
