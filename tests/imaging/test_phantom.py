"""The synthetic exam: drawn twice alike, labelled by its scheme, lit like MRI, placed on the right side."""

from __future__ import annotations

import hashlib
from importlib import resources
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from gliomaseg.errors import OutputError, SettingsError
from gliomaseg.imaging.phantom import Phantom, make_phantom, write_phantom
from gliomaseg.imaging.phantom_tumour import Site, TumourSpec, _spread, interpolate
from gliomaseg.labels import BRATS2021, Modality, Region, Tissue

T1N, T1C, T2W, T2F = range(4)


def to_box(*mni_mm: float) -> npt.NDArray[np.float64]:
    """Return a place of the atlas in the mm of the BraTS box: the brain is 7 % smaller there."""
    return 0.93 * np.array(mni_mm) + (-118.5, 127.0, 64.5)


@pytest.fixture(scope="module")
def small() -> Phantom:
    return make_phantom("small")


@pytest.fixture(scope="module")
def healthy() -> Phantom:
    return make_phantom("small", tumour=None)


@pytest.fixture(scope="module")
def full() -> Phantom:
    return make_phantom("full")


def z_scores(phantom: Phantom) -> npt.NDArray[np.float64]:
    """Return each channel minus its mean over its standard deviation, both inside the brain."""
    inside = phantom.images.array[:, phantom.images.array[0] > 0].astype(np.float64)
    mean, deviation = inside.mean(axis=1), inside.std(axis=1)
    shaped = (slice(None), None, None, None)
    return (phantom.images.array - mean[shaped]) / deviation[shaped]


def medians(phantom: Phantom) -> dict[Tissue, npt.NDArray[np.float64]]:
    """Return the median z-score of each tumour tissue in the four channels."""
    z = z_scores(phantom)
    return {t: np.median(z[:, phantom.reference.mask(t)], axis=1) for t in BRATS2021.values}


def centre_of(phantom: Phantom) -> npt.NDArray[np.float64]:
    """Return the centre of the tumour core in RAS+ mm."""
    voxels = ndimage.center_of_mass(phantom.reference.mask(Region.TC))
    return phantom.reference.grid.affine[:3] @ [*voxels, 1.0]


def test_same_arguments_give_the_same_voxels(small: Phantom) -> None:
    again = make_phantom("small")
    np.testing.assert_array_equal(again.images.array, small.images.array)
    np.testing.assert_array_equal(again.reference.labels, small.reference.labels)


def test_the_seeds_deform_the_brain_and_the_tumour(small: Phantom) -> None:
    other = make_phantom("small", seed=1)
    assert np.any((other.images.array[0] > 0) != (small.images.array[0] > 0))
    lesion = make_phantom("small", tumour=TumourSpec(seed=1))
    assert np.any(lesion.reference.labels != small.reference.labels)
    np.testing.assert_array_equal(lesion.images.array[0] > 0, small.images.array[0] > 0)


def test_channels_types_and_grid(small: Phantom) -> None:
    assert small.images.channels == tuple(Modality)
    assert small.images.array.shape == (4, 80, 80, 52)
    assert small.images.array.dtype == np.int16
    assert small.reference.labels.dtype == np.uint8
    assert small.images.grid.matches(small.reference.grid)
    affine = [[-3, 0, 0, -1], [0, -3, 0, 238], [0, 0, 3, 1], [0, 0, 0, 1]]  # to the Left, Posterior, Superior
    np.testing.assert_array_equal(small.images.grid.affine, affine)
    assert small.images.grid.spacing == (3.0, 3.0, 3.0)


def test_background_is_zero_and_the_same_in_every_channel(small: Phantom) -> None:
    brain = small.images.array > 0
    assert small.images.array.min() == 0
    np.testing.assert_array_equal(brain, np.broadcast_to(brain[0], brain.shape))
    assert not brain[0][[0, -1]].any()
    assert not brain[0][:, 0].any()
    assert 1200 < brain[0].sum() * small.images.grid.voxel_ml < 1800  # BraTS: 1270 to 1730 ml


def test_labels_are_of_the_scheme_nested_and_inside_the_brain(small: Phantom) -> None:
    assert set(np.unique(small.reference.labels)) == BRATS2021.allowed
    sizes = [int(small.reference.mask(region).sum()) for region in Region]
    assert sizes[0] > sizes[1] > sizes[2] > 0
    assert np.all(small.images.array[:, small.reference.mask(Region.WT)] > 0)


