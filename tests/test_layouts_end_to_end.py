"""One exam in several layouts: the same voxels are read, and the same label map is written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gliomaseg.cases.case import Case
from gliomaseg.cases.find import find_cases
from gliomaseg.cases.headers import stored_size
from gliomaseg.cases.read import read_case
from gliomaseg.errors import GliomasegError
from gliomaseg.imaging.nifti import read_grid
from gliomaseg.imaging.phantom import Phantom
from gliomaseg.labels import MSD, Modality

pytestmark = pytest.mark.slow

Run = Callable[..., tuple[int, str, str]]

T1N, T1C, T2W, T2F = Modality
NAMES = {
    "BIDS": "sub-1/ses-1/anat/sub-1_ses-1_{}.nii.gz T1w ce-gadolinium_T1w T2w FLAIR",
    "nnU-Net": "D/imagesTs/phantom_{}.nii.gz 0001 0002 0000 0003",
    "plain": "phantom/{}.nii.gz t1 t1ce t2 flair",
    "UCSF-PDGM": "x/UCSF-PDGM-0004_{}.nii.gz T1_bias T1c T2 FLAIR",
}
CHANNELS = {"0": "T2", "1": "T1", "2": "T1ce", "3": "FLAIR"}


def copy_as(layout: str, case: Case, root: Path) -> Path:
    """Copy the images of a case under the names of a layout; the Decathlon's are stacked in one file."""
    if layout == "MSD":
        return stack(case, root)
    pattern, *parts = NAMES[layout].split()
    for part, path in zip(parts, case.images.values(), strict=True):
        target = root / pattern.format(part)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    if layout == "nnU-Net":
        (root / "D" / "dataset.json").write_text(json.dumps({"channel_names": CHANNELS}))
    return root


def stack(case: Case, root: Path, order: tuple[Modality, ...] = (T2F, T1N, T1C, T2W)) -> Path:
    images = [nib.load(case.images[modality]) for modality in order]
    array = np.stack([np.asarray(image.dataobj) for image in images], axis=-1)
    (root / "imagesTr").mkdir(parents=True)
    nib.save(nib.Nifti1Image(array, None, images[0].header), root / "imagesTr" / "BRATS_001.nii.gz")
    if case.reference:
        (root / "labelsTr").mkdir()
        label = nib.load(case.reference)
        values = np.array([0, 2, 1, 0, 3], dtype=np.uint8)[np.asarray(label.dataobj)]
        nib.save(nib.Nifti1Image(values, None, label.header), root / "labelsTr" / "BRATS_001.nii.gz")
    names = {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"}
    labels = {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"}
    (root / "dataset.json").write_text(json.dumps({"modality": names, "labels": labels}))
    return root


@pytest.mark.parametrize("layout", [*NAMES, "MSD"])
def test_the_same_label_map_in_every_layout(
    layout: str, phantom_case: Case, tmp_path: Path, run: Run
) -> None:
    code, _, err = run("segment", phantom_case.images[T1N].parent, "-o", tmp_path / "brats")
    assert code == 0, err
    code, _, err = run("segment", copy_as(layout, phantom_case, tmp_path / "data"), "-o", tmp_path / "out")
    assert code == 0, err
    (case,) = find_cases(tmp_path / "data")
    maps = [tmp_path / "brats" / phantom_case.id / "seg.nii.gz", tmp_path / "out" / case.id / "seg.nii.gz"]
    assert maps[0].read_bytes() == maps[1].read_bytes()
    record = json.loads((tmp_path / "out" / case.id / "run.json").read_text())
    channels = [found.get("channel") for found in record["inputs"].values()]
    assert channels == ([1, 2, 3, 0] if layout == "MSD" else [None] * 4)


def test_stacked_sequences_are_read_like_single_ones(
    phantom_case: Case, phantom: Phantom, tmp_path: Path
) -> None:
    (case,) = find_cases(stack(phantom_case, tmp_path))
    volume = read_case(case, tuple(Modality))
    np.testing.assert_array_equal(volume.array, phantom.images.array)
    assert read_grid(case.images[T2F], channel=case.channels.get(T2F)).matches(phantom.images.grid)
    assert stored_size(case, (T1N, T2F)) == stored_size(phantom_case, (T1N, T2F))
    np.testing.assert_array_equal(read_case(case, (T2F, T1C)).array, phantom.images.array[[3, 1]])
    assert case.scheme is MSD


def test_a_stack_without_a_channel_or_a_dataset_json(phantom_case: Case, tmp_path: Path) -> None:
    root = stack(phantom_case, tmp_path, (T2F, T1N))
    (case,) = find_cases(root)
    with pytest.raises(GliomasegError, match="80 x 80 x 52 x 2") as caught:
        read_case(case, tuple(Modality))
    assert caught.value.code == "E-NDIM"
    alone = Case("a", {T1N: case.images[T1N]})
    with pytest.raises(GliomasegError, match="80 x 80 x 52 x 2") as caught:
        read_case(alone, (T1N,))
    assert "dataset.json" in caught.value.remedy


def test_the_decathlons_references_are_scored_by_dataset_json(
    phantom_case: Case, tmp_path: Path, run: Run
) -> None:
    root = stack(phantom_case, tmp_path / "data")
    predictions = tmp_path / "predictions"
    predictions.mkdir()
    shutil.copyfile(str(phantom_case.reference), predictions / "BRATS_001.nii.gz")
    for references in (root, root / "labelsTr"):
        options = ("--prediction-scheme", "brats2021", "--jobs", 1, "-o", tmp_path / references.name)
        code, out, err = run("evaluate", predictions, references, *options, "--json")
        assert code == 0, out + err
        assert json.loads(out)
        assert '"dice_et": 1.0' in out, out[:600]
    pictures = [
        (tmp_path / name / "scores.html").read_text().count("close up") for name in ("data", "labelsTr")
    ]
    assert pictures[0] > pictures[1]  # with the images, the scan itself is drawn, too
