"""Endless batches of augmented patches, from gliomaseg and from its peers: same cases, patch, batch, workers.

Each function returns an iterator; what it yields are (image (batch, 4, *patch), target (batch, n, *patch)).
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from gliomaseg.cases.case import Case
from gliomaseg.labels import Modality
from gliomaseg.settings.loading import load_settings

BATCH = 2
#: Of TorchIO's Queue: its documentation's 10 patches of each volume, in a queue of 4 volumes (its
#: documentation's 30 volumes need 5 GB).
SAMPLES, QUEUE = 10, 40


@dataclass(frozen=True)
class Task:
    """What is to be read, by whom."""

    cases: list[Case]
    cache: Path
    patch: tuple[int, int, int]
    workers: int


def gliomaseg(task: Task) -> Iterator[Any]:
    """Read as gliomaseg train does, with its default augmentation."""
    from gliomaseg.training.cache import prepare_cases
    from gliomaseg.training.dataset import PatchDataset
    from gliomaseg.training.process import keep_freed_memory, read_batches

    keep_freed_memory()
    settings = load_settings("unet3d", [f"training.patch={list(task.patch)}"])
    prepared = prepare_cases(task.cases, settings, task.cache / "gliomaseg", lambda _done, _text: None)
    numbers = (range(n, n + BATCH) for n in itertools.count(0, BATCH))
    batches = read_batches(PatchDataset(prepared, settings), numbers, task.workers)
    return ((image.float(), target.float()) for image, target in batches)  # as a step of training does


def monai(task: Task) -> Iterator[Any]:
    """Read with PersistentDataset (warm) and the transforms of MONAI's BraTS tutorial."""
    from monai import transforms as mt
    from monai.data import PersistentDataset

    both = ["image", "label"]
    steps = [
        mt.LoadImaged(keys=both),
        mt.EnsureChannelFirstd(keys=both),
        mt.EnsureTyped(keys=both),
        mt.Lambdad(keys="label", func=_without_channel),
        mt.ConvertToMultiChannelBasedOnBratsClassesd(keys="label"),
        mt.Orientationd(keys=both, axcodes="RAS"),
        mt.Spacingd(keys=both, pixdim=(1.0, 1.0, 1.0), mode=("bilinear", "nearest")),
        mt.RandSpatialCropd(keys=both, roi_size=task.patch, random_size=False),
        *(mt.RandFlipd(keys=both, prob=0.5, spatial_axis=axis) for axis in range(3)),
        mt.NormalizeIntensityd(keys="image", nonzero=True, channel_wise=True),
        mt.RandScaleIntensityd(keys="image", factors=0.1, prob=1.0),
        mt.RandShiftIntensityd(keys="image", offsets=0.1, prob=1.0),
    ]
    items = [{"image": [str(c.images[m]) for m in Modality], "label": str(c.reference)} for c in task.cases]
    cache = task.cache / "monai"
    dataset = PersistentDataset(items, mt.Compose(steps), cache_dir=cache)
    if len(list(cache.glob("*.pt"))) < len(items):
        for index in range(len(items)):
            dataset[index]
    loader = DataLoader(
        dataset, BATCH, shuffle=True, num_workers=task.workers, drop_last=True, persistent_workers=True
    )
    return ((batch["image"], batch["label"]) for batch in _endless(loader))


def _without_channel(label: Any) -> Any:
    return label[0] if label.shape[0] == 1 else label


def torchio(task: Task) -> Iterator[Any]:
    """Read with Queue and UniformSampler; z-score, flip, affine and noise, by our chances."""
    import torchio as tio

    chances = load_settings("unet3d").augment
    steps = tio.Compose(
        [
            tio.ToCanonical(),
            tio.ZNormalization(masking_method=tio.ZNormalization.mean),
            tio.RandomFlip(axes=(0, 1, 2), flip_probability=chances.flip),
            tio.RandomAffine(p=chances.affine),
            tio.RandomNoise(p=chances.noise_chance),
        ]
    )
    subjects = [
        tio.Subject(
            **{m.value: tio.ScalarImage(str(c.images[m])) for m in Modality},
            seg=tio.LabelMap(str(c.reference)),
        )
        for c in task.cases
    ]
    queue = tio.Queue(
        tio.SubjectsDataset(subjects, transform=steps),
        QUEUE,
        SAMPLES,
        tio.UniformSampler(task.patch),
        num_workers=task.workers,
    )
    loader = tio.SubjectsLoader(queue, batch_size=BATCH, num_workers=0)
    for batch in _endless(loader):
        image = torch.cat([batch[m.value][tio.DATA] for m in Modality], dim=1)
        yield image, batch["seg"][tio.DATA]


def _endless(loader: Any) -> Iterator[Any]:
    while True:
        yield from loader


CONTENDERS = {"gliomaseg": gliomaseg, "MONAI": monai, "TorchIO": torchio}
warnings.filterwarnings("ignore")
