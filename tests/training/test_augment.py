"""Augmentation against pencil results: linear images, quarter turns, and what must never change."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from gliomaseg.settings.schema import AugmentSettings
from gliomaseg.training.augment import augment
from gliomaseg.training.patch import Warp, draw_warp, sample_patch

STILL = AugmentSettings(flip=0, affine=0, intensity=0, noise_chance=0, blur=0, bias=0, truncate_fov=0)
ALL = AugmentSettings(flip=1, affine=1, intensity=1, noise_chance=1, blur=1, bias=1)
QUARTER = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
"""Patch offset (1, 0, 0) is case offset (0, 1, 0): a quarter turn about z."""


def centre(*at: int) -> np.ndarray:
    return np.array(at, dtype=np.int16)


def linear(shape: tuple[int, int, int]) -> np.ndarray:
    """Return x + 10 y + 100 z, twice (c, x, y, z): interpolating it linearly is exact."""
    x, y, z = np.indices(shape)
    return np.stack([x + 10 * y + 100 * z] * 2).astype(np.float16)


def middle(values: np.ndarray) -> np.ndarray:
    """Return the centre of mass (x, y, z) in voxels."""
    return np.array([(values * index).sum() for index in np.indices(values.shape)]) / values.sum()


class TestSamplePatch:
    def test_identity_is_a_plain_crop(self) -> None:
        image, label = np.random.default_rng(0).normal(size=(2, 9, 8, 7)), np.arange(504) % 4
        image, label = image.astype(np.float16), label.reshape(9, 8, 7).astype(np.uint8)
        patch, mask = sample_patch(image, label, centre(5, 4, 3), Warp((4, 4, 4), np.eye(3)))
        assert np.array_equal(patch, image[:, 3:7, 2:6, 1:5].astype(np.float32))
        assert np.array_equal(mask, label[3:7, 2:6, 1:5])

    @pytest.mark.parametrize("at", [(0, 0, 0), (8, 7, 6), (0, 7, 3)])
    def test_a_crop_stays_inside_the_case(self, at: tuple[int, int, int]) -> None:
        image, label = np.ones((1, 9, 8, 7), np.float16), np.ones((9, 8, 7), np.uint8)
        patch, mask = sample_patch(image, label, centre(*at), Warp((4, 6, 6), np.eye(3)))
        assert patch.all()
        assert mask.all()

    def test_a_crop_larger_than_the_case_holds_all_of_it(self) -> None:
        image, label = np.ones((1, 3, 4, 5), np.float16), np.ones((3, 4, 5), np.uint8)
        patch, mask = sample_patch(image, label, centre(0, 3, 4), Warp((8, 8, 8), np.eye(3)))
        assert patch.shape == (1, 8, 8, 8)
        assert patch.sum() == mask.sum() == 60

    def test_the_case_itself_is_not_changed(self) -> None:
        image, label = linear((8, 8, 8)), np.ones((8, 8, 8), np.uint8)
        before = image.copy()
        for warp in (Warp((4, 4, 4), np.eye(3)), Warp((4, 4, 4), QUARTER)):
            patch, mask = sample_patch(image, label, centre(4, 4, 4), warp)
            augment(patch, mask, ALL, np.random.default_rng(0))
        assert np.array_equal(image, before)
        assert label.all()

    def test_a_quarter_turn_by_pencil(self) -> None:
        image = np.zeros((1, 10, 10, 10), np.float16)
        image[0, 3:7, 3:7, 5] = [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16]]
        label = image[0].astype(np.uint8)
        patch, mask = sample_patch(image, label, centre(5, 5, 5), Warp((4, 4, 2), QUARTER))
        turned = [[13, 9, 5, 1], [14, 10, 6, 2], [15, 11, 7, 3], [16, 12, 8, 4]]
        assert patch[0, :, :, 1].round().tolist() == turned
        assert mask[:, :, 1].tolist() == turned
        assert not mask[:, :, 0].any()

    @pytest.mark.parametrize("scale", [2.0, 0.5])
    def test_scaling_by_pencil(self, scale: float) -> None:
        image, label = linear((16, 16, 16)), np.zeros((16, 16, 16), np.uint8)
        patch, _ = sample_patch(image, label, centre(8, 8, 8), Warp((6, 6, 6), np.eye(3) / scale))
        steps = (np.arange(6) - 2.5) / scale + 7.5  # where each voxel of the patch lies, along each axis
        x, y, z = np.meshgrid(steps, steps, steps, indexing="ij")
        assert np.allclose(patch, np.stack([x + 10 * y + 100 * z] * 2), atol=1e-2)

    def test_each_axis_scales_and_turns_as_the_matrix_says(self) -> None:
        matrix = np.array([[0.5, 0.1, 0.0], [0.0, 1.2, -0.2], [0.3, 0.0, 0.8]])
        image, label = linear((20, 20, 20)), np.zeros((20, 20, 20), np.uint8)
        patch, _ = sample_patch(image, label, centre(10, 10, 10), Warp((4, 6, 8), matrix))
        for i, j, k in itertools.product(range(4), range(6), range(8)):
            at = matrix @ (np.array([i, j, k]) - [1.5, 2.5, 3.5]) + 9.5
            assert patch[0, i, j, k] == pytest.approx(at @ [1, 10, 100], abs=0.05)

    def test_image_and_label_stay_together(self) -> None:
        ball = (
            np.sum((np.indices((32, 32, 32)) - np.array([16, 12, 18]).reshape(3, 1, 1, 1)) ** 2, axis=0) < 60
        )
        image, label = ball[None].astype(np.float16), ball.astype(np.uint8)
        rng, settings = np.random.default_rng(0), ALL.model_copy(update={"rotate_degrees": 60.0})
        for _ in range(10):
            warp = draw_warp(rng, settings, (24, 24, 24))
            patch, mask = sample_patch(image, label, centre(16, 14, 17), warp)
            assert mask.sum() > 150
            assert ((patch[0] > 0.5) == (mask > 0)).float().mean() > 0.98  # all but some of the surface
            middles = [middle(what.numpy()) for what in (patch[0], mask)]
            assert np.abs(middles[0] - middles[1]).max() < 0.1

    @pytest.mark.parametrize("size", [(12, 9, 14), (12, 15, 1)])
    def test_as_scipy_interpolates(self, size: tuple[int, int, int]) -> None:
        random = np.random.default_rng(0)
        image = random.normal(size=(3, 40, 40, 40)).astype(np.float16)
        label = random.integers(0, 4, (40, 40, 40)).astype(np.uint8)
        offsets = np.moveaxis(np.indices(size), 0, -1) - (np.array(size) - 1) / 2
        middle = np.where(np.array(size) == 1, 20, 19.5)
        for _ in range(10):
            warp = draw_warp(random, ALL, size)
            patch, mask = sample_patch(image, label, centre(20, 20, 20), warp)
            places = np.moveaxis(offsets @ warp.matrix.T + middle, -1, 0)
            for channel, whole in zip(patch.numpy(), image.astype(np.float32), strict=True):
                assert np.allclose(channel, map_coordinates(whole, places, order=1), atol=0.01)
            nearest = label[tuple(places.round().astype(int))]
            assert (mask.numpy() == nearest).mean() > 0.999  # halfway between two, either will do

    def test_outside_of_the_case_is_0(self) -> None:
        image, label = np.ones((1, 4, 4, 4), np.float16), np.ones((4, 4, 4), np.uint8)
        turned, mask = sample_patch(image, label, centre(2, 2, 2), Warp((12, 12, 12), QUARTER))
        assert turned.sum() == pytest.approx(64)
        assert mask.sum() == 64

    def test_no_corner_is_empty_that_has_anatomy(self) -> None:
        image, label = np.ones((1, 40, 40, 40), np.float16), np.ones((40, 40, 40), np.uint8)
        rng = np.random.default_rng(0)
        for _ in range(10):
            warp = draw_warp(rng, ALL, (14, 14, 14))
            patch, mask = sample_patch(image, label, centre(20, 20, 20), warp)
            assert patch.min() > 0.999
            assert mask.all()


class TestDrawWarp:
    def test_none_at_all(self) -> None:
        assert all(draw_warp(np.random.default_rng(s), STILL, (4, 4, 4)).is_straight for s in range(9))

    def test_volumes_turn_and_scale_within_bounds(self) -> None:
        for seed in range(50):
            matrix = draw_warp(np.random.default_rng(seed), ALL, (8, 8, 8)).matrix
            scale = np.linalg.det(matrix) ** (-1 / 3)
            assert 0.78 <= scale <= 1.28
            turn = matrix * scale
            assert np.allclose(turn @ turn.T, np.eye(3))
            angle = np.degrees(np.arccos((np.trace(turn) - 1) / 2))
            assert 0 < angle < 36  # three turns of at most 20 degrees

    def test_slices_stay_in_their_plane(self) -> None:
        for seed in range(20):
            warp = draw_warp(np.random.default_rng(seed), ALL, (8, 8, 1))
            assert warp.matrix[2].tolist() == [0, 0, 1]
            assert warp.matrix[:, 2].tolist() == [0, 0, 1]
        image, label = linear((16, 16, 5)), np.zeros((16, 16, 5), np.uint8)
        patch, mask = sample_patch(image, label, centre(8, 8, 3), warp)
        assert patch.shape == (2, 8, 8, 1)
        assert mask.shape == (8, 8, 1)
        expected = (warp.matrix[:2, :2] @ (np.array([2, 6]) - 3.5) + 7.5) @ [1, 10] + 300
        assert patch[0, 2, 6, 0] == pytest.approx(expected, abs=0.05)


def brain(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a patch (4, 8, 8, 8) with a border of background and its label."""
    random = np.random.default_rng(seed)
    image, label = np.zeros((4, 8, 8, 8), np.float32), np.zeros((8, 8, 8), np.uint8)
    image[:, 1:6, 2:7, 1:8] = random.normal(size=(4, 5, 5, 7))
    label[2:4, 3:6, 2:5] = random.integers(1, 4, (2, 3, 3))
    return torch.from_numpy(image), torch.from_numpy(label)


