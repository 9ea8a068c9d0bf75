"""The picture of augmented patches: one row a patch, one column a sequence, outlined."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from gliomaseg.training.cache import PreparedCase
from gliomaseg.training.dataset import PatchDataset
from gliomaseg.training.patch_sheet import draw_patch_sheet, write_patch_sheet


def test_rows_and_columns(tiny, prepared: list[PreparedCase]) -> None:
    patches = PatchDataset(prepared, tiny("training.centre_on=[1, 0, 0]"))
    figure = draw_patch_sheet(patches, rows=2)
    assert [axes.get_title() for axes in figure.axes[:4]] == ["T1", "T1 contrast", "T2", "FLAIR"]
    assert len(figure.axes) == 8
    assert figure.axes[4].get_ylabel() == patches.describe(1).partition(",")[0]
    assert all(axes.images and axes.collections for axes in figure.axes)  # grey levels and outlines


def test_slices_and_fewer_sequences(tmp_path: Path, tiny, prepared: list[PreparedCase]) -> None:
    patches = PatchDataset(prepared, tiny("training.batch=4", preset="unet2d"))
    write_patch_sheet(patches, tmp_path / "a.png", rows=3)
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (1020, 800)
