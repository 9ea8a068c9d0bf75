"""Pasting tumours: they arrive whole, with a rim, on brain only. A pale one is nearer to the rest."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gliomaseg.training.lesions import lower_lesion_contrast, paste_lesion


def patch(value: float, tumour: slice | None = None) -> tuple[Tensor, Tensor]:
    """Return an image (2, 24, 24, 24) of one value, and labels with a cube of 3."""
    image, label = torch.full((2, 24, 24, 24), float(value)), torch.zeros(24, 24, 24, dtype=torch.uint8)
    if tumour:
        label[tumour, tumour, tumour] = 3
    return image, label


def test_the_tumour_arrives_whole_and_the_rest_stays() -> None:
    image, label = paste_lesion(*patch(1), patch(5, slice(8, 16)), np.random.default_rng(0))
    assert (label[9:15, 9:15, 9:15] == 3).all()
    assert (image[:, 10:14, 10:14, 10:14] == 5).all()
    assert (image[:, :3] == 1).all()
    assert not label[:3].any()


def test_the_rim_is_between_the_two() -> None:
    image, _ = paste_lesion(*patch(1), patch(5, slice(8, 16)), np.random.default_rng(0))
    between = (image > 1.01) & (image < 4.99)
    assert between.any()
    assert not between[:, 11:13, 11:13, 11:13].any()


def test_only_brain_is_written_over() -> None:
    image, label = patch(1)
    image[:, :12] = 0
    new, labels = paste_lesion(image, label, patch(5, slice(8, 16)), np.random.default_rng(0))
    assert not new[:, :12].any()
    assert not labels[:12].any()
    assert (labels == 3).any()


def test_what_is_given_is_not_changed() -> None:
    (image, label), donor = patch(1), patch(5, slice(8, 16))
    paste_lesion(image, label, donor, np.random.default_rng(0))
    assert (image == 1).all()
    assert not label.any()
    assert (donor[0] == 5).all()


def test_a_donor_without_tumour_changes_nothing() -> None:
    image, label = paste_lesion(*patch(1, slice(2, 4)), patch(5), np.random.default_rng(0))
    assert (image == 1).all()
    assert int((label == 3).sum()) == 8


def test_a_slice_is_a_patch_too() -> None:
    (image, label), (given, tumour) = patch(1), patch(5, slice(8, 16))
    flat = paste_lesion(image[..., :1], label[..., :1], (given[..., 12:13], tumour[..., 12:13]),
                        np.random.default_rng(0))  # fmt: skip
    assert flat[1].shape == (24, 24, 1)
    assert (flat[1][10:14, 10:14] == 3).all()


def enhancing() -> tuple[Tensor, Tensor]:
    """Return T1 (0.2) and T1 with contrast (0.5; 2.5 in a cube that enhances) in a brain, T2, and labels."""
    image, label = torch.zeros(3, 24, 24, 24), torch.zeros(24, 24, 24, dtype=torch.uint8)
    image[0, 2:], image[1, 2:], image[2, 2:] = 0.2, 0.5, -1
    label[6:18, 6:18, 6:18] = 2
    label[8:16, 8:16, 8:16] = 1
    label[8:10, 8:16, 8:16] = 3
    image[1][label == 3] = 2.5
    return image, label


def test_a_pale_tumour_is_nearer_to_the_rest_in_each_sequence_by_its_own_factor() -> None:
    image, label = enhancing()
    image[2, 7:17, 7:17, 7:17] = 3
    paler = lower_lesion_contrast(image, label, np.random.default_rng(0))
    lefts = []
    for channel, before in zip(paler[1:], image[1:], strict=True):
        rest = before[(before != 0) & (label == 0)].mean()
        inside = (slice(8, 10), slice(9, 15), slice(9, 15))
        left = (channel[inside] - rest) / (before[inside] - rest)
        assert 0.3 <= float(left.min()) < 1
        torch.testing.assert_close(left.min(), left.max())
        lefts.append(float(left.min()))
    assert abs(lefts[0] - lefts[1]) > 0.05


def test_a_pale_tumour_changes_nothing_else() -> None:
    image, label = enhancing()
    image[2, 9:11] = 0  # a sequence that is missing in a part of the tumour
    before = image.clone()
    paler = lower_lesion_contrast(image, label, np.random.default_rng(0))
    assert torch.equal(paler[:, :5], image[:, :5])  # the cube begins at 6, its soft edge at 5
    assert torch.equal(paler[:, :, 19:], image[:, :, 19:])
    assert not paler[:, :2].any()
    assert not paler[2, 9:11].any()
    assert torch.equal(image, before)


def test_a_patch_of_tumour_only_or_without_it_stays() -> None:
    image, label = enhancing()
    for all_or_none in (torch.zeros_like(label), torch.full_like(label, 2)):
        assert torch.equal(lower_lesion_contrast(image, all_or_none, np.random.default_rng(0)), image)
