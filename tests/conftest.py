"""What several rooms' tests share: a small synthetic exam on disk, copies of it, and the real cases."""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import hypothesis
import nibabel as nib
import numpy as np
import pytest

from gliomaseg.cases.case import Case
from gliomaseg.cases.find import find_case, find_cases
from gliomaseg.cli.app import main
from gliomaseg.evaluation.scores import ALL, MEAN_IOU, Column, Evaluation
from gliomaseg.imaging.phantom import Phantom, make_phantom, write_phantom
from gliomaseg.imaging.phantom_tumour import TumourSpec
from gliomaseg.labels import Modality, Region
from gliomaseg.settings.loading import load_settings

REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "brats"

#: The names of the sequences in the BraTS 2021 layout.
NAMES = {Modality.T1N: "t1", Modality.T1C: "t1ce", Modality.T2W: "t2", Modality.T2F: "flair"}

#: The smallest widths of each network, and the edge of a patch that it can halve often enough.
_SMALLEST: dict[str, tuple[list[int], int]] = {
    "unet3d": ([8, 8, 8], 32),
    "unet2d": ([4, 4, 8, 8, 8], 32),
    "attention_unet": ([4, 8, 8], 32),
    "unet_plusplus": ([4, 4, 4, 8, 8, 4], 32),
    "vnet": ([], 32),
    "residual_unet": ([8, 16, 32], 32),
    "dynunet": ([4, 8, 8, 8, 8], 32),
    "unetr": ([4, 24], 32),
    "swin_unetr": ([12], 64),
    "mednext": ([4], 32),
}

CopyCase = Callable[..., Path]
Run = Callable[..., tuple[int, str, str]]

hypothesis.settings.register_profile(
    "gliomaseg",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=50,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
hypothesis.settings.load_profile("gliomaseg")


def pytest_configure() -> None:
    """Take Ctrl-C again: started in the background of a script, pytest and its children would ignore it."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that asks for ``real_cases`` as ``real``."""
    for item in items:
        if "real_cases" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.real)


@pytest.fixture(scope="session")
def smallest() -> Callable[[str], list[str]]:
    """Return a function of a preset that gives the changes to its smallest network and patch."""

    def changes(preset: str) -> list[str]:
        network = load_settings(preset).network
        filters, edge = _SMALLEST[network.name]
        patch = [edge] * network.dimensions
        window = [f"network.window={patch}"] if network.window else []
        return [f"network.filters={filters}", f"training.patch={patch}", *window]

    return changes


@pytest.fixture(scope="session")
def phantom() -> Phantom:
    """Return the small synthetic exam: 80 x 80 x 52 voxels of 3 mm. Don't change its arrays."""
    return make_phantom("small")


@pytest.fixture(scope="session")
def phantom_case(phantom: Phantom, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Return the small exam on disk, in the BraTS 2021 layout. Don't change its files: ``copy_case``."""
    return find_case(write_phantom(phantom, tmp_path_factory.mktemp("phantom")))


@pytest.fixture(scope="session")
def full_case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Return the exam of ``gliomaseg demo``, 240 x 240 x 155 voxels of 1 mm: one the shipped model knows."""
    return find_case(write_phantom(make_phantom("full"), tmp_path_factory.mktemp("full")))


@pytest.fixture(scope="session")
def phantom_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of four small exams, each another brain and tumour, in the BraTS 2021 layout."""
    folder = tmp_path_factory.mktemp("phantoms")
    for seed in range(4):
        made = make_phantom("small", seed=seed, tumour=TumourSpec(seed=seed))
        write_phantom(made, folder, case_id=f"phantom-{seed}")
    return folder


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function of the words after ``gliomaseg`` that gives the exit code, stdout and stderr."""

    def call(*args: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["gliomaseg", *map(str, args)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return int(end.value.code or 0), out, err

    return call


@pytest.fixture
def copy_case(phantom_case: Case, tmp_path: Path) -> CopyCase:
    """Return a function that copies the small exam to ``folder/case_id`` and returns that folder.

    ``copy_case(case_id, folder=tmp_path, without=[Modality.T2W], reference=True)``.
    """

    def copy(
        case_id: str = "copied",
        folder: Path = tmp_path,
        *,
        without: tuple[Modality, ...] = (),
        reference: bool = True,
    ) -> Path:
        target = folder / case_id
        target.mkdir(parents=True)
        for modality, path in phantom_case.images.items():
            if modality not in without:
                shutil.copyfile(path, target / f"{case_id}_{NAMES[modality]}.nii.gz")
        if reference and phantom_case.reference:
            shutil.copyfile(phantom_case.reference, target / f"{case_id}_seg.nii.gz")
        return target

    return copy


@pytest.fixture(scope="session")
def real_cases() -> list[Case]:
    """Return the real cases beside the repository; skips where there are none."""
    if not REAL.is_dir():
        pytest.skip(f"needs the real cases in {REAL}")
    return find_cases(REAL)


SHAPE = (24, 20, 16)
COLUMNS = [
    Column(region.value, metric, unit) for metric, unit in (("dice", ""), ("hd95", "mm")) for region in Region
]
CLASSES = [Column(name, "class_dice", "") for name in ("ncr", "ed", "et")] + [Column(ALL, MEAN_IOU, "")]


def _evaluation_of(name: str = "ours", rules: str = "brats2020", **dice: float) -> Evaluation:
    """Return an evaluation in which every Dice of a case is the given one, every HD95 ten times its error."""
    cases = {
        case: {c.name: (10 * (1 - value) if c.metric == "hd95" else value) for c in COLUMNS + CLASSES}
        for case, value in dice.items()
    }
    return Evaluation(rules, cases, {c.name: c for c in COLUMNS + CLASSES}, name=name)


def _ball(shape: tuple[int, int, int], centre: tuple[float, ...], radius: float) -> np.ndarray:
    """Return the mask of a ball."""
    offsets = [np.arange(n) - c for n, c in zip(shape, centre, strict=True)]
    return np.add.outer(np.add.outer(offsets[0] ** 2, offsets[1] ** 2), offsets[2] ** 2) <= radius**2


def _write_pair(root: Path, case: str, *, shift: int, predicted: bool = True) -> None:
    """Write a small case in the BraTS 2021 layout with images, and its prediction, moved along x."""
    folder = root / "data" / case
    folder.mkdir(parents=True)
    (root / "predictions").mkdir(exist_ok=True)
    labels = [2 * _ball(SHAPE, (x, 10, 8), 6).astype(np.uint8) for x in (12, 12 + shift)]
    for array, x in zip(labels, (12, 12 + shift), strict=True):
        array[_ball(SHAPE, (x, 10, 8), 4)] = 4
        array[_ball(SHAPE, (x, 10, 8), 2)] = 1
    image = (100 + 10 * labels[0].astype(np.int16)) * _ball(SHAPE, (12, 10, 8), 9)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    for name in ("t1ce", "flair"):
        nib.save(nib.Nifti1Image(image.astype(np.int16), affine), folder / f"{case}_{name}.nii.gz")
    nib.save(nib.Nifti1Image(labels[0], affine), folder / f"{case}_seg.nii.gz")
    if predicted:
        nib.save(nib.Nifti1Image(labels[1], affine), root / "predictions" / f"{case}.nii.gz")


@pytest.fixture
def evaluation_of() -> Callable[..., Evaluation]:
    """Return ``evaluation_of(name="ours", rules="brats2020", A=0.9, ...)``."""
    return _evaluation_of


@pytest.fixture
def write_pair() -> Callable[..., None]:
    """Return ``write_pair(root, case, shift=1, predicted=True)``."""
    return _write_pair
