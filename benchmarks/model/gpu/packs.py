"""Training cases in few megabytes, to be sent to a machine that is lent for minutes.

    python benchmarks/model/gpu/packs.py pack ../shared/data/brats runs/gpu/packs
    python benchmarks/model/gpu/packs.py unpack runs/gpu/packs DATA

A case is cropped to its brain and has 64 levels of intensity in each sequence, 6 bits a voxel. Cases that
have no more come back as they were; others are brought to 64 levels between their 0.05th and 99.9th
percentile. A voxel is predicted from those before it, and what is left is compressed: about 2.2 MB a case.
Pieces of at most 18 MB hold whole cases. ``unpack`` writes them as NIfTI, in the BraTS layout. Packs hold
patients' images: they stay out of the repository.
"""

from __future__ import annotations

import argparse
import json
import lzma
import zipfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gliomaseg import find_cases
from gliomaseg.cases.case import Case
from gliomaseg.cases.read import read_case
from gliomaseg.imaging.nifti import read_labels, write_image
from gliomaseg.imaging.volume import Grid, filled_box
from gliomaseg.labels import Modality

Array = npt.NDArray[Any]
LEVELS = 64
#: Most bytes of a piece.
PIECE = 18_000_000
#: What ends the name of each sequence's file in the BraTS 2021 layout.
NAMES = {Modality.T1N: "t1", Modality.T1C: "t1ce", Modality.T2W: "t2", Modality.T2F: "flair"}


