"""Where an image lies in space, by its NIfTI header: proven, or in words why not. Door: nibabel.

Ignorant of voxels and of how they are stored.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

from gliomaseg.errors import ImageError, Note
from gliomaseg.imaging.volume import Affine, Grid

#: Farthest place of a voxel from the origin of space; float32 still tells 0.1 mm there.
_FARTHEST_MM = 1e6
#: Largest cosine between two axes: what float32 rounding leaves, and what is no right angle any more (0.6
#: degrees; ITK refuses such images too).
_ROUNDING, _SHEAR = 1e-4, 1e-2
#: How far sform and qform may place a corner apart, in mm: unnoticed, and with a warning.
_FORMS_AGREE_MM, _FORMS_APART_MM = 0.1, 1.0
#: Units of length other than the mm (code 2) that a header may give, by code, in mm; 0 is none.
_UNITS_MM = {1: 1000.0, 3: 0.001}
#: The fields that say where an image lies; pixdim too, but only its first four numbers.
_GEOMETRY = (
    "xyzt_units",
    "qform_code",
    "sform_code",
    "quatern_b",
    "quatern_c",
    "quatern_d",
    "qoffset_x",
    "qoffset_y",
    "qoffset_z",
    "srow_x",
    "srow_y",
    "srow_z",
)


def read_place(path: Path, header: nib.Nifti1Header, shape: tuple[int, int, int], notes: list[Note]) -> Grid:
    """Return the grid that a header describes, proven to be one; raises ImageError naming ``path``.

    What is odd but has one reading is added to ``notes``.
    """
    codes = int(header["qform_code"]), int(header["sform_code"])
    if not all(0 <= code <= 5 for code in codes):  # readers disagree on what others mean
        raise bad_header(path, f"qform_code and sform_code are {codes}", "codes from 0 to 5")
    unit = _unit_mm(path, header, notes)
    if not header["sform_code"]:
        _check_spacing(path, header["pixdim"][1:4] * unit)
    with np.errstate(all="ignore"):
        fields = {name: _field(header[name]) for name in _GEOMETRY}
        affine = _affine(path, header, unit)
        fields["pixdim"] = _field(header["pixdim"][:4])
    check_affine(path, affine, notes)
    grid = Grid(shape, affine, fields)
    if codes == (0, 0):
        notes.append(
            Note(
                "W-ORIENT",
                f"{path} does not say how it lies (qform_code and sform_code are 0)",
                "x was taken to run to the left, y to the front, z upwards: left and right are not certain",
            )
        )
    elif all(codes):
        _check_forms(path, header, unit, grid, notes)
    return grid


_HEADER_REMEDY = "export it again, or correct the voxel size in its header: pixdim, sform or qform is wrong"


def check_affine(path: Path, affine: Affine, notes: list[Note], remedy: str = _HEADER_REMEDY) -> None:
    """Raise ImageError (E-SPACING, E-AFFINE) unless ``affine`` has possible voxels at right angles."""
    with np.errstate(all="ignore"):
        spacing = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    _check_spacing(path, spacing, remedy)
    _check_axes(path, affine[:3, :3] / spacing, notes)


def _unit_mm(path: Path, header: nib.Nifti1Header, notes: list[Note]) -> float:
    """Return the header's unit of length in mm; 1 where it gives none, or one that can't be meant."""
    unit = _UNITS_MM.get(int(header["xyzt_units"]) & 7, 1.0)
    with np.errstate(all="ignore"):
        rows = np.array([header["srow_x"][:3], header["srow_y"][:3], header["srow_z"][:3]])
        spacing = np.sqrt((rows**2).sum(axis=0)) if header["sform_code"] else np.abs(header["pixdim"][1:4])
        if unit == 1 or _is_possible(spacing * unit) or not _is_possible(spacing):
            return unit
    name = "metres" if unit > 1 else "micrometres"
    what = f"{path} gives its voxel size {spacing[0]:g} in {name}, which can't be meant"
    notes.append(Note("W-SPACING", what, "it was taken as mm"))
    return 1.0


def _check_axes(path: Path, directions: Affine, notes: list[Note]) -> None:
    cosines = np.abs(directions.T @ directions - np.eye(3)).max()
    if cosines > _SHEAR or abs(np.linalg.det(directions)) < 0.5:
        raise _bad_affine(path, "its axes are not at right angles (singular or sheared)")
    if cosines > _ROUNDING:
        angle = np.degrees(np.arcsin(cosines))
        notes.append(
            Note(
                "W-AFFINE",
                f"{path} has axes {angle:.2g} degrees off right angles",
                "they were taken as they are",
            )
        )


def _check_forms(path: Path, header: nib.Nifti1Header, unit: float, grid: Grid, notes: list[Note]) -> None:
    """Compare where sform and qform place the corners; the sform is used, as by nibabel and ITK-SNAP."""
    try:
        with np.errstate(all="ignore"):
            other = _in_mm(header.get_qform(), unit)
    except (nib.spatialimages.HeaderDataError, ValueError):
        other = np.full((4, 4), np.inf)
    apart = corner_distance(grid, other)
    if apart <= _FORMS_AGREE_MM:
        return
    what = f"{path} is placed {apart:.3g} mm apart by its sform {_origin(grid.affine)} and its qform "
    what += _origin(other)
    if not apart <= _FORMS_APART_MM:
        raise _bad_affine(
            path, what.removeprefix(f"{path} "), "make both equal, or set the wrong one's code to 0"
        )
    notes.append(Note("W-AFFINE", what, "the sform was used"))


def corner_distance(grid: Grid, affine: Affine) -> float:
    """Return the largest distance in mm between the corners of ``grid`` and the same under ``affine``."""
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in grid.shape], [1])).reshape(4, -1)
    with np.errstate(all="ignore"):
        apart = np.sqrt((((grid.affine - affine) @ corners)[:3] ** 2).sum(axis=0)).max()
    return float(np.inf if np.isnan(apart) else apart)


def _origin(affine: Affine) -> str:
    return "(origin " + ", ".join(f"{v:.4g}" for v in affine[:3, 3]) + ")"


def _field(value: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """Return a header field as NIfTI-1 holds it."""
    return np.array(value, dtype=np.float32 if value.dtype.kind == "f" else value.dtype)


def _in_mm(affine: npt.ArrayLike, unit: float) -> Affine:
    return np.diag([unit, unit, unit, 1.0]) @ np.asarray(affine, dtype=np.float64)


def _affine(path: Path, header: nib.Nifti1Header, unit: float) -> Affine:
    if abs(header["pixdim"][0]) != 1:  # as the standard's own reader does: 0 and any other number are a sign
        header["pixdim"][0] = -1 if header["pixdim"][0] < 0 else 1
    try:
        affine = _in_mm(header.get_best_affine(), unit)
    except (nib.spatialimages.HeaderDataError, ValueError) as error:
        raise _bad_affine(path, "its orientation fields contradict each other") from error
    if not np.all(np.abs(affine) < _FARTHEST_MM):
        raise _bad_affine(path, "its orientation fields are not numbers, or place it a kilometre away")
    return affine


def _check_spacing(path: Path, spacing: npt.NDArray[np.floating[Any]], remedy: str = _HEADER_REMEDY) -> None:
    if not _is_possible(spacing):
        raise ImageError(
            "E-SPACING",
            f"{path} has a voxel size of {' x '.join(f'{s:g}' for s in spacing)} mm",
            expected="0.1 to 20 mm along each axis",
            remedy=remedy,
        )


def _is_possible(spacing: npt.NDArray[np.floating[Any]]) -> bool:
    return bool(np.all((spacing >= 0.1) & (spacing <= 20)))


def make_header(array: npt.NDArray[np.generic], grid: Grid) -> bytes:
    """Return a NIfTI-1 header for ``array`` (x, y, z) with the geometry of ``grid``, and no other text."""
    header = nib.Nifti1Header()
    header.set_data_dtype(array.dtype)
    header.set_data_shape(array.shape)
    if grid.header:
        header["pixdim"][:4] = grid.header["pixdim"]
        for name in _GEOMETRY:
            header[name] = grid.header[name]
    else:
        header.set_qform(grid.affine, code=1)
        header.set_sform(grid.affine, code=1)
        header.set_xyzt_units("mm")
    header["scl_slope"], header["scl_inter"] = 1.0, 0.0
    header["magic"], header["vox_offset"] = b"n+1", 352
    return bytes(header.binaryblock) + b"\0\0\0\0"


def bad_header(path: Path, what: str, expected: str) -> ImageError:
    """Return the E-HEADER error that ``what`` describes."""
    return ImageError(
        "E-HEADER", f"{path}: {what}", expected=expected, remedy="copy or export the file again"
    )


def _bad_affine(path: Path, what: str, remedy: str = "") -> ImageError:
    return ImageError(
        "E-AFFINE",
        f"{path}: {what}",
        expected="an sform or qform that places the image in space, at right angles; both the same",
        remedy=remedy or "export it again from the scanner's DICOM, or copy the geometry of a sound sequence",
    )
