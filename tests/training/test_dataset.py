"""Patches by number."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from gliomaseg.settings.schema import Settings
from gliomaseg.training.cache import PreparedCase
from gliomaseg.training.dataset import PatchDataset

NO_AUGMENT = ("augment.flip=0", "augment.affine=0", "augment.intensity=0", "augment.noise_chance=0")
PLAIN = (*NO_AUGMENT, "augment.blur=0", "augment.bias=0", "augment.truncate_fov=0")

Store = Callable[[Path, np.ndarray, np.ndarray], PreparedCase]


def quiet(_fraction: float, _text: str) -> None:
    """Say nothing."""


def stamps(folder: Path) -> dict[str, int]:
    """Return what changes when a prepared case is written again: the inode of each file."""
    return {path.name: path.stat().st_ino for path in sorted(folder.iterdir())}


def same(one: tuple[torch.Tensor, ...], other: tuple[torch.Tensor, ...]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


class TestPatches:
    def test_a_number_always_gives_the_same_patch(self, prepared: list[PreparedCase], tiny) -> None:
        settings: Settings = tiny("augment.affine=1", "augment.blur=1", "augment.noise_chance=1")
        one, other = PatchDataset(prepared, settings), PatchDataset(prepared, settings)
        forwards = [one[number] for number in range(6)]
        backwards = [other[number] for number in reversed(range(6))][::-1]
        assert all(same(a, b) for a, b in zip(forwards, backwards, strict=True))
        assert not any(same(forwards[0], patch) for patch in forwards[1:])

    def test_another_seed_gives_another_patch(self, prepared: list[PreparedCase], tiny) -> None:
        one, other = (PatchDataset(prepared, tiny(f"training.seed={seed}")) for seed in (0, 1))
        assert not same(one[0], other[0])

    @pytest.mark.parametrize("preset", ["unet3d", "unet2d"])
    def test_shapes_and_kinds(self, prepared: list[PreparedCase], tiny, preset: str) -> None:
        settings = tiny("network.regions=[tc, wt]", "training.region_weights=[1, 1]",
                        "segment.thresholds=[0.5, 0.5]", preset=preset)  # fmt: skip
        image, regions = PatchDataset(prepared, settings)[3]
        assert image.shape == (4, *settings.training.patch)
        assert regions.shape == (2, *settings.training.patch)
        assert (image.dtype, regions.dtype) == (torch.float16, torch.bool)

    @pytest.mark.parametrize("preset", ["unet3d", "unet2d"])
    def test_regions_are_nested(self, prepared: list[PreparedCase], tiny, preset: str) -> None:
        patches = PatchDataset(prepared, tiny("augment.affine=1", preset=preset))
        wt, tc, et = torch.stack([patches[number][1] for number in range(12)], dim=1)
        assert set(wt.unique().tolist()) == {0, 1}
        assert (wt >= tc).all()
        assert (tc >= et).all()
        assert wt.sum() > tc.sum() > et.sum() > 0

    def test_some_tumours_are_pale(self, prepared: list[PreparedCase], tiny) -> None:
        pale, plain = (PatchDataset(prepared, tiny(*PLAIN, f"augment.lesion_contrast={p}")) for p in (1, 0))
        changed = 0
        for number in range(12):
            (image, label), (before, was) = pale.patch(number), plain.patch(number)
            assert torch.equal(label, was)
            assert bool((image != before).any()) == bool((was > 0).any() and (was == 0).any())
            changed += bool((image != before).any())
        assert changed

    def test_every_case_comes_once_per_round(self, tmp_path: Path, tiny, store: Store) -> None:
        cases = [
            store(tmp_path / str(n), np.full((4, 8, 8, 8), n + 1.0), np.zeros((8, 8, 8))) for n in range(5)
        ]
        patches = PatchDataset(cases, tiny(*PLAIN, "training.patch=[4, 4, 4]"))
        seen = [int(patches[number][0][0, 0, 0, 0]) for number in range(15)]
        rounds = [seen[:5], seen[5:10], seen[10:]]
        assert [sorted(r) for r in rounds] == [[1, 2, 3, 4, 5]] * 3
        assert rounds[0] != rounds[1] or rounds[1] != rounds[2]

    def test_cases_that_hardly_enhance_come_as_often_as_wanted(
        self, tmp_path: Path, tiny, store: Store
    ) -> None:
        cases = []
        for number, enhancing in enumerate((0, 1000, 1001)):
            label = np.zeros((16, 16, 16))
            label.flat[:enhancing] = 3
            cases.append(store(tmp_path / str(number), np.full((4, 16, 16, 16), number + 1.0), label))
        patches = PatchDataset(
            cases, tiny(*PLAIN, "training.patch=[4, 4, 4]", "training.oversample_small_et=3")
        )
        seen = [int(patches[number][0].max()) for number in range(14)]
        assert [sorted(seen[:7]), sorted(seen[7:])] == [[1, 1, 1, 2, 2, 2, 3]] * 2

    @pytest.mark.parametrize("kind", [0, 1, 2])
    def test_patches_are_centred_where_wanted(self, tmp_path: Path, tiny, store: Store, kind: int) -> None:
        label = np.zeros((24, 24, 24))
        label[4:10, 12, 12], label[5, 12, 12] = 2, 1  # oedema along x, one voxel of core
        image = np.zeros((4, 24, 24, 24))
        image[:, 4:20, 12, 12] = np.arange(4, 20)
        chances = ["[1, 0, 0]", "[0, 1, 0]", "[0, 0, 1]"][kind]
        settings = tiny(*PLAIN, "training.patch=[2, 2, 2]", f"training.centre_on={chances}")
        patches = PatchDataset([store(tmp_path / "a", image, label)], settings)
        centres = {int(patches[number][0][0, 1, 1, 1]) for number in range(60)}
        assert centres == [{5}, set(range(4, 10)), set(range(4, 20))][kind]

    def test_a_patch_larger_than_the_case_is_padded_with_0(self, tmp_path: Path, tiny, store: Store) -> None:
        label = np.zeros((20, 40, 8))
        label[10:12, 19:21, 2:4] = 3
        case = store(tmp_path / "a", np.ones((4, 20, 40, 8)), label)
        image, regions = PatchDataset([case], tiny(*PLAIN))[0]
        assert image.shape == (4, 32, 32, 32)
        assert image.sum() == 4 * 20 * 32 * 8
        assert [int(region.sum()) for region in regions] == [8, 8, 8]

    def test_a_case_without_tumour(self, tmp_path: Path, tiny, store: Store) -> None:
        image = np.random.default_rng(0).normal(size=(4, 40, 40, 40))
        case = store(tmp_path / "a", image, np.zeros((40, 40, 40)))
        patches = PatchDataset([case], tiny("training.centre_on=[1, 0, 0]"))
        for number in range(3):
            patch, regions = patches[number]
            assert patch.any()
            assert not regions.any()