class TestAugment:
    def test_nothing_asked_nothing_done(self) -> None:
        image, label = brain()
        new, mask = augment(image, label, STILL, np.random.default_rng(0))
        assert torch.equal(new, image)
        assert torch.equal(mask, label)

    def test_flips_move_image_and_label_together(self) -> None:
        image, label = brain()
        image[0] = label  # a channel that shows the label
        settings = STILL.model_copy(update={"flip": 0.5})
        results = [augment(image, label, settings, np.random.default_rng(seed)) for seed in range(40)]
        assert all(torch.equal(new[0], mask.float()) for new, mask in results)
        assert len({mask.numpy().tobytes() for _, mask in results}) == 8

    def test_all_axes_flip(self) -> None:
        image, label = brain()
        new, mask = augment(image, label, STILL.model_copy(update={"flip": 1}), np.random.default_rng(0))
        assert torch.equal(new, image.flip(1, 2, 3))
        assert torch.equal(mask, label.flip(0, 1, 2))

    def test_background_stays_0(self) -> None:
        for seed in range(10):
            image, label = brain(seed)
            new, _ = augment(image, label, ALL, np.random.default_rng(seed))
            assert not new[image.flip(1, 2, 3) == 0].any()
            assert not torch.equal(new, image.flip(1, 2, 3))

    def test_the_same_generator_gives_the_same(self) -> None:
        image, label = brain()
        one, other, third = (augment(image, label, ALL, np.random.default_rng(s))[0] for s in (7, 7, 8))
        assert torch.equal(one, other)
        assert not torch.equal(one, third)

    def test_the_patch_given_is_left_alone(self) -> None:
        image, label = brain()
        kept = image.clone()
        augment(image, label, ALL.model_copy(update={"flip": 0}), np.random.default_rng(0))
        assert torch.equal(image, kept)

    def test_intensities_keep_their_order(self) -> None:
        image, label = brain()
        settings = STILL.model_copy(update={"intensity": 1})
        for seed in range(10):
            new, _ = augment(image, label, settings, np.random.default_rng(seed))
            for before, after in zip(image, new, strict=True):
                inside = before != 0
                order = before[inside].argsort()
                assert (after[inside][order].diff() >= -1e-5).all()
                assert not torch.equal(before, after)

    def test_brightness_and_contrast_by_pencil(self) -> None:
        image, label = brain()
        fixed = {"gamma": (1.0, 1.0), "contrast": (1.5, 1.5), "brightness": 0.0, "intensity": 1}
        new, _ = augment(image, label, STILL.model_copy(update=fixed), np.random.default_rng(0))
        assert torch.allclose(new, 1.5 * image, atol=1e-5)

    def test_gamma_by_pencil(self) -> None:
        image, label = torch.zeros(1, 2, 2, 2), torch.zeros(2, 2, 2, dtype=torch.uint8)
        image.view(-1)[:] = torch.tensor([-1.0, 3, 1, 2, 0.5, 0.5, 0.5, 0.5])
        fixed = {"gamma": (2.0, 2.0), "contrast": (1.0, 1.0), "brightness": 0.0, "intensity": 1}
        new, _ = augment(image, label, STILL.model_copy(update=fixed), np.random.default_rng(0))
        # (value + 1) / 4 is the share of the range -1..3; it is squared
        assert torch.allclose(new.view(-1)[:4], torch.tensor([-1.0, 3, 0, 1.25]), atol=1e-5)

    def test_a_constant_channel_stays_finite(self) -> None:
        image, label = torch.ones(4, 4, 4, 4), torch.zeros(4, 4, 4, dtype=torch.uint8)
        new, _ = augment(image, label, ALL, np.random.default_rng(0))
        assert torch.isfinite(new).all()

    def test_noise_is_no_stronger_than_asked(self) -> None:
        image, label = torch.full((4, 16, 16, 16), 5.0), torch.zeros(16, 16, 16, dtype=torch.uint8)
        settings = STILL.model_copy(update={"noise_chance": 1, "noise": 0.2})
        spread = [
            float((augment(image, label, settings, np.random.default_rng(s))[0] - 5).std()) for s in range(20)
        ]
        assert 0 < min(spread) < max(spread) < 0.205
        assert max(spread) > 0.1

    @pytest.mark.parametrize("shape", [(4, 16, 16, 16), (4, 16, 16, 1)])
    def test_blur_loses_detail_but_not_the_mean(self, shape: tuple[int, ...]) -> None:
        image = 5 + torch.randn(shape, generator=torch.Generator().manual_seed(0))
        label = torch.zeros(shape[1:], dtype=torch.uint8)
        new, _ = augment(image, label, STILL.model_copy(update={"blur": 1}), np.random.default_rng(0))
        assert (new.std(dim=(1, 2, 3)) < 0.95 * image.std(dim=(1, 2, 3))).all()
        assert torch.allclose(new.mean(dim=(1, 2, 3)), image.mean(dim=(1, 2, 3)), atol=0.1)


