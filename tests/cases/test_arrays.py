"""Arrays in, arrays out: the same as by files, and nothing of the caller's changed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gliomaseg.cases.case import Case
from gliomaseg.errors import GliomasegError
from gliomaseg.labels import Modality, Region
from gliomaseg.segmenter import Segmenter

Arrays = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter.load()


@pytest.fixture
def arrays(phantom_case: Case) -> Arrays:
    return {m.value: np.asarray(nib.load(path).dataobj).copy() for m, path in phantom_case.images.items()}


@pytest.fixture
def affine(phantom_case: Case) -> np.ndarray:
    return np.asarray(nib.load(phantom_case.images[Modality.T1C]).affine)


def test_arrays_give_the_result_of_files(
    segmenter: Segmenter, phantom_case: Case, arrays: Arrays, affine: np.ndarray, tmp_path: Path
) -> None:
    """Byte for byte, in any order of memory and of bytes, by any names; also what is saved."""
    by_files = segmenter.segment(phantom_case)
    given = {
        "T1": arrays["t1n"].astype(">i2"),
        "flair": np.ascontiguousarray(arrays["t2f"]),
        "t1ce": arrays["t1c"].astype(np.int64),
        "t2w": np.asfortranarray(arrays["t2w"]),
    }
    before = {name: array.copy() for name, array in given.items()}
    result = segmenter.segment_arrays(given, affine, case_id=phantom_case.id)
    assert result.segmentation.labels.dtype == np.uint8
    assert result.segmentation.labels.tobytes() == by_files.segmentation.labels.tobytes()
    assert result.measured() == by_files.measured()
    assert result.images.notes == by_files.images.notes
    for name, array in given.items():
        np.testing.assert_array_equal(array, before[name])
    saved = nib.load(result.save(tmp_path) / "seg.nii.gz")
    np.testing.assert_array_equal(np.asarray(saved.dataobj), by_files.segmentation.labels)
    np.testing.assert_allclose(saved.affine, affine)
    assert result.save(tmp_path / "x.nii.gz").is_file()


def test_missing_sequences_and_voxels_that_are_not_finite(
    segmenter: Segmenter, arrays: Arrays, affine: np.ndarray
) -> None:
    few = {name: arrays[name].astype(np.float64) for name in ("t1c", "t2f")}
    few["t1c"][40, 40, 20] = np.nan
    result = segmenter.segment_arrays(few, affine)
    assert {"W-MISSING", "W-VALUES"} <= {note.code for note in result.images.notes}
    assert np.isnan(few["t1c"][40, 40, 20])
    assert result.segmentation.mask(Region.WT).any()


def wrong(name: str, arrays: Arrays, affine: np.ndarray) -> tuple[object, object]:
    """Return arrays and affine with one thing wrong."""
    shifted, flat = affine.copy(), affine.copy()
    shifted[0, 3], flat[:3, 2] = np.nan, 0
    return {
        "shape": (arrays | {"t2w": arrays["t2w"][1:]}, affine),
        "dimensions": (arrays | {"t2w": arrays["t2w"][None]}, affine),
        "complex": (arrays | {"t2w": arrays["t2w"].astype(complex)}, affine),
        "text": (arrays | {"t2w": "t2.nii.gz"}, affine),
        "constant": (arrays | {"t2w": np.ones_like(arrays["t2w"])}, affine),
        "twice": (arrays | {"t2w": arrays["t2f"]}, affine),
        "swapped": (arrays | {"t1n": arrays["t2f"], "t2f": arrays["t1n"]}, affine),
        "name": (arrays | {"adc": arrays["t2w"]}, affine),
        "alias": (arrays | {"t2": arrays["t2w"]}, affine),
        "none": ({}, affine),
        "nan": (arrays, shifted),
        "flat": (arrays, flat),
        "3x3": (arrays, affine[:3, :3]),
        "words": (arrays, "RAS"),
    }[name]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("shape", "E-GRID"),
        ("dimensions", "E-NDIM"),
        ("complex", "E-DTYPE"),
        ("text", "E-DTYPE"),
        ("constant", "E-CONSTANT"),
        ("twice", "E-DUPLICATE"),
        ("swapped", "E-MODALITY-ORDER"),
        ("name", "E-MODALITY"),
        ("alias", "E-MODALITY"),
        ("none", "E-MODALITY"),
        ("nan", "E-AFFINE"),
        ("flat", "E-SPACING"),
        ("3x3", "E-AFFINE"),
        ("words", "E-AFFINE"),
    ],
)
def test_bad_arrays_are_refused(
    segmenter: Segmenter, arrays: Arrays, affine: np.ndarray, name: str, code: str
) -> None:
    given, placed = wrong(name, arrays, affine)
    with pytest.raises(GliomasegError) as caught:
        segmenter.segment_arrays(given, placed)  # type: ignore[arg-type]
    assert caught.value.code == code
    assert caught.value.remedy


def test_an_id_that_is_no_folder_name(segmenter: Segmenter, arrays: Arrays, affine: np.ndarray) -> None:
    with pytest.raises(GliomasegError, match="E-USAGE"):
        segmenter.segment_arrays(arrays, affine, case_id="../elsewhere")


def test_threads_may_share_a_segmenter(segmenter: Segmenter, phantom_case: Case) -> None:
    """Four at once find what one alone finds."""
    alone = segmenter.segment(phantom_case).segmentation.labels.tobytes()
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(segmenter.segment, [phantom_case] * 4))
    assert [result.segmentation.labels.tobytes() for result in together] == [alone] * 4


def test_the_example_of_the_docs_runs(copy_case: Callable[[str], Path], tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "get-started.md").read_text(encoding="utf-8")
    code = page.partition("## Arrays in, arrays out")[2].partition("```python\n")[2].partition("```")[0]
    copy_case("BraTS2021_00005")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("(80, 80, 52) ")
