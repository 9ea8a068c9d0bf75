"""Label schemes: what each integer means, which regions nest, and what is refused."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gliomaseg.errors import LabelError, SettingsError
from gliomaseg.labels import (
    BRATS2021,
    BRATS2023,
    BRATS2024,
    MODALITY_NAMES,
    MODALITY_TITLES,
    MSD,
    REGION_TISSUES,
    REGION_TITLES,
    SCHEMES,
    TISSUE_TITLES,
    LabelScheme,
    Modality,
    Region,
    Tissue,
    find_scheme,
)

NCR, ED, ET, RC, CC = Tissue


def test_channel_order_is_fixed() -> None:
    assert [*Modality] == ["t1n", "t1c", "t2w", "t2f"]
    assert [*Region] == ["wt", "tc", "et"]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("brats2021", {NCR: 1, ED: 2, ET: 4}),
        ("brats2023", {NCR: 1, ED: 2, ET: 3}),
        ("brats2024", {NCR: 1, ED: 2, ET: 3, RC: 4}),
        ("brats2024-ped", {ET: 1, NCR: 2, CC: 3, ED: 4}),
        ("msd", {ED: 1, NCR: 2, ET: 3}),
    ],
)
def test_schemes_are_those_of_the_organisers(name: str, values: dict[Tissue, int]) -> None:
    assert dict(SCHEMES[name].values) == values
    assert SCHEMES[name].name == name
    assert SCHEMES[name].allowed == {0, *values.values()}


@pytest.mark.parametrize(
    ("alias", "modality"),
    [("t1", "t1n"), ("t1ce", "t1c"), ("t1gd", "t1c"), ("t2", "t2w"), ("flair", "t2f"), ("t2f", "t2f")],
)
def test_modality_aliases(alias: str, modality: str) -> None:
    assert MODALITY_NAMES[alias] == modality


def test_everything_has_a_title() -> None:
    assert set(MODALITY_TITLES) == set(Modality)
    assert set(TISSUE_TITLES) == set(Tissue)
    assert set(REGION_TITLES) == set(REGION_TISSUES) == set(Region)


def test_regions_nest_and_the_cavity_is_no_tumour() -> None:
    assert REGION_TISSUES[Region.ET] < REGION_TISSUES[Region.TC] < REGION_TISSUES[Region.WT]
    assert RC not in REGION_TISSUES[Region.WT]


@pytest.mark.parametrize(
    ("scheme", "labels", "wt", "tc", "et"),
    [
        (BRATS2021, [0, 1, 2, 4], [0, 1, 1, 1], [0, 1, 0, 1], [0, 0, 0, 1]),
        (BRATS2023, [0, 1, 2, 3], [0, 1, 1, 1], [0, 1, 0, 1], [0, 0, 0, 1]),
        (BRATS2024, [0, 1, 2, 3, 4], [0, 1, 1, 1, 0], [0, 1, 0, 1, 0], [0, 0, 0, 1, 0]),
        (MSD, [0, 1, 2, 3], [0, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 1]),
    ],
)
def test_masks_by_pencil(
    scheme: LabelScheme, labels: list[int], wt: list[int], tc: list[int], et: list[int]
) -> None:
    array = np.array(labels, dtype=np.uint8)
    for region, expected in zip(Region, (wt, tc, et), strict=True):
        mask = scheme.mask(array, region)
        assert mask.dtype == bool
        assert mask.tolist() == [bool(e) for e in expected]


def test_the_mask_of_a_tissue_that_the_scheme_lacks_is_empty() -> None:
    assert not BRATS2021.mask(np.array([0, 1, 2, 4], np.uint8), RC).any()
    assert BRATS2024.mask(np.array([[3, 4]], np.uint8), RC).tolist() == [[False, True]]


@given(hnp.arrays(np.uint8, hnp.array_shapes(max_dims=3, max_side=5), elements=st.integers(0, 255)))
def test_masks_nest_for_any_labels(labels: npt.NDArray[np.uint8]) -> None:
    for scheme in SCHEMES.values():
        wt, tc, et = (scheme.mask(labels, region) for region in Region)
        assert wt.shape == labels.shape
        assert not (et & ~tc).any()
        assert not (tc & ~wt).any()


@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "i4", "i8", "u8", "f4", "f8"])
def test_check_returns_uint8_of_the_same_values(kind: str) -> None:
    labels = np.array([[0, 1], [2, 4]], dtype=kind)
    checked = BRATS2021.check(labels, "seg")
    assert checked.dtype == np.uint8
    assert checked.tolist() == [[0, 1], [2, 4]]


def test_check_of_booleans() -> None:
    assert BRATS2021.check(np.array([False, True]), "seg").tolist() == [0, 1]


@pytest.mark.parametrize("value", [2.9999999993, 3.0000001, 3.009, 2.991])
def test_almost_whole_numbers_are_rounded(value: float) -> None:
    assert BRATS2023.check(np.array([0.0, -0.001, value]), "seg").tolist() == [0, 0, 3]


@pytest.mark.parametrize("value", [0.5, 2.98, 3.02, np.nan, np.inf, -np.inf])
def test_fractional_labels_are_refused(value: float) -> None:
    with pytest.raises(
        LabelError, match=f"x/seg.nii holds fractional values, for example {value:g}"
    ) as caught:
        BRATS2023.check(np.array([0, 1, 2, value]), "x/seg.nii")
    assert caught.value.code == "E-LABEL"
    assert "nearest neighbour" in caught.value.remedy


def test_a_label_of_another_scheme_names_both_schemes() -> None:
    with pytest.raises(LabelError) as caught:
        BRATS2021.check(np.array([0, 1, 2, 3, 3], np.uint8), "x/seg.nii")
    assert caught.value.code == "E-LABELS"
    assert "x/seg.nii" in caught.value.what
    assert "3 (2 voxels)" in caught.value.what
    assert "brats2021" in caught.value.expected
    assert "--scheme brats2023" in caught.value.remedy
    assert "--scheme brats2021" not in caught.value.remedy


@pytest.mark.parametrize("value", [5, 255, 256, 300, -1, 2**40])
def test_labels_of_no_scheme_are_refused_and_never_wrapped(value: int) -> None:
    with pytest.raises(LabelError, match="no scheme known") as caught:
        BRATS2021.check(np.array([0, 1, value], dtype=np.int64), "seg")
    assert caught.value.code == "E-LABELS"
    assert str(value) in caught.value.what


def test_an_empty_label_map_is_of_every_scheme() -> None:
    for scheme in SCHEMES.values():
        assert not scheme.check(np.zeros((2, 2, 2), np.int16), "seg").any()


def test_scheme_in_words() -> None:
    assert BRATS2021.describe() == "1 necrotic / non-enhancing core, 2 oedema, 4 enhancing tumour"


def test_find_scheme_ignores_case_and_lists_what_there_is() -> None:
    assert find_scheme("BraTS2023") is BRATS2023
    with pytest.raises(SettingsError, match="brats2019") as caught:
        find_scheme("brats2019")
    assert caught.value.code == "E-SETTING"
    assert all(name in caught.value.expected for name in SCHEMES)
