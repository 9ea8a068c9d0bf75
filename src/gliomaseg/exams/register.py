"""Where one sequence lies in another: a rigid movement, and how sure it is.

Always register, even where headers agree: in a real exam they were wrong by 7 to 18 mm. There is no truth to
compare with, so both directions are registered from scratch, and must undo each other. This module doesn't
know one kind of sequence from another, and leaves resampling to others.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gliomaseg.errors import CaseError, missing_extra
from gliomaseg.exams.likeness import likeness
from gliomaseg.imaging.nifti import Voxels
from gliomaseg.imaging.resample import regrid
from gliomaseg.imaging.volume import Grid, standard_grid

_Matrix = npt.NDArray[np.float64]

#: Voxels that are compared, in mm: finer ones are averaged.
_SIZE_MM = 2.0
#: Intensities are clipped at these percentiles.
_CLIPPED = (0.5, 99.5)
#: What is brighter than this share of the clipped range counts as head.
_HEAD = 0.1
#: The head is sampled at every n-th voxel along each axis.
_STEP = 2
#: The most by which there and back may differ anywhere in the head: real ones at most 0.74.
MOST_APART_MM = 2.0
#: The largest turn, and the least share of the smaller head that both images show.
MOST_DEGREES, LEAST_OVERLAP = 45.0, 0.6
#: The least likeness: pairs of two people at most 1.21, of one at least 1.31.
LEAST_ALIKE = 1.25
_CENTRES = "-ia-image-centers"


class _Try(NamedTuple):
    """How greedy starts, its rounds, and the most mm by which there and back may then differ."""

    start: str
    rough: str
    fine: str
    most_apart_mm: float


#: First with one image's centre on the other's; then with more rounds; then, too, from the best of 200 random
#: places around it, of 20 degrees and 20 mm (standard deviations).
_TRIES = (
    _Try(_CENTRES, "100x20", "20", MOST_APART_MM / 2),
    _Try(_CENTRES, "100x50", "40", MOST_APART_MM),
    _Try(f"{_CENTRES} -search 200 20 20", "100x50", "40", MOST_APART_MM),
)
_SECONDS = 300.0


@dataclass(frozen=True)
class Rigid:
    """A rigid movement: ``matrix`` (4, 4) maps points of the fixed image to the moving one, in RAS mm.

    ``moved_mm`` is the mean distance, over the head, between where the headers and where the registration
    place a point; ``there_and_back_mm`` the largest distance, over the head, between a point and the one to
    which the registrations there and back bring it. ``likeness`` is how alike the two are, above 1.25 for one
    head; None if nothing can be compared.
    """

    matrix: _Matrix
    moved_mm: float
    there_and_back_mm: float
    likeness: float | None = None

    @property
    def degrees(self) -> float:
        """Return the angle of the turn."""
        return float(np.degrees(np.arccos(np.clip((np.trace(self.matrix[:3, :3]) - 1) / 2, -1, 1))))


@dataclass(frozen=True)
class _Coarse:
    """An image (x, y, z) of about 2 mm with clipped intensities, and points of its head (4, n) in RAS mm.

    ``darkest`` is what the head's voxels exceed.
    """

    array: npt.NDArray[np.float32]
    grid: Grid
    darkest: float
    head: _Matrix


def register(fixed: Voxels, moving: Voxels, *, name: str = "the sequence") -> Rigid:
    """Return the movement from ``fixed`` to ``moving``, whose ``name`` is for messages.

    The same images give the same bytes. It works in another process, on one core, so several can run at
    once. Raises CaseError (E-REGISTER) if there and back differ by more than 2 mm, the turn exceeds 45
    degrees, less than 60 % of the smaller head is in both or the likeness is below 1.25; SettingsError
    (E-EXTRA) without greedy.
    """
    images = _coarse(fixed, "the sequence that others are registered to"), _coarse(moving, name)
    for attempt in _TRIES:
        there, back = _run(*images, attempt, name)
        found = Rigid(there, _mean_moved(there, images[0].head), _apart(back @ there, images[0].head))
        if found.there_and_back_mm <= attempt.most_apart_mm:
            return _checked(found, *images, name)
    raise _failed(name, f"there and back differ by {found.there_and_back_mm:.1f} mm", f"{MOST_APART_MM:g} mm")


def require_greedy() -> None:
    """Raise SettingsError (E-EXTRA) unless registration is installed."""
    for library in ("picsl_greedy", "SimpleITK"):
        if find_spec(library) is None:
            raise missing_extra("registration", ModuleNotFoundError(name=library), extra="raw")


def _coarse(image: Voxels, name: str) -> _Coarse:
    array = np.nan_to_num(image.array.astype(np.float32), nan=0, posinf=0, neginf=0)
    grid = standard_grid(image.grid, _SIZE_MM)
    array = regrid(array, image.grid, grid)
    low, high = np.percentile(array, _CLIPPED)
    array = np.clip(array, low, high)
    darkest = float(low + _HEAD * (high - low))
    places = np.argwhere(array[::_STEP, ::_STEP, ::_STEP] > darkest) * _STEP
    if len(places) == 0:
        raise _failed(name, "it shows nothing", "a head")
    return _Coarse(array, grid, darkest, grid.affine @ np.c_[places, np.ones(len(places))].T)


def _run(fixed: _Coarse, moving: _Coarse, attempt: _Try, name: str) -> tuple[_Matrix, _Matrix]:
    """Return the matrices there and back."""
    require_greedy()
    given = io.BytesIO()
    np.savez(
        given,
        fixed=fixed.array,
        moving=moving.array,
        fixed_affine=fixed.grid.affine,
        moving_affine=moving.grid.affine,
    )
    command = [sys.executable, "-P", str(Path(__file__).with_name("greedy.py")), *attempt[:3]]
    few = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1")  # its libraries start faster
    try:
        ended = subprocess.run(  # noqa: S603  # our own file, no word of which a user gave
            command,
            input=given.getvalue(),
            capture_output=True,
            env={**os.environ, **few},
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _failed(name, f"it took more than {_SECONDS:g} s", "a second") from error
    found = np.frombuffer(ended.stdout)
    if ended.returncode or found.size != 32 or not np.isfinite(found).all():
        last = ended.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no result"]
        raise _failed(name, f"greedy ended with status {ended.returncode} ({last[0]})", "a rigid movement")
    there, back = found.reshape(2, 4, 4)
    return there, back


def _apart(matrix: _Matrix, points: _Matrix) -> float:
    """Return the largest distance in mm by which ``matrix`` moves one of ``points`` (4, n)."""
    return float(_moved(matrix, points).max())


def _mean_moved(matrix: _Matrix, points: _Matrix) -> float:
    return float(_moved(matrix, points).mean())


def _moved(matrix: _Matrix, points: _Matrix) -> npt.NDArray[np.float64]:
    return np.asarray(np.sqrt((((matrix @ points) - points)[:3] ** 2).sum(axis=0)))


def _checked(found: Rigid, fixed: _Coarse, moving: _Coarse, name: str) -> Rigid:
    """Return ``found`` with its likeness; raises CaseError (E-REGISTER) if it can't be true."""
    if found.degrees > MOST_DEGREES:
        raise _failed(name, f"it is turned by {found.degrees:.0f} degrees", f"{MOST_DEGREES:g} degrees")
    inside = max(
        _share_inside(found.matrix @ fixed.head, moving.grid),
        _share_inside(np.linalg.inv(found.matrix) @ moving.head, fixed.grid),
    )
    if inside < LEAST_OVERLAP:
        what = f"the images have {inside:.0%} of a head in common"
        raise _failed(name, what, f"{LEAST_OVERLAP:.0%}", "at least")
    alike = likeness((fixed.array, moving.array), (fixed.grid, moving.grid), found.matrix, fixed.darkest)
    if alike is not None and alike < LEAST_ALIKE:
        what = f"it seems to show another head (likeness {alike:.2f})"
        raise _failed(name, what, f"{LEAST_ALIKE:g}", "at least")
    return replace(found, likeness=alike)


def _share_inside(points: _Matrix, grid: Grid) -> float:
    """Return the share of ``points`` (4, n) in RAS mm that lie in the field of view of ``grid``."""
    voxels = (np.linalg.inv(grid.affine) @ points)[:3]
    ends = np.array(grid.shape)[:, None] - 0.5
    return float(np.all((voxels >= -0.5) & (voxels <= ends), axis=0).mean())


def _failed(name: str, what: str, expected: str, bound: str = "at most") -> CaseError:
    return CaseError(
        "E-REGISTER",
        f"{name} can't be registered: {what}",
        expected=f"{bound} {expected}: two sequences of one head",
        remedy="look at both in a viewer, and leave the sequence out if it shows another head or body part",
    )