def main() -> None:
    """Pack or unpack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("verb", choices=("pack", "unpack"))
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    options = parser.parse_args()
    if options.verb == "pack":
        pack(find_cases(options.source), options.target)
    else:
        unpack(options.source, options.target)


def pack(cases: list[Case], folder: Path) -> list[Path]:
    """Write the cases into pieces of ``folder``; return these."""
    folder.mkdir(parents=True, exist_ok=True)
    pieces: list[Path] = []
    size = PIECE
    for case in cases:
        entries = _entries(case)
        more = sum(len(data) for data in entries.values())
        if size + more > PIECE:
            size, piece = 0, folder / f"cases-{len(pieces):02}.zip"
            piece.unlink(missing_ok=True)
            pieces.append(piece)
        with zipfile.ZipFile(pieces[-1], "a") as archive:
            for name, data in entries.items():
                archive.writestr(f"{case.id}/{name}", data)
        size += more + 500 * len(entries)
    return pieces


def _entries(case: Case) -> dict[str, bytes]:
    volume = read_case(case, tuple(Modality))
    labels = read_labels(Path(str(case.reference)), case.scheme).labels
    box = filled_box(*volume.array, labels) or (slice(0, 1),) * 3
    about = {
        "shape": volume.grid.shape,
        "start": [side.start for side in box],
        "affine": volume.grid.affine.tolist(),
        "scheme": case.scheme.name,
    }
    brain = volume.array.any(axis=0)[box]
    found = {"about.json": json.dumps(about).encode(), "seg": _bytes_in(labels[box])}
    found["brain"] = _bytes_in(brain)
    return found | {
        NAMES[modality]: encode(in_levels(channel[box]), brain)
        for modality, channel in zip(Modality, volume.array, strict=True)
    }


def unpack(folder: Path, target: Path) -> list[Path]:
    """Write every case of the pieces in ``folder`` below ``target``; return their folders."""
    with ProcessPoolExecutor() as pool:
        done = [pool.submit(_unpack_case, *what, target) for what in _packed(folder)]
        return [future.result() for future in done]


def _packed(folder: Path) -> Iterator[tuple[Path, str]]:
    for piece in sorted(folder.glob("cases-*.zip")):
        with zipfile.ZipFile(piece) as archive:
            for case in sorted({name.split("/")[0] for name in archive.namelist()}):
                yield piece, case


def _unpack_case(piece: Path, case: str, target: Path) -> Path:
    with zipfile.ZipFile(piece) as archive:
        read = {
            name: archive.read(f"{case}/{name}") for name in ("about.json", "brain", "seg", *NAMES.values())
        }
    about, brain = json.loads(read.pop("about.json")), _bytes_of(read.pop("brain")).astype(bool)
    grid = Grid(tuple(about["shape"]), np.array(about["affine"]))
    folder = target / case
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in read.items():
        part = _bytes_of(data) if name == "seg" else decode(data, brain)
        whole = np.zeros(grid.shape, np.uint8)
        whole[tuple(slice(s, s + n) for s, n in zip(about["start"], part.shape, strict=True))] = part
        write_image(folder / f"{case}_{name}.nii", whole, grid)
    return folder


def in_levels(image: Array) -> npt.NDArray[np.uint8]:
    """Return an image with whole numbers from 1 to 64, 0 where it is 0: its own if it has no others."""
    inside = image[image != 0]
    if not inside.size or (inside.min() >= 1 and inside.max() <= LEVELS and not np.any(inside % 1)):
        return image.astype(np.uint8)
    low, high = np.percentile(inside, (0.05, 99.9))
    share = np.clip((image - low) / max(high - low, 1e-9), 0, 1)
    return np.where(image != 0, np.round(1 + share * (LEVELS - 1)), 0).astype(np.uint8)


def encode(levels: npt.NDArray[np.uint8], brain: npt.NDArray[np.bool_]) -> bytes:
    """Return an image (x, y, z) of 0 (background) to 64 in few bytes, for who knows the ``brain``, too."""
    levels, brain = np.ascontiguousarray(levels.T), brain.T  # rows of a slice hold together best
    flat, at, strides = _laid_out(levels != 0)
    flat[at] = levels[levels != 0]
    rest = (flat[at] - _predicted(flat, at, strides)).astype(np.int8)
    other = _small(np.packbits((levels != 0) != brain).tobytes())
    return len(other).to_bytes(4, "little") + other + _small(rest.tobytes())


def decode(data: bytes, brain: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Return what ``encode`` was given; voxels of one diagonal plane at a time, as all before are known."""
    brain, length = brain.T, int.from_bytes(data[:4], "little")
    bits = np.frombuffer(lzma.decompress(data[4 : 4 + length]), np.uint8)
    mask = np.unpackbits(bits, count=brain.size).astype(bool).reshape(brain.shape) != brain
    rest = np.frombuffer(lzma.decompress(data[4 + length :]), np.int8)
    flat, at, strides = _laid_out(mask)
    plane = np.sum(np.nonzero(mask), axis=0)
    order = np.argsort(plane, kind="stable")
    for part in np.split(order, np.flatnonzero(np.diff(plane[order])) + 1):
        flat[at[part]] = _predicted(flat, at[part], strides) + rest[part]
    found = np.zeros(brain.shape, np.uint8)
    found[mask] = flat[at]
    return found.T


def _laid_out(mask: Array) -> tuple[Array, Array, tuple[int, int, int]]:
    """Return zeros for an image with a border before it, where voxels of ``mask`` lie, and strides."""
    wide = tuple(n + 1 for n in mask.shape)
    at = np.ravel_multi_index([index + 1 for index in np.nonzero(mask)], wide)
    return np.zeros(int(np.prod(wide)), np.int16), at, (wide[1] * wide[2], wide[2], 1)


def _predicted(flat: Array, at: Array, strides: tuple[int, int, int]) -> Array:
    """Return what the six voxels before each suggest, in whole numbers: the same on every machine."""
    x, y, z = strides
    near = flat[at - x] + flat[at - y] + flat[at - z]
    far = flat[at - x - y] + flat[at - x - z] + flat[at - y - z]
    return np.clip((2 * near - far + 1) // 3, 1, LEVELS)


def _bytes_in(labels: Array) -> bytes:
    return np.array(labels.shape, "<i4").tobytes() + _small(labels.astype(np.uint8).tobytes())


def _bytes_of(data: bytes) -> npt.NDArray[np.uint8]:
    shape = np.frombuffer(data[:12], "<i4").tolist()
    return np.frombuffer(lzma.decompress(data[12:]), np.uint8).reshape(shape)


def _small(data: bytes) -> bytes:
    return lzma.compress(data, preset=4)


if __name__ == "__main__":
    main()