def test_the_rim_encloses_the_necrosis(small: Phantom) -> None:
    necrosis = small.reference.mask(Tissue.NECROSIS)
    shell = ndimage.binary_dilation(necrosis) & ~necrosis
    assert np.mean(small.reference.mask(Tissue.ENHANCING)[shell]) > 0.8  # a thin rim is lost at 3 mm


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_tumour_contrasts_are_those_of_the_four_sequences(seed: int) -> None:
    tissue = medians(make_phantom("small", seed=seed, tumour=TumourSpec(seed=seed)))
    necrosis, oedema, rim = (tissue[t] for t in (Tissue.NECROSIS, Tissue.OEDEMA, Tissue.ENHANCING))
    assert rim[T1C] > rim[T1N] + 1
    assert rim[T1C] > max(necrosis[T1C], oedema[T1C]) + 1
    assert oedema[T2F] > rim[T2F] > necrosis[T2F] > 0
    assert necrosis[T2W] > oedema[T2W] > 0
    assert necrosis[T1N] < 0


def test_white_matter_is_brighter_than_grey_and_grey_than_csf_in_t1(healthy: Phantom) -> None:
    image = z_scores(healthy)
    affine = np.linalg.inv(healthy.images.grid.affine)

    def at(*mni_mm: float) -> npt.NDArray[np.float64]:
        i, j, k = (round(v) for v in affine[:3] @ [*to_box(*mni_mm), 1.0])
        return np.median(image[:, i - 1 : i + 2, j - 1 : j + 2, k], axis=(1, 2))

    white, caudate, csf = at(27, -28, 30), at(-12, 12, 8), at(0, -40, -1)
    assert white[T1N] > caudate[T1N] > csf[T1N]
    assert csf[T2W] > caudate[T2W] > white[T2W]
    assert csf[T2F] < 0


def test_no_tumour_means_no_labels_and_a_changed_image_only_near_it(small: Phantom, healthy: Phantom) -> None:
    assert not healthy.reference.labels.any()
    left = (np.arange(80) > 50)[:, None, None]  # the patient's left: x grows to the Left
    there = np.broadcast_to(left, healthy.reference.labels.shape)
    assert np.mean(small.images.array[:, there] != healthy.images.array[:, there]) < 0.02


@pytest.mark.parametrize("x", [30.0, -30.0])
def test_positive_x_is_on_the_patients_right(x: float) -> None:
    phantom = make_phantom("small", tumour=TumourSpec(centre_mm=(x, -28.0, 24.0)))
    brain = np.argwhere(phantom.images.array[0] > 0).mean(axis=0)
    middle = (phantom.images.grid.affine[:3] @ [*brain, 1.0])[0]
    assert np.sign(centre_of(phantom)[0] - middle) == np.sign(x)


def test_the_tumour_is_at_its_centre(small: Phantom) -> None:
    assert np.linalg.norm(centre_of(small) - to_box(*TumourSpec().centre_mm)) < 5


def test_a_larger_core_and_reach_give_larger_regions(small: Phantom) -> None:
    large = make_phantom("small", tumour=TumourSpec(core_mm=24.0, oedema_mm=24.0))
    for tissue in BRATS2021.values:
        assert large.reference.mask(tissue).sum() > small.reference.mask(tissue).sum()


def test_oedema_stays_on_its_side_of_the_falx() -> None:
    spec = TumourSpec(centre_mm=(30.0, -60.0, 40.0), oedema_mm=24.0)
    phantom = make_phantom("small", tumour=spec)
    oedema = np.argwhere(phantom.reference.mask(Tissue.OEDEMA))
    right = phantom.images.grid.affine[0, 3] - 3 * oedema[:, 0] > to_box(0, 0, 0)[0]
    assert right.mean() > 0.95


def test_a_tumour_outside_the_brain_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"E-SETTING.*outside the brain"):
        make_phantom("small", tumour=TumourSpec(centre_mm=(300.0, 0.0, 0.0)))