class TestBending:
    BENT = AugmentSettings(affine=0, elastic=1, elastic_voxels=3)

    def test_the_faces_of_a_patch_stay_where_they_are(self) -> None:
        image, label = linear((32, 32, 32)), np.zeros((32, 32, 32), np.uint8)
        warp = draw_warp(np.random.default_rng(0), self.BENT, (16, 16, 16))
        assert not warp.is_straight
        bent, _ = sample_patch(image, label, centre(16, 16, 16), warp)
        straight, _ = sample_patch(image, label, centre(16, 16, 16), Warp((16, 16, 16), np.eye(3)))
        assert torch.allclose(bent[:, 0], straight[:, 0], atol=1.0)
        moved = (bent - straight).abs()[0]
        assert moved[5:11, 5:11, 5:11].max() > 20
        assert moved[0].max() < 1

    def test_a_slice_stays_in_its_plane(self) -> None:
        warp = draw_warp(np.random.default_rng(0), self.BENT, (16, 16, 1))
        assert warp.bend is not None
        assert not warp.bend[2].any()


class TestSequencesLeftOut:
    def test_any_number_but_none_and_all(self) -> None:
        settings = STILL.model_copy(update={"drop_modality": 1.0})
        rng, kept = np.random.default_rng(0), set()
        for _ in range(200):
            image, _ = augment(torch.ones(4, 4, 4, 4), torch.zeros(4, 4, 4), settings, rng)
            kept.add(tuple(channel.any().item() for channel in image))
        assert len(kept) == 14

    def test_the_likelier_sequences_are_left_out_more_often(self) -> None:
        settings = STILL.model_copy(update={"drop_modality": 1.0, "drop_shares": (0.7, 0.3, 0.7, 0.3)})
        rng, pairs = np.random.default_rng(0), 0
        for _ in range(1000):
            image, _ = augment(torch.ones(4, 2, 2, 2), torch.zeros(2, 2, 2), settings, rng)
            pairs += image.any(dim=(1, 2, 3)).tolist() == [False, True, False, True]
        # 0.7^4 of all sets, without none and all, which have 0.7^2 * 0.3^2 each; 3 standard errors
        share = 0.7**4 / (1 - 2 * 0.21**2)
        assert abs(pairs / 1000 - share) < 3 * (share * (1 - share) / 1000) ** 0.5

    def test_one_sequence_is_never_left_out(self) -> None:
        settings = STILL.model_copy(update={"drop_modality": 1.0})
        image, _ = augment(torch.ones(1, 4, 4, 4), torch.zeros(4, 4, 4), settings, np.random.default_rng(0))
        assert image.all()


