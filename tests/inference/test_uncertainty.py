"""Probabilities as maps, entropy and ranges: by pencil, and read back by evaluate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from gliomaseg import Segmenter
from gliomaseg.cases.case import Case
from gliomaseg.evaluation.evaluation import evaluate
from gliomaseg.inference.uncertainty import (
    Uncertainty,
    calibrate,
    entropy,
    estimate_uncertainty,
    nested,
    uncertainty_maps,
)
from gliomaseg.labels import Region
from gliomaseg.settings.loading import load_settings

WT, TC, ET = Region
#: Two voxels: region first, then (x, y, z).
TWO = np.array([[0.5, 1.0], [0.75, 0.25], [0.1, 0.4]], np.float32)[:, :, None, None]


def values(array: np.ndarray[Any, Any]) -> list[float]:
    return [round(float(v), 3) for v in array.ravel()]


def test_regions_are_nested() -> None:
    found = {region: values(array) for region, array in nested(TWO, load_settings())}
    assert found == {WT: [0.5, 1.0], TC: [0.5, 0.25], ET: [0.1, 0.25]}


def test_the_order_of_the_network_does_not_matter() -> None:
    settings = load_settings("unet3d", ["network.regions=[et, wt, tc]"])
    found = {region: values(array) for region, array in nested(TWO[[2, 0, 1]], settings)}
    assert found == {WT: [0.5, 1.0], TC: [0.5, 0.25], ET: [0.1, 0.25]}


def test_entropy_in_bits() -> None:
    # a quarter: 0.25 * 2 + 0.75 * log2(4 / 3) = 0.8113
    found = entropy(np.array([0, 0.25, 0.5, 0.75, 1], np.float32))
    np.testing.assert_allclose(found, [0, 0.8113, 1, 0.8113, 0], atol=1e-4)


def test_maps_and_ranges() -> None:
    maps = uncertainty_maps(TWO, load_settings())
    assert sorted(maps) == [
        *("probabilities_et", "probabilities_tc", "probabilities_wt"),
        *("unc_core", "unc_enhance", "unc_whole"),
    ]
    assert values(maps["probabilities_tc"]) == [0.5, 0.25]
    assert values(maps["unc_core"]) == [100, 81]
    assert values(maps["unc_whole"]) == [100, 0]
    assert maps["unc_whole"].dtype == np.uint8


def test_maps_are_calibrated_and_nested() -> None:
    """A quarter has a logit of -log 3; half of it is 0.366, more than the 0.3 of the region around."""
    given = np.float32([[0.3, 1], [0.25, 0.25], [0, 0.25]])[..., None, None]
    maps = uncertainty_maps(given, load_settings("unet3d", ["segment.temperatures=[1, 2, 1]"]))
    assert values(maps["probabilities_wt"]) == pytest.approx([0.3, 1])
    assert values(maps["probabilities_tc"]) == pytest.approx([0.3, 0.366])
    assert values(maps["probabilities_et"]) == pytest.approx([0, 0.25])
    assert values(maps["unc_core"]) == [88, 95]  # -0.3 log2 0.3 - 0.7 log2 0.7; of 0.366


def test_an_interval_is_the_models_range_widened_in_the_logarithm() -> None:
    """16 voxels: 2 above 0.9, 4 above 0.5, 8 above 0.1, so 4 * (2/4)**2 = 1 to 4 * (8/4)**2 = 16.

    Each is 0.5 ml.
    """
    wt = np.repeat(np.float32([0.95, 0.8, 0.3, 0.05]), [2, 2, 4, 8])
    # ET has no voxel above 0.5, and 6 above 0.1; TC may not be larger than WT: not 4 * 2**3
    given = np.stack([wt, wt, np.minimum(wt, 0.3)])[..., None, None]
    given[2, :2] = 0
    found = estimate_uncertainty(given, load_settings("unet3d", ["segment.volume_widths=[2, 3, 1]"]), 0.5)
    assert {region: one.range_ml for region, one in found.items()} == {
        WT: (0.5, 8),
        TC: (0.25, 8),
        ET: (0, 3),
    }


def test_without_cross_validation_there_is_no_interval() -> None:
    assert set(estimate_uncertainty(TWO, load_settings(), 0.001).values()) == {Uncertainty(None, None)}


def test_calibration_divides_logits() -> None:
    # a tenth: logit -log 9; half of it is -log 3, a quarter
    np.testing.assert_allclose(
        calibrate(np.array([0, 0.1, 0.5, 0.9, 1], np.float32), 2), [0, 0.25, 0.5, 0.75, 1], atol=1e-3
    )


def test_predicted_dice_by_pencil() -> None:
    lines = ["segment.dice_lines=[[0, 1], [0.1, 0.5], [-9, 1]]", "segment.min_et_ml=0.2"]
    unsure = np.array([[0.9, 0.6, 0.3, 0.1], [0.4, 0, 0, 0], [0, 0, 0, 0.9]], np.float32)[:, :, None, None]
    found = estimate_uncertainty(unsure, load_settings("unet3d", lines), 1.0)
    assert found[WT].dice == pytest.approx(2 * 1 / (1 + 3)), "one voxel above 0.8, three above 0.2"
    assert found[TC].dice is None, "nothing is above a half"
    assert found[ET].dice is None, "no more probable than the core around it"
    given = np.array([[1, 1, 1], [0.1, 0.9, 0.3], [0, 0.9, 0]], np.float32)[:, :, None, None]
    found = estimate_uncertainty(given, load_settings("unet3d", lines), 1.0)
    assert found[TC].dice == pytest.approx(0.1 + 0.5 * 2 * 1 / (1 + 2))
    assert found[ET].dice == 0, "never below 0"
    found = estimate_uncertainty(given, load_settings("unet3d", [lines[0], "segment.min_et_ml=2"]), 1.0)
    assert found[ET].dice is None, "one voxel is too little to be labelled"
    assert found[TC].dice is not None


def test_evaluate_scores_what_segment_writes(phantom_case: Case, tmp_path: Path) -> None:
    segmenter = Segmenter.load(maps=True)
    folder = segmenter.segment(phantom_case).save(tmp_path / "out")
    seg, stored = (nib.load(folder / f"{name}.nii.gz") for name in ("seg", "probabilities_wt"))
    np.testing.assert_array_equal(stored.affine, seg.affine)
    probability, tumour = np.asarray(stored.dataobj), np.asarray(seg.dataobj) > 0
    threshold = segmenter.settings.segment.thresholds[0]
    assert probability[tumour].min() >= threshold - 0.001  # rounded
    left_out = np.count_nonzero(probability[~tumour] > threshold + 0.001)  # small parts
    assert left_out <= segmenter.settings.segment.min_component_fraction * np.count_nonzero(tumour)
    record = json.loads((folder / "run.json").read_text())
    assert {"probabilities_et.nii.gz", "unc_whole.nii.gz"} <= set(record["outputs"])
    reference = next(iter(phantom_case.images.values())).parent
    found = evaluate(
        tmp_path / "out",
        reference,
        rules="brats2020",
        uncertainty=tmp_path / "out",
        probabilities=tmp_path / "out",
    )
    assert set(found.reliability) == {"wt", "tc", "et"}
    assert any("qu" in name or "unc" in name for name in found.columns)


@pytest.mark.parametrize("maps", [True, False])
def test_maps_are_written_only_when_asked_for(phantom_case: Case, tmp_path: Path, maps: bool) -> None:
    folder = Segmenter.load(maps=maps).segment(phantom_case).save(tmp_path)
    assert (folder / "unc_core.nii.gz").exists() == maps


def test_the_volume_of_little_enhancing_tumour_may_be_none_at_all() -> None:
    """Of 2 voxels, or 1.9 ml: all count where the least is 0.1 ml, surer ones where it is 1 ml, none at 2."""
    little = np.full((3, 2, 1, 1), 0.95, np.float32)
    changes = ["segment.volume_widths=[1, 1, 1]", "segment.dice_lines=[[0, 1], [0, 1], [0, 1]]"]
    for least, low, is_labelled in ((0.1, 2, True), (1, 0, True), (2, 0, False)):
        settings = load_settings("unet3d", [*changes, f"segment.min_et_ml={least}"])
        found = estimate_uncertainty(little, settings, 1.0)[ET]
        assert found.range_ml == (low, 2)
        assert (found.dice is not None) is is_labelled
