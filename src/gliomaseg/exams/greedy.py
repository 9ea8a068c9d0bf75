"""Run greedy on two images, both ways, in a process of its own.

``register`` starts this file by its path, so it imports nothing of gliomaseg. A process of its own because
greedy holds the interpreter's lock while it works, prints from Fortran to descriptors 1 and 2, and may abort.

Standard input: an .npz with ``fixed`` and ``moving`` (x, y, z) float32, ``fixed_affine`` and
``moving_affine`` (4, 4) RAS mm. Standard output: two matrices (4, 4) of float64, fixed to moving and back,
RAS mm. When greedy fails: exit status 1, and what it says on standard error.
"""

from __future__ import annotations

import io
import os
import sys

import numpy as np
import numpy.typing as npt
import SimpleITK
from picsl_greedy import Greedy3D

#: Six parameters and normalised mutual information, at an eighth and a quarter of the resolution. Without the
#: seed two runs differ by 0.2 mm; with several threads by 0.04 mm, and they are no faster.
_COMMAND = "-i fixed moving -a -dof 6 -m NMI {} -n 100x50x0 -threads 1 -seed 7 -V 0 -o found"
_TURN = np.diag([-1.0, -1.0, 1.0])  # RAS to the LPS of ITK


def main() -> None:
    """Register as the arguments of the command line say, in greedy's words."""
    answer = os.fdopen(os.dup(1), "wb")
    complaint = os.fdopen(os.dup(2), "w")
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    given = np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False)
    fixed, moving = (_image(given[name], given[f"{name}_affine"]) for name in ("fixed", "moving"))
    try:
        found = [_register(*pair, " ".join(sys.argv[1:])) for pair in ((fixed, moving), (moving, fixed))]
    except RuntimeError as error:
        complaint.write(str(error).strip())
        complaint.close()
        sys.exit(1)
    answer.write(np.stack(found).tobytes())
    answer.close()


def _image(array: npt.NDArray[np.float32], affine: npt.NDArray[np.float64]) -> SimpleITK.Image:
    image = SimpleITK.GetImageFromArray(array.T)
    spacing = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    image.SetSpacing(spacing.tolist())
    image.SetOrigin((_TURN @ affine[:3, 3]).tolist())
    image.SetDirection((_TURN @ affine[:3, :3] / spacing).ravel().tolist())
    return image


def _register(fixed: SimpleITK.Image, moving: SimpleITK.Image, start: str) -> npt.NDArray[np.float64]:
    greedy = Greedy3D()
    greedy.execute(_COMMAND.format(start), fixed=fixed, moving=moving, found=None)
    return np.ascontiguousarray(greedy["found"], np.float64)


if __name__ == "__main__":
    main()
