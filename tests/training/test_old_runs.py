"""A run that gliomaseg 0.1.0 began: resumed, exported, or refused in words. See fixtures/0.1.0/README.md."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gliomaseg.cases.case import Case
from gliomaseg.cases.find import find_cases
from gliomaseg.errors import TrainingError
from gliomaseg.settings.loading import load_settings
from gliomaseg.settings.schema import Settings
from gliomaseg.training.export import export
from gliomaseg.training.run import load_run, read_checkpoint
from gliomaseg.training.train import train

#: The command of the README in the words of 0.1.0.
AS_BEGUN = (
    "network.filters=[4,4,4]", "training.patch=[32,32,32]", "training.workers=0", "training.warmup_steps=1",
    "training.precision=fp32", "training.folds=2", "segment.least_et_voxels=50", "prepare.even_out=0.25",
    "augment.cut=0.2", "augment.pale=0.1", "training.faint_times=2", "segment.least_part=0.05",
)  # fmt: skip


def quiet(_fraction: float, _text: str) -> None:
    """Say nothing."""


def as_begun(*changes: str) -> Settings:
    return load_settings("unet3d", [*AS_BEGUN, *changes])


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Return a copy of the run folder of 0.1.0."""
    return Path(shutil.copytree(Path(__file__).parent / "fixtures" / "0.1.0", tmp_path / "old"))


@pytest.fixture
def small_cases(phantom_folder: Path, tmp_path: Path) -> list[Case]:
    """Return the phantoms with voxels of 1 mm instead of 3, so that they are prepared without resampling."""
    data = Path(shutil.copytree(phantom_folder, tmp_path / "data"))
    for path in data.rglob("*.nii.gz"):
        image = nib.load(path)
        nib.save(nib.Nifti1Image(np.asarray(image.dataobj), image.affine / [[3], [3], [3], [1]]), path)
    return find_cases(data)


def test_it_resumes(old: Path, small_cases: list[Case]) -> None:
    run = train(small_cases, old, as_begun("training.steps=6"), progress=quiet)
    tensors, about = read_checkpoint(run.checkpoint)
    before, _ = read_checkpoint(Path(__file__).parent / "fixtures" / "0.1.0" / "checkpoint.safetensors")
    assert about["step"] == "6"
    assert tensors.keys() == before.keys()
    assert [(row.step, row.final) for row in run.read_history().rows] == [(4, True), (6, True)]


def test_it_is_exported_in_present_units(old: Path, tmp_path: Path) -> None:
    settings = export(load_run(old), tmp_path / "model").settings
    assert settings.segment.min_et_ml == 0.05
    assert settings.segment.min_component_fraction == 0.05
    assert settings.prepare.bias_correction == 0.25
    assert (settings.augment.truncate_fov, settings.augment.lesion_contrast) == (0.2, 0.1)
    assert settings.training.oversample_small_et == 2


def test_other_settings_are_refused_by_their_present_names(old: Path, small_cases: list[Case]) -> None:
    with pytest.raises(TrainingError, match=r"E-RUN.*augment.truncate_fov was 0.2, is 0.3"):
        train(small_cases, old, as_begun("augment.cut=0.3"), progress=quiet)