class TestAFieldOfViewThatEnds:
    CUT = STILL.model_copy(update={"truncate_fov": 1.0})

    def test_one_sequence_ends_at_a_plane(self) -> None:
        rng, ends = np.random.default_rng(0), set()
        for _ in range(200):
            image, _ = augment(torch.ones(4, 6, 6, 6), torch.zeros(6, 6, 6), self.CUT, rng)
            cut = [channel.numpy() for channel in image if not channel.all()]
            assert len(cut) <= 1
            for channel in cut:
                axes = [a for a in range(3) if not channel.any(tuple({0, 1, 2} - {a})).all()]
                assert len(axes) == 1
                there = channel.any(tuple({0, 1, 2} - {axes[0]}))
                assert np.count_nonzero(np.diff(there)) <= 1
                ends.add((axes[0], bool(there[0])))
        assert len(ends) == 6

    def test_a_slice_is_cut_within_its_plane(self) -> None:
        for seed in range(50):
            image, _ = augment(
                torch.ones(2, 6, 6, 1), torch.zeros(6, 6, 1), self.CUT, np.random.default_rng(seed)
            )
            assert sorted(bool(channel.all()) for channel in image) == [False, True]
            assert all(channel.any() for channel in image)

    @pytest.mark.parametrize("channels", [1, 4])
    def test_the_last_sequence_is_never_cut(self, channels: int) -> None:
        settings = self.CUT.model_copy(update={"drop_modality": 1.0})
        for seed in range(50):
            rng = np.random.default_rng(seed)
            image, _ = augment(torch.ones(channels, 6, 6, 6), torch.zeros(6, 6, 6), settings, rng)
            assert any(channel.all() for channel in image)


def test_a_bias_field_is_smooth_and_keeps_the_background() -> None:
    settings = STILL.model_copy(update={"bias": 1.0, "bias_strength": 0.3})
    image = torch.rand(1, 24, 24, 24) + 1
    image[:, :4] = 0
    shaded, _ = augment(image.clone(), torch.zeros(24, 24, 24), settings, np.random.default_rng(0))
    assert not shaded[:, :4].any()
    factor = shaded[0, 4:] / image[0, 4:]
    assert factor.std() > 0.02
    assert np.exp(-0.3) - 1e-3 <= factor.min() <= factor.max() <= np.exp(0.3) + 1e-3
    assert factor.diff(dim=0).abs().max() < 0.1
