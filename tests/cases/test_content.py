"""What images show: intact phantoms pass without notes, each fault has its code."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gliomaseg.cases.alignment import alignment, groups
from gliomaseg.cases.appearance import ALL, features, fit, likeness, pair_features
from gliomaseg.cases.case import Case
from gliomaseg.cases.content import check_content, check_reference_content
from gliomaseg.cases.intensities import is_wrapped
from gliomaseg.cases.read import read_case
from gliomaseg.errors import CaseError
from gliomaseg.imaging.nifti import read_labels
from gliomaseg.imaging.phantom import Phantom, make_phantom
from gliomaseg.imaging.phantom_tumour import TumourSpec
from gliomaseg.imaging.volume import Volume
from gliomaseg.labels import Modality

#: Real cases with a sequence that ends within the brain.
LACKING = ("BraTS2021_01482", "Brats18_2013_20_1", "Brats18_CBICA_APY_1")


def codes(volume: Volume, *, force: bool = False) -> list[str]:
    try:
        return [note.code for note in check_content(volume, "x", force=force).notes]
    except CaseError as error:
        return [error.code if error.remedy and "case x" in error.what else "unnamed"]


@pytest.mark.parametrize("seed", range(5))
def test_intact_exams_pass_without_notes(seed: int) -> None:
    made = make_phantom("small", seed=seed, tumour=TumourSpec(seed=seed))
    assert codes(made.images) == []
    assert check_reference_content(made.images, made.reference, "x") == ()
    healthy = make_phantom("small", seed=seed, tumour=None)  # the training data all show a tumour
    assert codes(healthy.images) == ["W-UNLIKE"]


@pytest.mark.parametrize("order", [(1, 0, 2, 3), (0, 1, 3, 2), (3, 2, 1, 0), (1, 2, 3, 0)])
def test_every_swap_names_the_sequences(phantom: Phantom, order: tuple[int, ...]) -> None:
    swapped = replace(phantom.images, array=phantom.images.array[list(order)])
    with pytest.raises(CaseError, match="E-MODALITY-ORDER") as caught:
        check_content(swapped, "x")
    names = list(Modality)
    for place, shown in enumerate(order):
        wanted = f"{names[place]} looks like {names[shown]}"
        assert (wanted in caught.value.what) == (place != shown)
    assert codes(swapped, force=True)[0] == "W-FORCED"


def test_likeness_is_the_same_in_any_order(phantom: Phantom) -> None:
    array = phantom.images.array
    given = likeness(pair_features(array))
    turned = likeness(pair_features(array[[2, 0, 3, 1]]))
    assert given.order == ALL
    assert [(2, 0, 3, 1)[place] for place in turned.order] == list(ALL)
    assert turned.best == pytest.approx(given.best, abs=0.05)


def test_a_model_is_nearest_to_its_own_cases(phantom: Phantom) -> None:
    rows = np.stack([features(pair_features(make_phantom("small", seed=s).images.array)) for s in range(6)])
    mean, precision = fit(rows)
    own = features(pair_features(phantom.images.array)) - mean
    other = features(pair_features(phantom.images.array[[1, 0, 3, 2]])) - mean
    assert own @ precision @ own < other @ precision @ other


@pytest.mark.parametrize("step", [2, -3])
@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("channel", range(4))
def test_a_shifted_sequence_is_named(phantom: Phantom, channel: int, axis: int, step: int) -> None:
    array = phantom.images.array.copy()
    array[channel] = np.roll(array[channel], step, axis)
    notes = check_content(replace(phantom.images, array=array), "x").notes
    (note,) = (note for note in notes if note.code == "W-ALIGN")
    assert f"{list(Modality)[channel]} seems" in note.what


def test_alignment_of_images_that_share_nothing(phantom: Phantom) -> None:
    array = np.zeros_like(phantom.images.array)
    array[0, :40], array[1, 40:] = 1, 1
    assert alignment(array, phantom.images.grid)[0, 1] == 0


def test_sequences_of_two_patients_are_noted(phantom: Phantom) -> None:
    other = make_phantom("small", seed=3, tumour=TumourSpec(seed=3)).images.array
    mixed = np.concatenate([phantom.images.array[:2], np.roll(other[2:], 3, axis=1)])
    notes = [n for n in check_content(replace(phantom.images, array=mixed), "x").notes if n.code == "W-ALIGN"]
    assert len(notes) == 1
    assert "t2w and t2f seem misregistered to the other" in notes[0].what


def test_groups_are_linked_by_any_chain() -> None:
    ratios = np.array([[0, 2, 0, 0], [2, 0, 0, 0], [0, 0, 0, 1.5], [0, 0, 1.5, 0]], float)
    assert groups(ratios, 1.2) == [[0, 1], [2, 3]]
    assert groups(ratios, 1.6) == [[0, 1], [2], [3]]
    ratios[1, 2] = ratios[2, 1] = 1.3
    assert groups(ratios, 1.2) == [[0, 1, 2, 3]]


@pytest.mark.parametrize("given", [(0, 1, 2, 3), (0, 3)])
def test_a_noisy_copy_is_found(phantom: Phantom, given: tuple[int, ...]) -> None:
    array = phantom.images.array.astype(np.float32)
    noise = np.random.default_rng(0).normal(1, 0.05, array[0].shape)  # voxels are large, blocks of few
    array[3] = 0.8 * array[0] * noise
    some = Volume(array[list(given)], phantom.images.grid, tuple(list(Modality)[k] for k in given))
    assert codes(some) == ["E-DUPLICATE"]
    array[1], array[3] = array[3], phantom.images.array[3]
    assert "W-CONTRAST" in codes(replace(phantom.images, array=array))


@pytest.mark.parametrize("places", [(0, 3), (0, 1, 3), (0, 1, 2, 3)])
def test_sequences_that_share_no_voxel_are_refused(phantom: Phantom, places: tuple[int, ...]) -> None:
    array = phantom.images.array[list(places)].copy()
    half = array.shape[1] // 2
    array[0, :half], array[1:, half:] = 0, 0
    apart = Volume(array, phantom.images.grid, tuple(list(Modality)[k] for k in places))
    with pytest.raises(CaseError, match=r"E-NOTBRAIN.*share no nonzero voxel"):
        check_content(apart, "x")
    assert "W-FORCED" in codes(apart, force=True)


@pytest.mark.parametrize("percentile", [90, 97, 99])
def test_wrapped_intensities_are_named_and_not_called_swapped(phantom: Phantom, percentile: float) -> None:
    wrong = replace(phantom.images, array=phantom.images.array.astype(np.int16))
    wrong.array[1] = overflowed(phantom.images.array[1], percentile)
    with pytest.raises(CaseError, match=r"E-WRAPPED.*t1c has black islands"):
        check_content(wrong, "x")
    assert codes(wrong, force=True)[0] == "W-FORCED"
    assert codes(replace(wrong, array=wrong.array[:, ::-1, ::-1, ::-1]), force=False) == ["E-WRAPPED"]


def test_negative_intensities_are_not_wrapped_ones(phantom: Phantom) -> None:
    array = phantom.images.array.astype(np.float32)
    brain = array.any(axis=0)
    for image in array:
        image[brain] = (image[brain] - image[brain].mean()) / image[brain].std()
    assert codes(replace(phantom.images, array=array)) == []


def test_a_wrapped_real_image_is_named(real_cases: list[Case]) -> None:
    case = next(case for case in real_cases if case.id == "BraTS2021_00000")
    volume = read_case(case, tuple(Modality))
    assert not any(is_wrapped(image.astype(np.int32) - 200) for image in volume.array)
    for channel in range(4):
        assert is_wrapped(overflowed(volume.array[channel], 99))


def overflowed(image: np.ndarray, percentile: float) -> np.ndarray:  # type: ignore[type-arg]
    """Return an image scaled so that voxels above a percentile of the brain overflow int16."""
    scale = 32767 / np.percentile(image[image != 0], percentile)
    return (image * scale).astype(np.int64).astype(np.int16)


def test_a_label_map_is_no_image(phantom: Phantom) -> None:
    array = phantom.images.array.copy()
    array[3] = phantom.reference.labels
    assert codes(replace(phantom.images, array=array)) == ["E-NOTBRAIN"]
    with pytest.raises(CaseError, match="t2f has only 3 different values"):
        check_content(replace(phantom.images, array=array), "x")


def test_zeros_beyond_the_field_of_view_count_as_its_end(phantom: Phantom) -> None:
    """The phantom is stored z to the Superior: the upper part of what registration filled up with 0."""
    array = phantom.images.array.copy()
    array[..., array.shape[3] // 2 :] = 0
    assert "W-EDGE" in codes(replace(phantom.images, array=array))


def test_a_small_brain_is_not_taken_for_a_skull(phantom: Phantom) -> None:
    small = replace(phantom.images, array=phantom.images.array[:, 20:24, 20:24, 20:24])
    assert codes(small) == ["E-NOTBRAIN"]


@pytest.mark.parametrize(
    "names", [("t1n", "t2w"), ("t2w", "t2f"), ("t1n", "t1c", "t2f"), ("t1c", "t2w", "t2f")]
)
def test_a_swap_is_found_when_sequences_are_missing(phantom: Phantom, names: tuple[str, ...]) -> None:
    places = [list(Modality).index(Modality(name)) for name in names]
    some = Volume(phantom.images.array[places], phantom.images.grid, names)
    assert codes(some) == []
    swapped = replace(some, array=some.array[[1, 0, *range(2, len(names))]])
    with pytest.raises(CaseError, match=f"E-MODALITY-ORDER.*{names[1]} looks like {names[0]}"):
        check_content(swapped, "x")


def test_the_head_is_checked_when_sequences_are_missing(phantom: Phantom) -> None:
    some = Volume(phantom.images.array[[0]], phantom.images.grid, ("t2f",))
    assert codes(some) == []
    assert codes(replace(some, array=some.array + 1)) == ["E-SKULL"]
    assert codes(replace(some, array=np.zeros_like(some.array))) == ["E-NOTBRAIN"]


@pytest.mark.parametrize(
    ("cut", "side"), [(np.s_[25:], "right"), (np.s_[:, :60], "back"), (np.s_[:, 28:], "front")]
)
def test_the_cut_side_is_named_by_the_body(phantom: Phantom, cut: tuple[slice, ...], side: str) -> None:
    """The phantom is stored x to the Left, y to the Posterior, z to the Superior."""
    parts = cut if isinstance(cut, tuple) else (cut,)
    volume = replace(phantom.images, array=phantom.images.array[(slice(None), *parts)])
    notes = [note for note in check_content(volume, "x").notes if note.code == "W-EDGE"]
    assert len(notes) == 1
    assert f"the {side} edge" in notes[0].what


def test_the_lower_edge_is_ordinary(phantom: Phantom) -> None:
    volume = replace(phantom.images, array=phantom.images.array[..., 8:])
    assert codes(volume) == []


@pytest.mark.parametrize(("axis", "name"), list(enumerate(("left-right", "front-back", "top-bottom"))))
def test_a_mirrored_reference_is_refused(phantom: Phantom, axis: int, name: str) -> None:
    mirrored = replace(phantom.reference, labels=np.flip(phantom.reference.labels, axis))
    with pytest.raises(CaseError, match=f"E-FLIP.*{name}"):
        check_reference_content(phantom.images, mirrored, "x")
    note, *_ = check_reference_content(phantom.images, mirrored, "x", force=True)
    assert note.code == "W-FORCED"
    assert "E-FLIP" in note.what


def test_a_reference_in_the_middle_can_not_be_mirrored(phantom: Phantom) -> None:
    brain = phantom.images.array.any(axis=0)
    middle = brain & np.flip(brain, 0)
    labels = np.where(middle, phantom.reference.labels | np.flip(phantom.reference.labels, 0), 0)
    both = replace(phantom.reference, labels=np.where(labels > 0, 2, 0).astype(np.uint8))
    assert check_reference_content(phantom.images, both, "x") == ()


def test_no_false_alarm_on_real_cases(real_cases: list[Case]) -> None:
    """benchmarks/content_checks.py checks all 51; a test has time for some."""
    for case in [*real_cases[::17], *(case for case in real_cases if case.id in LACKING)]:
        volume = read_case(case, tuple(Modality))
        assert set(codes(volume)) == ({"W-COVER"} if case.id in LACKING else set())
        assert case.reference is not None
        assert check_reference_content(volume, read_labels(case.reference, case.scheme), case.id) == ()
