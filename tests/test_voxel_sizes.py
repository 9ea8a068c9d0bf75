"""Cases whose voxels are not 1 mm: computed at 1 mm, labels on their own grid; and those of 1 mm as ever."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gliomaseg import Segmenter
from gliomaseg.cases.case import Case
from gliomaseg.cases.content import check_content
from gliomaseg.cases.read import read_case
from gliomaseg.evaluation.metrics import dice
from gliomaseg.imaging.nifti import read_image, read_labels, write_image
from gliomaseg.imaging.prepare import prepare
from gliomaseg.imaging.volume import Grid
from gliomaseg.inference.postprocess import label_regions
from gliomaseg.inference.predict import predict
from gliomaseg.inference.uncertainty import calibrate, entropy
from gliomaseg.labels import BRATS2021, Modality, Region

SLICES = 5


def means(image: np.ndarray) -> np.ndarray:
    """Return the mean of every five slices."""
    count = image.shape[2] // SLICES
    cut = image[..., : count * SLICES]
    return cut.reshape(*image.shape[:2], count, SLICES).mean(-1)


@pytest.fixture
def thick_case(real_cases: list[Case], tmp_path: Path) -> Case:
    """Return a real case as slices of 5 mm, in which 0.1.0 found 0 of 32 ml."""
    (case,) = (case for case in real_cases if case.id == "Brats18_CBICA_ALU_1")
    paths = {}
    for modality, path in case.images.items():
        image, grid = read_image(path)
        affine = grid.affine.copy()
        affine[:3, 3] += affine[:3, 2] * (SLICES - 1) / 2
        affine[:3, 2] *= SLICES
        paths[modality] = tmp_path / f"thick-{modality}.nii"
        thick = means(image).astype(np.float32)
        write_image(paths[modality], thick, Grid(thick.shape, affine))
    return Case("thick", paths, reference=case.reference)


def test_thick_slices_keep_their_tumour(thick_case: Case, tmp_path: Path) -> None:
    result = Segmenter.load(maps=True).segment(thick_case)
    assert result.segmentation.grid.spacing == pytest.approx((1, 1, SLICES))
    expert = read_labels(Path(str(thick_case.reference)), BRATS2021)
    for region, least in zip(Region, (0.8, 0.8, 0.7), strict=True):
        assert dice(result.segmentation.mask(region), means(expert.mask(region)) >= 0.5) > least
        ml = result.segmentation.mask(region).sum() * result.segmentation.grid.voxel_ml
        assert ml == pytest.approx(result.measurements.volume_ml(region), rel=0.06)
    assert "W-THICK" in {note.code for note in result.notes}

    folder = result.save(tmp_path / "out")
    stored, image = (nib.load(path) for path in (folder / "seg.nii.gz", thick_case.images[Modality.T1C]))
    np.testing.assert_array_equal(stored.affine, image.affine)
    assert stored.shape == image.shape
    probability = np.asarray(nib.load(folder / "probabilities_wt.nii.gz").dataobj)
    tumour = np.asarray(stored.dataobj) > 0
    assert probability[tumour].min() >= 0.499, "rounded"
    assert (probability[~tumour] > 0.501).mean() < 0.0001, "small parts that were left out"
    measured = json.loads((folder / "measurements.json").read_text(encoding="utf-8"))
    assert measured["measured_on"] == "1 mm"
    assert measured["voxel_volume_ml"] == pytest.approx(0.001)
    assert measured["quality"] != "pass"
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "Measured at 1 mm" in page
    assert "1 x 1 x 5 mm" in page
    assert nib.load(folder / "seg.nii.gz").shape[2] == 31


@pytest.mark.parametrize("of", ["phantom", "patient"])
def test_a_case_of_1_mm_is_labelled_to_the_byte_as_before(of: str, request: pytest.FixtureRequest) -> None:
    """Labels and maps are those of the steps without any for other voxel sizes: read, prepare, predict."""
    case = (
        request.getfixturevalue("full_case") if of == "phantom" else request.getfixturevalue("real_cases")[3]
    )
    segmenter = Segmenter.load(maps=True)
    result, settings = segmenter.segment(case), segmenter.settings

    images = check_content(read_case(case, tuple(Modality)), case.id)
    prepared = prepare(images, settings.prepare, settings.network.modalities)
    probabilities = predict(prepared.image, segmenter.engine, settings)
    labels = prepared.restore(label_regions(probabilities, settings, BRATS2021))
    assert result.standardised is result.segmentation
    assert result.measurements.measured_on == "native"
    assert result.segmentation.labels.tobytes(order="F") == labels.tobytes(order="F")
    assert settings.segment.temperatures
    whole = calibrate(probabilities[0], settings.segment.temperatures[0])
    known = {"probabilities_wt": (whole * 1000).round() / np.float32(1000)}
    known["unc_whole"] = (100 * entropy(whole)).round().astype(np.uint8)
    for name, found in known.items():
        assert result.maps[name].tobytes(order="F") == prepared.restore(found).tobytes(order="F"), name
