"""Pasting tumours: they arrive whole, with a rim, on brain only. Fading: enhancement goes, the core stays."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gliomaseg.learning.lesion import fade_enhancement, paste_lesion


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


#: Generators whose first draw is below 0.6 (all enhancement goes) and above (a share of it).
WHOLLY, PARTLY = 2, 0


def enhancing() -> tuple[Tensor, Tensor]:
    """Return T1 (0.2) and T1 with contrast (0.5; 2.5 in a cube that enhances) in a brain, T2, and labels."""
    image, label = torch.zeros(3, 24, 24, 24), torch.zeros(24, 24, 24, dtype=torch.uint8)
    image[0, 2:], image[1, 2:], image[2, 2:] = 0.2, 0.5, -1
    label[6:18, 6:18, 6:18] = 2
    label[8:16, 8:16, 8:16] = 1
    label[8:10, 8:16, 8:16] = 3
    image[1][label == 3] = 2.5
    return image, label


def test_enhancement_that_goes_leaves_core() -> None:
    image, label = enhancing()
    faded, labels = fade_enhancement(image, label, 0, 1, np.random.default_rng(WHOLLY))
    torch.testing.assert_close(faded[1, 2:], torch.full((22, 24, 24), 0.5))
    assert (labels[label == 3] == 1).all()
    assert torch.equal(labels[label != 3], label[label != 3])
    assert torch.equal(faded[[0, 2]], image[[0, 2]])
    assert not faded[:, :2].any()


def test_enhancement_that_goes_in_part_keeps_its_label() -> None:
    image, label = enhancing()
    faded, labels = fade_enhancement(image, label, 0, 1, np.random.default_rng(PARTLY))
    assert torch.equal(labels, label)
    left = faded[1][label == 3]
    assert 0.5 + 0.29 * 2 < float(left.min()) <= float(left.max()) < 2.5 - 0.19 * 2


def test_the_glow_beside_enhancement_fades_too() -> None:
    image, label = enhancing()
    image[1, 7, 8:16, 8:16] = image[1, 5, 8:16, 8:16] = 1.5
    faded, _ = fade_enhancement(image, label, 0, 1, np.random.default_rng(WHOLLY))
    assert (faded[1, 7, 9:15, 9:15] - 0.5).abs().max() < 0.05  # the glow counts as rest of the brain
    assert (faded[1, 5, 8:16, 8:16] == 1.5).all()


def test_without_enhancement_nothing_fades() -> None:
    image, label = enhancing()
    label[label == 3] = 1
    faded, labels = fade_enhancement(image, label, 0, 1, np.random.default_rng(WHOLLY))
    assert torch.equal(faded, image)
    assert torch.equal(labels, label)


def test_enhancement_does_not_fade_where_a_sequence_is_missing() -> None:
    image, label = enhancing()
    image[0] = 0
    faded, labels = fade_enhancement(image, label, 0, 1, np.random.default_rng(WHOLLY))
    assert torch.equal(faded, image)
    assert torch.equal(labels, label)


def test_fading_leaves_what_is_given() -> None:
    image, label = enhancing()
    fade_enhancement(image, label, 0, 1, np.random.default_rng(WHOLLY))
    assert (image[1][label == 3] == 2.5).all()
    assert int((label == 3).sum()) == 128
