"""Run greedy on two images, both ways, in a process of its own.

``register`` starts this file by its path, so it imports nothing of gliomaseg. A process of its own because
greedy holds the interpreter's lock while it works, prints from Fortran to descriptors 1 and 2, and may abort.

Arguments: how greedy starts, its rounds at a quarter and half of the resolution ("100x20"), then at full.
Standard input: an .npz with ``fixed`` and ``moving`` (x, y, z) float32, ``fixed_affine`` and
``moving_affine`` (4, 4) RAS mm. Standard output: two matrices (4, 4) of float64, fixed to moving and back,
RAS mm. When greedy fails: exit status 1, and what it says on standard error.
"""

from __future__ import annotations

import io
import os
import sys
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import SimpleITK
from picsl_greedy import Greedy3D

_Matrix = npt.NDArray[np.float64]

#: Six parameters and normalised mutual information. Without the seed two runs differ by 0.2 mm; with several
#: threads by 0.04 mm, and they are no faster.
_COMMAND = "-i fixed moving -a -dof 6 -m NMI {start} -n {rounds} -threads 1 -seed 7 -V 0 -o found"
_TURN = np.diag([-1.0, -1.0, 1.0])  # RAS to the LPS of ITK


class _Image(NamedTuple):
    """An array (x, y, z) and its affine (RAS mm)."""

    array: npt.NDArray[np.float32]
    affine: _Matrix

    def halved(self) -> _Image:
        """Return the means of 2 x 2 x 2 voxels."""
        array = np.pad(self.array, [(0, n % 2) for n in self.array.shape], mode="edge")
        x, y, z = (n // 2 for n in array.shape)
        array = array.reshape(x, 2, y, 2, z, 2).mean(axis=(1, 3, 5))
        affine = self.affine @ np.diag([2.0, 2.0, 2.0, 1.0])
        affine[:3, 3] += self.affine[:3, :3] @ [0.5, 0.5, 0.5]
        return _Image(array, affine)

    def as_itk(self) -> SimpleITK.Image:
        """Return the image in the frame of ITK."""
        image = SimpleITK.GetImageFromArray(self.array.T)
        spacing = np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0))
        image.SetSpacing(spacing.tolist())
        image.SetOrigin((_TURN @ self.affine[:3, 3]).tolist())
        image.SetDirection((_TURN @ self.affine[:3, :3] / spacing).ravel().tolist())
        return image


def main() -> None:
    """Register as the arguments of the command line say, in greedy's words."""
    answer = os.fdopen(os.dup(1), "wb")
    complaint = os.fdopen(os.dup(2), "w")
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    given = np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False)
    fixed, moving = (_Image(given[name], given[f"{name}_affine"]) for name in ("fixed", "moving"))
    try:
        found = [_register(*pair, *sys.argv[1:]) for pair in ((fixed, moving), (moving, fixed))]
    except RuntimeError as error:
        complaint.write(str(error).strip())
        complaint.close()
        sys.exit(1)
    answer.write(np.stack(found).tobytes())
    answer.close()


def _register(fixed: _Image, moving: _Image, start: str, rough: str, fine: str) -> _Matrix:
    """Return the matrix from ``fixed`` to ``moving`` after rounds at a quarter, half and full size.

    In the last step every second voxel of the fixed image along each axis is compared: an eighth of the
    work, and as exact. Left out, the step would leave half as much error again.
    """
    first = _run(fixed.halved(), moving.halved(), start, rough)
    few = fixed.array[::2, ::2, ::2], fixed.affine @ np.diag([2.0, 2.0, 2.0, 1.0])
    return _run(_Image(few[0], first @ few[1]), moving, "-ia-identity", fine) @ first


def _run(fixed: _Image, moving: _Image, start: str, rounds: str) -> _Matrix:
    greedy = Greedy3D()
    command = _COMMAND.format(start=start, rounds=rounds)
    greedy.execute(command, fixed=fixed.as_itk(), moving=moving.as_itk(), found=None)
    return np.array(greedy["found"], np.float64)


if __name__ == "__main__":
    main()