def test_the_full_phantom_is_a_brats_exam(full: Phantom, small: Phantom) -> None:
    assert full.images.array.shape == (4, 240, 240, 155)
    expected = [[-1, 0, 0, 0], [0, -1, 0, 239], [0, 0, 1, 0], [0, 0, 0, 1]]
    np.testing.assert_array_equal(full.images.grid.affine, expected)
    assert set(np.unique(full.reference.labels)) == BRATS2021.allowed
    tissue = medians(full)
    # The medians of BraTS, see CONTRASTS; a factor of two in volume is far inside the spread of patients.
    np.testing.assert_allclose(tissue[Tissue.OEDEMA], (0.2, -0.2, 1.1, 2.2), atol=0.6)
    np.testing.assert_allclose(tissue[Tissue.ENHANCING], (-0.1, 2.0, 1.1, 2.4), atol=0.6)
    np.testing.assert_allclose(tissue[Tissue.NECROSIS][:3], (-0.5, -0.5, 1.8), atol=0.6)
    assert np.linalg.norm(centre_of(full) - centre_of(small)) < 1.5
    for region in Region:
        volumes = [p.reference.mask(region).sum() * p.images.grid.voxel_ml for p in (full, small)]
        assert volumes[1] == pytest.approx(volumes[0], rel=0.1)


def test_written_files_are_read_back_unchanged(tmp_path: Path, small: Phantom) -> None:
    case = write_phantom(small, tmp_path, case_id="p1")
    assert case == tmp_path / "p1"
    names = ("t1", "t1ce", "t2", "flair")
    arrays = [*small.images.array, small.reference.labels]
    for name, array in zip((*names, "seg"), arrays, strict=True):
        path = case / f"p1_{name}.nii.gz"
        image = nib.Nifti1Image.from_filename(path)
        assert path.stat().st_size < 100_000
        np.testing.assert_array_equal(np.asarray(image.dataobj), array)
        np.testing.assert_allclose(image.affine, small.images.grid.affine)
        assert not bytes(image.header["descrip"]).strip(b"\0")


def test_the_written_exam_states_that_it_is_synthetic_and_its_licence(tmp_path: Path, small: Phantom) -> None:
    case = write_phantom(small, tmp_path)
    text = (case / "README.txt").read_text(encoding="utf-8")
    assert "synthetic" in case.name
    assert text.startswith("THIS EXAM IS SYNTHETIC")
    assert "Louis Collins, McConnell Brain Imaging Centre" in text


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path, small: Phantom) -> None:
    (tmp_path / "busy").write_text("x")
    with pytest.raises(OutputError):
        write_phantom(small, tmp_path / "busy")


def test_the_atlas_is_the_one_that_its_licence_names() -> None:
    assets = resources.files("gliomaseg") / "assets"
    digest = hashlib.sha256((assets / "atlas.npz").read_bytes()).hexdigest()
    assert f"{digest}  atlas.npz" in (assets / "ATLAS-LICENSE.txt").read_text(encoding="utf-8")


def test_interpolate_between_two_voxels() -> None:
    line = np.array([0, 10, 30], dtype=np.float32).reshape(3, 1, 1)
    zero = np.zeros(5)
    places = np.array([-1, 0.25, 1.0, 1.5, 9])
    np.testing.assert_allclose(interpolate(line, [places, zero, zero]), [0, 2.5, 10, 20, 30])


def test_oedema_spreads_along_white_matter_around_csf() -> None:
    """Voxels of 3 mm: a wall of CSF with one hole; grey matter beyond it counts four times."""
    white, grey, wall = 3 / 1.05, 3 / 0.3, np.s_[3, 1:]
    tissues = np.zeros((3, 5, 3, 3), dtype=np.float32)
    tissues[2, :3], tissues[1, 4] = 1, 1
    tissues[0][wall], tissues[2, 3, 0] = 1, 1
    core = np.zeros((5, 3, 3), dtype=bool)
    core[0, 1, 1] = True
    site = Site((slice(0, 5), slice(0, 3), slice(0, 3)), (), 3)
    found = _spread(site, tissues, core, 60)
    assert found[0, 1, 1] == 0
    np.testing.assert_allclose(found[1, 1, 1], white, rtol=1e-5)
    np.testing.assert_allclose(found[1, 2, 2], 3**0.5 * white, rtol=1e-5)
    np.testing.assert_allclose(found[3, 0, 1], (2 + 2**0.5) * white, rtol=1e-5)
    np.testing.assert_allclose(found[4, 0, 1], (2 + 2**0.5) * white + grey, rtol=1e-5)
    np.testing.assert_allclose(found[wall], 60)
