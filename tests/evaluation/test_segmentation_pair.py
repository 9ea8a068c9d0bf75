"""The rules of the years: what they name, and what they give where a mask is empty."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gliomaseg.errors import CaseError, SettingsError
from gliomaseg.evaluation.rules import PROFILES, Profile, find_profile
from gliomaseg.evaluation.scores import Column
from gliomaseg.evaluation.segmentation_pair import SegmentationPair
from gliomaseg.imaging.volume import Grid, Segmentation
from gliomaseg.labels import BRATS2021, BRATS2023, BRATS2024_PED, MSD, LabelScheme, Tissue

SHAPE = (30, 20, 16)
ALL_TASKS = [name for name in PROFILES if name.startswith(("brats2023", "brats2024"))]


def paint(*places: tuple[slice, slice, slice, Tissue], scheme: LabelScheme = BRATS2023) -> Segmentation:
    labels = np.zeros(SHAPE, dtype=np.uint8)
    for x, y, z, tissue in places:
        labels[x, y, z] = scheme.values[tissue]
    return Segmentation(labels, Grid(SHAPE, np.eye(4)), scheme)


def tumour(shift: int = 0, scheme: LabelScheme = BRATS2023) -> Segmentation:
    outer, inner = slice(3 + shift, 15 + shift), slice(5 + shift, 11 + shift)
    return paint(
        (outer, slice(3, 15), slice(3, 13), Tissue.OEDEMA),
        (inner, slice(5, 11), slice(5, 11), Tissue.ENHANCING),
        (slice(7 + shift, 9 + shift), slice(7, 9), slice(7, 9), Tissue.NECROSIS),
        scheme=scheme,
    )


def score(prediction: Segmentation, reference: Segmentation, profile: Profile) -> dict[Column, float]:
    return SegmentationPair(prediction, reference).score(profile)


def values(found: dict[Column, float], region: str) -> dict[str, float]:
    return {column.metric: value for column, value in found.items() if column.region == region}


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("brats2020", "brats2020"),
        ("BraTS2018", "brats2020"),
        ("brats2022", "brats2020"),
        ("brats2023", "brats2023-gli"),
        ("brats2024-PED", "brats2024-ped"),
        ("brats2025", "brats2026"),
        (" strict ", "strict"),
    ],
)
def test_profiles_are_found_by_year_and_task(name: str, found: str) -> None:
    assert find_profile(name).name == found


def test_an_unknown_profile_names_the_nearest() -> None:
    with pytest.raises(SettingsError, match="brats2024_gli") as caught:
        find_profile("brats2024_gli")
    assert caught.value.code == "E-SETTING"
    assert caught.value.remedy == "did you mean brats2024-gli?"
    assert all(name in caught.value.expected for name in PROFILES)
    with pytest.raises(SettingsError) as caught:
        find_profile("xyz")
    assert "strict" in caught.value.remedy


def test_the_issue_names_these_profiles() -> None:
    tasks = [f"brats{year}-{task}" for year in (2023, 2024) for task in ("gli", "ssa", "ped", "men", "met")]
    assert set(PROFILES) == {"brats2020", *tasks, "brats2026", "strict"}
    assert all(name == profile.name and profile.source for name, profile in PROFILES.items())


@pytest.mark.parametrize("name", PROFILES)
def test_equal_label_maps_are_perfect(name: str) -> None:
    perfect = {"hd95": 0.0, "asd": 0.0, "lesion_hd95": 0.0, "lesion_fp": 0, "lesion_fn": 0}
    for region in ("wt", "tc", "et"):
        for metric, value in values(score(tumour(), tumour(), find_profile(name)), region).items():
            assert value == perfect.get(metric, 1.0), metric


@pytest.mark.parametrize("name", PROFILES)
def test_scores_are_plain_numbers_each_once(name: str) -> None:
    profile = find_profile(name)
    found = score(tumour(1), tumour(), profile)
    assert all(type(value) is float for value in found.values())
    assert len({(c.region, c.metric) for c in found}) == len(found)
    assert list(dict.fromkeys(c.region for c in found)) == list(profile.parts)
    assert all(math.isfinite(value) for c, value in found.items() if c.region in ("wt", "tc", "et"))


@pytest.mark.parametrize("name", PROFILES)
def test_tissues_are_compared_and_not_integers(name: str) -> None:
    expected = score(tumour(1), tumour(), find_profile(name))
    for scheme in (BRATS2021, MSD, BRATS2024_PED):
        assert score(tumour(1, scheme), tumour(), find_profile(name)) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("name", PROFILES)
def test_one_comparison_serves_all_profiles(name: str) -> None:
    comparison = SegmentationPair(tumour(2), tumour())
    for other in PROFILES.values():
        comparison.score(other)
    alone = score(tumour(2), tumour(), find_profile(name))
    shared = comparison.score(find_profile(name))
    assert shared == pytest.approx(alone, nan_ok=True)


def test_both_empty() -> None:
    nothing = paint()
    for name in ["brats2020", *ALL_TASKS]:
        found = values(score(nothing, nothing, find_profile(name)), "et")
        assert {v for k, v in found.items() if "hd95" in k or k.endswith(("_tp", "_fp", "_fn"))} == {0}
        assert {v for k, v in found.items() if "hd95" not in k and not k.endswith(("_tp", "_fp", "_fn"))} == {
            1
        }
    for name in ("brats2026", "strict"):
        found = values(score(nothing, nothing, find_profile(name)), "et")
        undefined = found.keys() - {"lesion_tp", "lesion_fp", "lesion_fn", "specificity"}
        assert all(math.isnan(found[metric]) for metric in undefined)


@pytest.mark.parametrize(
    ("name", "penalty"),
    [
        ("brats2020", math.sqrt(30**2 + 20**2 + 16**2)),
        ("brats2023-gli", 374),
        ("brats2024-gli", 337),
        ("brats2024-met", 374),
        ("brats2026", 373),
    ],
)
@pytest.mark.parametrize("is_missed", [True, False])
def test_one_empty(name: str, penalty: float, is_missed: bool) -> None:
    pair = (paint(), tumour()) if is_missed else (tumour(), paint())
    found = values(score(*pair, find_profile(name)), "wt")
    assert found["dice"] == 0
    assert found["hd95"] == pytest.approx(penalty)
    if name != "brats2020":
        assert (found["lesion_dice"], found["lesion_hd95"]) == (0, penalty)
        assert (found["lesion_fn"], found["lesion_fp"]) == (int(is_missed), int(not is_missed))


def test_one_empty_in_strict_terms() -> None:
    missed = values(score(paint(), tumour(), find_profile("strict")), "wt")
    assert (missed["dice"], missed["sensitivity"], missed["specificity"]) == (0, 0, 1)
    assert all(math.isnan(missed[m]) for m in ("hd95", "asd", "nsd_1mm", "precision"))
    wrong = values(score(tumour(), paint(), find_profile("strict")), "wt")
    assert math.isnan(wrong["sensitivity"])
    assert wrong["precision"] == 0


def test_the_penalty_of_2020_on_the_brats_grid() -> None:
    shape = (240, 240, 155)
    labels = np.zeros(shape, dtype=np.uint8)
    empty = Segmentation(labels, Grid(shape, np.eye(4)), BRATS2021)
    speck = labels.copy()
    speck[100, 100, 100] = 4
    found = score(Segmentation(speck, empty.grid, BRATS2021), empty, find_profile("brats2020"))
    assert values(found, "et")["hd95"] == pytest.approx(373.12866, abs=1e-5)
    assert values(found, "et")["dice"] == 0


def test_units_follow_the_rules() -> None:
    units = {name: {c.metric: c.unit for c in score(tumour(1), tumour(), p)} for name, p in PROFILES.items()}
    assert units["brats2020"]["hd95"] == units["brats2026"]["hd95"] == "voxels"
    assert units["brats2023-gli"]["hd95"] == units["brats2023-gli"]["lesion_hd95"] == "mm"
    assert units["brats2023-gli"]["lesion_tp"] == "lesions"
    assert {"nsd_0.5mm", "nsd_1mm", "lesion_nsd_0.5mm", "lesion_nsd_1mm"} < units["brats2024-gli"].keys()
    assert {"nsd_0.5voxels", "lesion_nsd"} < units["brats2026"].keys()


def test_hd95_of_2020_is_in_voxels_and_that_of_2023_in_millimetres() -> None:
    grid = Grid(SHAPE, np.diag([2.0, 2.0, 2.0, 1.0]))
    pair = [Segmentation(t.labels, grid, BRATS2023) for t in (tumour(3), tumour())]
    assert values(score(*pair, find_profile("brats2020")), "wt")["hd95"] == 3
    assert values(score(*pair, find_profile("brats2023")), "wt")["hd95"] == 6


def test_meningioma_keeps_the_lesions_of_2023() -> None:
    pair = paint((slice(2, 6), slice(2, 6), slice(2, 6), Tissue.ENHANCING)), tumour()
    found = [score(*pair, find_profile(f"brats{year}-men")) for year in (2023, 2024)]
    for region in ("wt", "tc", "et"):
        old, new = (values(scores, region) for scores in found)
        assert {metric: new[metric] for metric in old} == old


def test_cysts_are_part_of_a_paediatric_tumour() -> None:
    box = (slice(3, 9), slice(3, 9), slice(3, 9))
    cyst = paint((*box, Tissue.CYST), scheme=BRATS2024_PED)
    found = score(cyst, cyst, find_profile("brats2024-ped"))
    assert values(found, "wt")["lesion_tp"] == values(found, "tc")["lesion_tp"] == 1
    assert values(found, "cc")["lesion_tp"] == 1
    assert values(found, "et")["lesion_tp"] == 0


def test_other_shapes_are_refused() -> None:
    small = Segmentation(np.zeros((2, 2, 2), np.uint8), Grid((2, 2, 2), np.eye(4)), BRATS2023)
    with pytest.raises(CaseError, match="shape"):
        score(small, tumour(), find_profile("brats2020"))
