"""Feed damaged NIfTI files to the reader: only documented errors, no hang, bounded memory.

    python benchmarks/fuzz.py [--count 20000] [--seed 0]

Each input is a sound file with bytes changed, cut, repeated or put in: in the header, in the voxels, in the
gzip stream. What the reader accepts must be finite numbers on a grid onto which a label map can be written.
An alarm ends an input that takes more than 5 seconds; the process may take 1 GB more than at its start.
"""

from __future__ import annotations

import argparse
import gzip
import resource
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np

from gliomaseg.errors import CODES, GliomasegError
from gliomaseg.imaging.nifti import read_channels, read_grid, read_image, write_image

_SECONDS = 5
_MORE_MEMORY = 1_000_000_000
#: Numbers that break things.
_ODD = (0, 1, 127, 128, 255)


def sound_files() -> list[bytes]:
    """Return the bytes of sound files of several types and versions, uncompressed."""
    rng = np.random.default_rng(0)
    found = []
    for kind, version in (("<i2", 1), (">f4", 1), ("<u1", 1), ("<f8", 2), (">i4", 2)):
        image = rng.integers(0, 100, (7, 6, 5)).astype(kind)
        made = nib.Nifti1Header if version == 1 else nib.Nifti2Header
        header = made(endianness=kind[0])
        header.set_data_dtype(image.dtype)
        header.set_data_shape(image.shape)
        header.set_sform(np.diag([-1.0, 2, 1, 1]), 1)
        header.set_qform(np.diag([-1.0, 2, 1, 1]), 1)
        header["vox_offset"], header["magic"] = header.sizeof_hdr + 4, b"n+1" if version == 1 else b"n+2"
        found.append(bytes(header.binaryblock) + bytes(4) + image.tobytes(order="F"))
    return found


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Return ``content`` with a few places changed."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 7))):
        end = min(len(data), 560) if rng.random() < 0.8 else len(data)
        place = int(rng.integers(max(1, end)))
        kind = rng.integers(6)
        if kind <= 2 and data:
            odd = int(rng.choice(_ODD)) if rng.random() < 0.3 else int(rng.integers(256))
            data[min(place, len(data) - 1)] = odd
        elif kind == 3 and data:
            data[min(place, len(data) - 1)] ^= 1 << int(rng.integers(8))
        elif kind == 4:
            size = int(rng.choice((1, 2, 4, 8)))
            data[place : place + size] = rng.bytes(size)
        elif rng.random() < 0.5:
            del data[place : place + int(rng.integers(1, 400))]
        else:
            data[place:place] = rng.bytes(int(rng.integers(1, 400)))
    return bytes(data)


def inputs(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield (name, bytes): damaged inside and packed, plain, or packed and then damaged."""
    rng = np.random.default_rng(seed)
    files = sound_files()
    packed = [gzip.compress(file, 1) for file in files]
    for number in range(count):
        index = number % len(files)
        way = number % 3
        if way == 0:
            yield "x.nii.gz", gzip.compress(damaged(files[index], rng), 1)
        elif way == 1:
            yield "x.nii", damaged(files[index], rng)
        else:
            yield "x.nii.gz", damaged(packed[index], rng)


def outcome(path: Path) -> str:
    """Return what came of one file: a code, accepted, or what is not documented."""
    try:
        read_grid(path)
        read_channels(path, [], [None])[0]
        array, grid = read_image(path)
    except GliomasegError as error:
        return error.code if error.code in CODES and error.remedy else f"UNDOCUMENTED {error!r}"
    except BaseException as error:  # noqa: BLE001 (that is what is looked for)
        return f"UNDOCUMENTED {type(error).__name__}: {error}"
    if array.shape != grid.shape or not np.isfinite(array).all():
        return "UNDOCUMENTED image"
    if max(grid.shape) <= 32767:
        write_image(path.with_name("out.nii"), np.ones(grid.shape, np.uint8), grid)
        if not read_grid(path.with_name("out.nii")).matches(
            grid, max(1e-3, 1e-6 * np.abs(grid.affine).max())
        ):
            return "UNDOCUMENTED grid of the result"
    return "accepted"


class TooSlow(BaseException):
    """An input took too long."""


def _too_slow(*_: object) -> None:
    raise TooSlow


def fuzz(count: int, seed: int = 0) -> tuple[Counter[str], float]:
    """Return how often each outcome came, and the longest time of one input in seconds."""
    signal.signal(signal.SIGALRM, _too_slow)
    counts: Counter[str] = Counter()
    longest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for name, content in inputs(count, seed):
            path = Path(folder, name)
            path.write_bytes(content)
            signal.alarm(_SECONDS)
            started = time.perf_counter()
            counts[outcome(path)] += 1
            signal.alarm(0)
            longest = max(longest, time.perf_counter() - started)
    return counts, longest


def limit_memory() -> None:
    """Let this process take no more than _MORE_MEMORY beyond what it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + _MORE_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def main() -> None:
    """Fuzz and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    limit_memory()
    counts, longest = fuzz(options.count, options.seed)
    bad = sum(n for name, n in counts.items() if name.startswith("UNDOCUMENTED"))
    print(
        f"{options.count} inputs, {bad} undocumented outcomes, slowest {longest:.2f} s (limit {_SECONDS} s)\n"
    )
    print("| outcome | inputs |\n|---|---|")
    for name, n in counts.most_common():
        print(f"| {name} | {n} |")


if __name__ == "__main__":
    main()
