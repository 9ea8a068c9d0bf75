"""From probabilities to labels, by pencil and for any probabilities."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gliomaseg.inference.postprocess import enhancing_threshold, label_regions, relabel, tumour_mask
from gliomaseg.labels import SCHEMES, LabelScheme, Region, Tissue
from gliomaseg.settings.loading import load_settings
from gliomaseg.settings.schema import Settings

PROBABILITIES = hnp.arrays(np.float32, (3, 3, 4, 2), elements=st.floats(0, 1, width=32))


def settings(
    regions: str = "wt, tc, et", thresholds: str = "0.5, 0.5, 0.5", least: int = 0, fraction: float = 0
) -> Settings:
    ones = ", ".join("1" for _ in regions.split(","))
    return load_settings(
        changes=[
            f"network.regions=[{regions}]",
            f"training.region_weights=[{ones}]",
            f"segment.thresholds=[{thresholds}]",
            f"segment.min_et_ml={least / 1000}",
            f"segment.min_component_fraction={fraction}",
        ]
    )


def line(*rows: str) -> np.ndarray:
    """Return probabilities (region, x, 1, 1) from digits: tenths."""
    return np.array([[int(c) / 10 for c in row] for row in rows], np.float32)[..., None, None]


@pytest.fixture(params=SCHEMES.values(), ids=SCHEMES)
def scheme(request: pytest.FixtureRequest) -> LabelScheme:
    return request.param


def words(labels: np.ndarray, scheme: LabelScheme) -> str:
    """Return a label map (x, 1, 1) as text: . background, o oedema, n necrosis, e enhancing."""
    letters = {
        Tissue.OEDEMA: "o",
        Tissue.NECROSIS: "n",
        Tissue.ENHANCING: "e",
        Tissue.CAVITY: "c",
        Tissue.CYST: "y",
    }
    by_value = {value: letters[tissue] for tissue, value in scheme.values.items()} | {0: "."}
    return "".join(by_value[int(value)] for value in labels[:, 0, 0])


def test_every_combination(scheme: LabelScheme) -> None:
    masks = list(itertools.product("19", repeat=3))  # (wt, tc, et) is out or in
    labels = label_regions(line(*map("".join, zip(*masks, strict=True))), settings(), scheme)
    assert labels.dtype == np.uint8
    # ET counts only inside TC, TC only inside WT
    assert words(labels, scheme) == "....oone"


def test_a_probability_of_the_threshold_is_outside(scheme: LabelScheme) -> None:
    half = np.full((3, 2, 1, 1), 0.5, np.float32)
    half[:, 1] = np.nextafter(np.float32(0.5), 1)
    assert words(label_regions(half, settings(), scheme), scheme) == ".e"


def test_each_region_has_its_threshold(scheme: LabelScheme) -> None:
    probabilities = line("2468", "2468", "2468")
    chosen = settings(thresholds="0.1, 0.3, 0.7")
    assert words(label_regions(probabilities, chosen, scheme), scheme) == "onne"


@pytest.mark.parametrize(
    ("least", "expected"), [(0, "oneee"), (1, "oneee"), (2, "onnnn"), (3, "onnnn"), (100, "onnnn")]
)
def test_few_voxels_of_enhancing_tumour_become_core(least: int, expected: str, scheme: LabelScheme) -> None:
    probabilities = line(
        "99999", "19999", "11999"
    )  # 2.7 voxels: at least 1 needs all above 0.62, 2 above 0.98
    assert words(label_regions(probabilities, settings(least=least), scheme), scheme) == expected


def test_they_are_counted_in_the_whole_case_and_inside_the_core(scheme: LabelScheme) -> None:
    far_apart = line("9.9.9".replace(".", "1"), "91919", "91919")
    assert words(label_regions(far_apart, settings(least=1), scheme), scheme) == "e.e.e"
    outside = line("99991", "99911", "91199")  # only the first is inside the core
    assert words(label_regions(outside, settings(least=1), scheme), scheme) == "nnno."


@pytest.mark.parametrize(
    ("voxels", "expected"),
    [(0, 1), (100, 1), (100.01, 0.993), (173.2, 0.924), (299.9, 0.5), (300, 0.5), (9e5, 0.5)],
)
def test_little_enhancing_tumour_must_be_surer(voxels: float, expected: float) -> None:
    assert enhancing_threshold(voxels / 1000, settings(least=100)) == pytest.approx(expected, abs=5e-4)
    usual = settings(thresholds="0.5, 0.5, 0.7")
    assert enhancing_threshold(voxels / 1000, usual) == 0.7


def test_regions_in_another_order(scheme: LabelScheme) -> None:
    probabilities = line("11189", "19999", "11999")  # et, wt, tc
    chosen = settings("et, wt, tc", thresholds="0.85, 0.5, 0.5")
    assert words(label_regions(probabilities, chosen, scheme), scheme) == ".onne"


@pytest.mark.parametrize(
    ("regions", "rows", "expected"),
    [
        ("wt", ["199"], ".oo"),
        ("tc", ["199"], ".nn"),
        ("et", ["199"], ".ee"),
        ("wt, tc", ["1999", "9199"], ".onn"),
        ("wt, et", ["1999", "9199"], ".oee"),
        ("tc, et", ["1999", "9199"], ".nee"),
    ],
)
def test_some_regions(regions: str, rows: list[str], expected: str, scheme: LabelScheme) -> None:
    halves = ", ".join("0.5" for _ in rows)
    assert words(label_regions(line(*rows), settings(regions, halves), scheme), scheme) == expected


def test_few_voxels_without_core_become_oedema(scheme: LabelScheme) -> None:
    labels = label_regions(line("99", "19"), settings("wt, et", "0.5, 0.5", least=2), scheme)
    assert words(labels, scheme) == "oo"


def test_nothing_found(scheme: LabelScheme) -> None:
    assert not label_regions(np.zeros((3, 2, 2, 2), np.float32), settings(least=100), scheme).any()


def test_schemes_differ_in_integers() -> None:
    probabilities = line("999", "199", "119")
    got = {name: label_regions(probabilities, settings(), s)[:, 0, 0].tolist() for name, s in SCHEMES.items()}
    assert got == {
        "brats2021": [2, 1, 4],
        "brats2023": [2, 1, 3],
        "brats2024": [2, 1, 3],
        "brats2024-ped": [4, 2, 1],
        "msd": [1, 2, 3],
    }


@given(PROBABILITIES, st.integers(0, 30))
def test_nested_whatever_the_probabilities(probabilities: np.ndarray, least: int) -> None:
    for scheme in SCHEMES.values():
        labels = label_regions(probabilities, settings(least=least), scheme)
        wt, tc, et = (scheme.mask(labels, region) for region in Region)
        assert (wt >= tc).all()
        assert (tc >= et).all()
        assert np.array_equal(wt, probabilities[0] > 0.5)
        assert np.array_equal(tc, wt & (probabilities[1] > 0.5))
        usual = tc & (probabilities[2] > 0.5)
        assert not (et & ~usual).any()
        voxels = probabilities[2][usual].sum()
        assert np.array_equal(et, usual) or voxels < 3 * least
        assert not et.any() or voxels > least
        scheme.check(labels, "labels")


@pytest.mark.parametrize(
    ("fraction", "expected"),
    [
        (0.0, "eooo.oo.e.oooo"),
        (0.12, "eooo.oo.e.oooo"),
        (0.2, "eooo.oo.e.oooo"),  # a quarter as large as the largest: above 0.85
        (0.25, "eooo.oo...oooo"),  # above 0.92
        (0.4, "eooo.oo...oooo"),
        (0.5, "eooo......oooo"),  # half as large: above 0.92
        (1.0, "eooo......oooo"),
    ],
)
def test_small_components_are_removed_with_the_regions_inside(fraction: float, expected: str) -> None:
    wt = "99990990909999"
    core = "90000000900000"
    labels = label_regions(line(wt, core, core), settings(fraction=fraction), SCHEMES["brats2021"])
    assert words(labels, SCHEMES["brats2021"]) == expected


def test_a_component_fades_as_it_gets_smaller_beside_the_largest() -> None:
    """No size is so critical that a little less of it takes more than a little of the component."""
    beside = np.linspace(0.5, 1, 401)[1:]
    kept = []
    for largest in np.geomspace(800, 12000, 60).round().astype(int):
        row = np.concatenate([np.ones(largest), [0], beside]).astype(np.float32)
        found = tumour_mask(np.stack([row] * 3)[..., None, None], settings(fraction=0.1)).ravel()
        assert found[:largest].all()
        kept.append(int(found[largest:].sum()))
    assert (kept[0], kept[-1]) == (400, 0)
    steps = -np.diff(kept)
    assert (steps >= 0).all()
    assert steps.max() <= 40


def test_enhancing_tumour_in_a_small_part_does_not_count() -> None:
    wt, core = "99990909", "90000909"
    found = label_regions(line(wt, core, core), settings(fraction=0.5, least=2), SCHEMES["brats2021"])
    assert words(found, SCHEMES["brats2021"]) == "nooo...."
    assert not label_regions(line("111", "111", "111"), settings(fraction=0.5), SCHEMES["brats2021"]).any()


@pytest.mark.parametrize(
    ("regions", "fraction", "expected"),
    [
        ("wt, tc, et", 0.0, "0101110001"),
        ("wt, tc, et", 0.5, "0001110000"),
        ("et, wt, tc", 0.0, "0000000010"),  # of rows in another order, that of WT counts: here the second
    ],
)
def test_the_tumour_mask_is_that_of_the_outermost_region(
    regions: str, fraction: float, expected: str
) -> None:
    given = line("0907860006", "0000000070", "9999999999")
    assert (
        "".join(map(str, tumour_mask(given, settings(regions, fraction=fraction)).astype(int).ravel()))
        == expected
    )


def test_the_tumour_mask_takes_the_threshold_of_its_region() -> None:
    found = tumour_mask(line("678", "999", "999"), settings(thresholds="0.65, 0.1, 0.1"))
    assert found.ravel().tolist() == [False, True, True]


def thrice(array: np.ndarray) -> np.ndarray:
    """Return the mean of every three voxels along x: the way to slices of 3 mm."""
    return array.reshape(-1, 3, 1, 1).mean(1)


def test_relabel_averages_probabilities(scheme: LabelScheme) -> None:
    """Slices of three: two of low probability lose it, one of high probability outweighs two."""
    given = line("669661111", "449611999", "199111111")
    labels = label_regions(given, settings(), scheme)
    assert words(labels, scheme) == "ooeno...."
    assert words(relabel(given, labels, settings(), scheme, thrice), scheme) == "n.."
    given[2, 0] = given[0, 4] = given[0, 5] = 0.8
    assert (
        words(relabel(given, label_regions(given, settings(), scheme), settings(), scheme, thrice), scheme)
        == "eo."
    )


def test_what_was_left_out_does_not_come_back(scheme: LabelScheme) -> None:
    """A small component, and less than 2 ml of enhancing tumour where a voxel has 1 ml on the native grid."""
    given = line("999999111999", "111999111999", "111191111999")
    chosen = settings(fraction=0.6, least=2000)
    labels = label_regions(given, chosen, scheme, 1.0)
    assert words(labels, scheme) == "ooonnn......"
    assert words(relabel(given, labels, chosen, scheme, thrice), scheme) == "on.."
    assert words(relabel(given, labels, settings(), scheme, thrice), scheme) == "on.."
    assert (
        words(relabel(given, label_regions(given, settings(), scheme), settings(), scheme, thrice), scheme)
        == "on.e"
    )


def test_relabel_on_the_same_grid_changes_nothing(scheme: LabelScheme) -> None:
    given = np.random.default_rng(0).random((3, 6, 5, 4), np.float32)
    chosen = settings(fraction=0.3, least=3)
    labels = label_regions(given, chosen, scheme)
    assert labels.any()
    np.testing.assert_array_equal(relabel(given, labels, chosen, scheme, lambda array: array), labels)
    nothing = np.zeros_like(labels)
    assert not relabel(given, nothing, chosen, scheme, lambda array: array).any()


@pytest.mark.parametrize(("voxel_ml", "expected"), [(0.0111, "n"), (0.0205, "n"), (0.0207, "e"), (0.04, "e")])
def test_the_least_enhancing_tumour_is_a_volume(voxel_ml: float, expected: str) -> None:
    """Voxels of probability 0.9 count from 0.93 ml on, where 0.5 ml is the least: 50 of them have 45."""
    given, chosen = line("9" * 50, "9" * 50, "9" * 50), settings(least=500)
    labels = label_regions(given, chosen, SCHEMES["brats2021"], voxel_ml)
    assert set(words(labels, SCHEMES["brats2021"])) == {expected}
