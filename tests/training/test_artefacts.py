"""Thick slices, misregistered sequences and wrong brain masks, by pencil and by an independent oracle."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_dilation, map_coordinates

from gliomaseg.labels import Modality
from gliomaseg.settings.schema import AugmentSettings
from gliomaseg.training.artefacts import cut_brain, slab_matrix, thicken
from gliomaseg.training.augment import augment
from gliomaseg.training.dataset import PatchDataset
from gliomaseg.training.patch import Warp, draw_warp, sample_patch

STILL = AugmentSettings(flip=0, affine=0, intensity=0, noise_chance=0, blur=0, bias=0, truncate_fov=0)
THICK = STILL.model_copy(update={"thick_slices": 1.0})
LOOSE = STILL.model_copy(update={"misregister": 1.0})
MASKED = STILL.model_copy(update={"mask_errors": 1.0})
ALL_FOUR = tuple(Modality)


def smooth_axis(image: torch.Tensor) -> int:
    """Return the axis along which neighbours of an image (x, y, z) are most alike."""
    return int(np.argmin([image.diff(dim=axis).abs().mean() for axis in range(3)]))


class TestThickSlices:
    def test_two_slices_of_five_by_pencil(self) -> None:
        line = np.array([1, 2, 3, 4, 5, 11, 12, 13, 14, 15.0])  # slices have the means 3 and 13
        found = slab_matrix(10, 5, 0) @ line
        assert found == pytest.approx([3, 3, 3, 5, 7, 9, 11, 13, 13, 13])

    def test_a_slice_that_begins_before_the_line_counts_with_what_lies_within(self) -> None:
        # slices from -2 to 2, 2 to 6 and 6 to 10, with their centres at 0, 4 and 8
        found = slab_matrix(8, 4, -2) @ np.array([1, 3, 6, 6, 6, 6, 8, 10.0])
        means = np.array([2, 6, 9.0])
        assert found == pytest.approx(np.interp(np.arange(8) + 0.5, [0, 4, 8], means))

    def test_slices_of_one_voxel_change_nothing(self) -> None:
        assert np.allclose(slab_matrix(7, 1, 0), np.eye(7))

    @pytest.mark.parametrize(("size", "thickness", "start"), [(96, 3.3, -1.2), (5, 6.0, -5.9), (96, 6, 0)])
    def test_a_constant_stays(self, size: int, thickness: float, start: float) -> None:
        assert slab_matrix(size, thickness, start).sum(axis=1) == pytest.approx(np.ones(size))

    def test_as_the_mean_of_five_slices_and_interpolation(self) -> None:
        image = torch.randn(1, 20, 20, 20, generator=torch.Generator().manual_seed(0))
        settings = THICK.model_copy(update={"thick_voxels": (5.0, 5.0)})
        seen = set()
        for seed in range(40):
            new = image.clone()
            thicken(new, settings, np.random.default_rng(seed))
            axis = smooth_axis(new[0])
            seen.add(axis)
            line = np.moveaxis(new[0].numpy(), axis, 0)
            bends = np.abs(np.diff(line, 2, axis=0)).max(axis=(1, 2)) > 1e-4
            assert np.flatnonzero(bends).size <= 2 * 5  # straight between the centres of five slices
            assert new.std() < 0.5 * image.std()
        assert seen == {0, 1, 2}

    def test_sequences_have_their_own_slices_or_all_the_same(self) -> None:
        kinds = set()
        for seed in range(60):
            image = torch.randn(4, 12, 12, 12, generator=torch.Generator().manual_seed(0))
            new = image.clone()
            thicken(new, THICK, np.random.default_rng(seed))
            thick = [not torch.equal(a, b) for a, b in zip(image, new, strict=True)]
            axes = {smooth_axis(channel) for channel, is_thick in zip(new, thick, strict=True) if is_thick}
            kinds.add((sum(thick), len(axes)))
        assert {count for count, _ in kinds} == {1, 2, 3, 4}
        assert {(4, 1), (4, 2), (2, 2)} <= kinds

    def test_only_what_was_brain_or_beside_it_is_not_0_and_the_rim_is_dark(self) -> None:
        image = torch.zeros(1, 24, 24, 24)
        image[:, 6:18, 6:18, 6:18] = 1.0
        image[0, 11, 11, 11] = -2.0  # the darkest, as which the background counts
        for seed in range(20):
            new = image.clone()
            thicken(new, THICK, np.random.default_rng(seed))
            beside = binary_dilation(image[0].numpy() != 0, iterations=6)
            assert not new[0].numpy()[~beside].any()
            assert new.min() >= -2.0
            assert new.max() <= 1.0 + 1e-6
            assert new[0, 6:18, 6:18, 6:18].ne(0).float().mean() > 0.75

    def test_the_label_and_an_empty_sequence_stay(self) -> None:
        image, label = torch.randn(2, 8, 8, 8), torch.ones(8, 8, 8, dtype=torch.uint8)
        image[1] = 0
        for seed in range(10):
            new, mask = augment(image, label, THICK, np.random.default_rng(seed))
            assert torch.equal(mask, label)
            assert not new[1].any()

    def test_a_slice_has_thick_slices_within_its_plane(self) -> None:
        image = torch.randn(1, 8, 8, 1)
        new = image.clone()
        thicken(new, THICK, np.random.default_rng(0))
        assert not torch.equal(new, image)


class TestMisregistered:
    def test_t1_contrast_stays_and_the_others_move_each_its_own_way(self) -> None:
        motions = draw_warp(np.random.default_rng(0), LOOSE, (8, 8, 8), ALL_FOUR).motions
        assert motions is not None
        assert np.array_equal(motions[1], np.eye(3, 4))
        assert len({motion.tobytes() for motion in motions}) == 4

    def test_within_bounds_and_rigid(self) -> None:
        lengths, angles = [], []
        for seed in range(100):
            motions = draw_warp(np.random.default_rng(seed), LOOSE, (8, 8, 8), ALL_FOUR).motions
            assert motions is not None
            for motion in motions[[0, 2, 3]]:
                turn = motion[:, :3]
                assert np.allclose(turn @ turn.T, np.eye(3))
                lengths.append(np.linalg.norm(motion[:, 3]))
                angles.append(np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1))))
        assert 1.8 < max(lengths) <= 2
        assert 2.7 < max(angles) < 3.05  # three turns about axes are nearly one about an oblique axis
        assert min(lengths) < 0.2

    def test_none_unless_asked_or_of_a_single_sequence(self) -> None:
        assert draw_warp(np.random.default_rng(0), STILL, (8, 8, 8), ALL_FOUR).is_straight
        assert draw_warp(np.random.default_rng(0), LOOSE, (8, 8, 8), (Modality.T2F,)).is_straight

    def test_a_shift_by_pencil(self) -> None:
        x, y, z = np.indices((16, 16, 16))
        image = np.stack([x + 10 * y + 100 * z] * 2).astype(np.float16)
        label = (x > 7).astype(np.uint8)
        motions = np.stack([np.eye(3, 4)] * 2)
        motions[1, :, 3] = [1.5, -1, 0.25]
        warp = Warp((6, 6, 6), np.eye(3), motions=motions)
        patch, mask = sample_patch(image, label, np.array([8, 8, 8], np.int16), warp)
        # the patch lies from 5 to 10; each voxel shows what is 1.5 - 10 + 25 more
        assert patch[0, :, 0, 0].tolist() == pytest.approx([555, 556, 557, 558, 559, 560], abs=0.05)
        assert torch.allclose(patch[1] - patch[0], torch.tensor(16.5), atol=0.1)
        assert mask[:, 0, 0].tolist() == [0, 0, 0, 1, 1, 1]

    def test_as_scipy_turns_and_moves(self) -> None:
        random = np.random.default_rng(0)
        image = random.normal(size=(4, 40, 40, 40)).astype(np.float16)
        label = random.integers(0, 4, (40, 40, 40)).astype(np.uint8)
        settings = LOOSE.model_copy(update={"affine": 1.0})
        offsets = np.moveaxis(np.indices((12, 9, 14)), 0, -1) - (np.array([12, 9, 14]) - 1) / 2
        for _ in range(5):
            warp = draw_warp(random, settings, (12, 9, 14), ALL_FOUR)
            patch, mask = sample_patch(image, label, np.array([20, 20, 20], np.int16), warp)
            assert warp.motions is not None
            for channel, whole, motion in zip(patch.numpy(), image, warp.motions, strict=True):
                turned = offsets @ warp.matrix.T @ motion[:, :3].T + motion[:, 3] + 19.5
                found = map_coordinates(whole.astype(np.float32), np.moveaxis(turned, -1, 0), order=1)
                assert np.allclose(channel, found, atol=0.01)
            nearest = label[tuple(np.moveaxis(offsets @ warp.matrix.T + 19.5, -1, 0).round().astype(int))]
            assert (mask.numpy() == nearest).mean() > 0.999

    def test_no_corner_is_empty_that_has_anatomy(self) -> None:
        image, label = np.ones((4, 48, 48, 48), np.float16), np.ones((48, 48, 48), np.uint8)
        settings = LOOSE.model_copy(update={"affine": 1.0, "elastic": 1.0})
        for seed in range(5):
            warp = draw_warp(np.random.default_rng(seed), settings, (16, 16, 16), ALL_FOUR)
            patch, _ = sample_patch(image, label, np.array([24, 24, 24], np.int16), warp)
            assert patch.min() > 0.999

    def test_a_slice_stays_in_its_plane(self) -> None:
        motions = draw_warp(np.random.default_rng(0), LOOSE, (8, 8, 1), ALL_FOUR).motions
        assert motions is not None
        assert (motions[:, 2] == [0, 0, 1, 0]).all()
        assert (motions[:, :, 2] == [0, 0, 1]).all()
        assert motions[0, 0, 3] != 0
        assert motions[0, 0, 1] != 0

    def test_patches_of_a_training_are_misregistered(self, prepared, tiny) -> None:
        still = ("flip", "affine", "intensity", "noise_chance", "blur", "bias", "truncate_fov")
        plain = [f"augment.{name}=0" for name in still]
        one, other = (PatchDataset(prepared, tiny(*plain, f"augment.misregister={c}")) for c in (0, 1))
        (image, label), (moved, mask) = one.patch(0), other.patch(0)
        assert not torch.equal(image[0], moved[0])
        assert (image[1] - moved[1]).abs().max() <= 0.01 * image[1].abs().max() + 0.01
        assert torch.equal(label, mask)


class TestWrongBrainMasks:
    @staticmethod
    def ball(size: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
        """Return a brain (2, x, y, z) of radius 12 and a label of 1 within it."""
        inside = np.sum((np.indices((size,) * 3) - (size - 1) / 2) ** 2, axis=0) < 144
        image = torch.from_numpy(np.stack([inside, inside]).astype(np.float32))
        return image, torch.from_numpy(inside.astype(np.uint8))

    def test_every_kind_takes_a_part_of_all_sequences_and_of_the_label(self) -> None:
        lost = []
        for seed in range(60):
            image, label = self.ball()
            before = int(label.sum())
            cut_brain(image, label, np.random.default_rng(seed))
            assert torch.equal(image[0], image[1])
            assert torch.equal(image[0] != 0, label != 0)
            lost.append(1 - int(label.sum()) / before)
        assert np.count_nonzero(np.array(lost) == 0) < 30  # a plane may pass by
        assert 0.6 < max(lost) < 0.97

    def test_a_rim_has_the_depth_of_one_to_four_voxels(self) -> None:
        image, label = torch.zeros(1, 20, 20, 20), torch.ones(20, 20, 20, dtype=torch.uint8)
        image[:, 3:17, 3:17, 3:17] = 1
        sides = set()
        for seed in range(200):
            new = image.clone()
            cut_brain(new, label.clone(), np.random.default_rng(seed))
            left = torch.nonzero(new[0])
            first = int(left.min()) if len(left) else 0
            if len(left) == (20 - 2 * first) ** 3 and int(left.max()) == 19 - first:
                sides.add(first)
        assert sides - {3} == {4, 5, 6, 7}

    def test_without_background_there_is_no_rim_to_lose(self) -> None:
        full = []
        for seed in range(60):
            image, label = torch.ones(1, 16, 16, 16), torch.ones(16, 16, 16, dtype=torch.uint8)
            cut_brain(image, label, np.random.default_rng(seed))
            assert image[0, 7:9, 7:9, 7:9].all()  # no plane crosses the centre
            full.append(bool(image.all()))
        assert 30 < sum(full) < 60

    def test_a_slice_is_cut_too(self) -> None:
        cut = 0
        for seed in range(30):
            image, label = self.ball()
            image, label = image[..., 16:17].clone(), label[..., 16:17].clone()
            before = int(label.sum())
            cut_brain(image, label, np.random.default_rng(seed))
            cut += 0 < int(label.sum()) < before
        assert cut > 15

    def test_augment_leaves_the_patch_given_alone(self) -> None:
        image, label = self.ball()
        kept = image.clone(), label.clone()
        results = [augment(image, label, MASKED, np.random.default_rng(seed)) for seed in range(9)]
        assert torch.equal(image, kept[0])
        assert torch.equal(label, kept[1])
        assert any(not torch.equal(mask, label) for _, mask in results)


class TestContrastCurves:
    CURVED = STILL.model_copy(update={"contrast_curve": 1.0})

    def test_order_mean_and_spread_stay_and_the_shape_changes(self) -> None:
        image = torch.randn(2, 12, 12, 12, generator=torch.Generator().manual_seed(0))
        image[:, :3] = 0
        label = torch.zeros(12, 12, 12, dtype=torch.uint8)
        for seed in range(10):
            new, _ = augment(image, label, self.CURVED, np.random.default_rng(seed))
            assert not new[:, :3].any()
            for before, after in zip(image[:, 3:], new[:, 3:], strict=True):
                order = before.flatten().argsort()
                assert (after.flatten()[order].diff() >= -1e-5).all()
                assert float(after.mean()) == pytest.approx(float(before.mean()), abs=1e-4)
                assert float(after.std()) == pytest.approx(float(before.std()), abs=1e-4)
                assert (after - before).abs().max() > 0.02

    def test_empty_and_constant_sequences_stay(self) -> None:
        image, label = torch.zeros(2, 4, 4, 4), torch.zeros(4, 4, 4, dtype=torch.uint8)
        image[1] = 2.5
        new, _ = augment(image, label, self.CURVED, np.random.default_rng(0))
        assert torch.equal(new, image)
