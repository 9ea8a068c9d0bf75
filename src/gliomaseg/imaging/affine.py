"""The geometry of an image from its NIfTI header: voxel size, orientation and position, all validated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

from gliomaseg.errors import ImageError, Note
from gliomaseg.imaging.volume import GRID_TOLERANCE_MM, Affine, Grid

#: Farthest position of a voxel from the origin; float32 still resolves 0.1 mm there.
_FARTHEST_MM = 1e6
#: Largest cosine between two axes: from float32 rounding, and before axes count as sheared (0.6 degrees; ITK
#: refuses such images too).
_ROUNDING, _SHEAR = 1e-4, 1e-2
#: Largest distance of a corner between sform and qform that gets a note; beyond it the image is refused.
_FORMS_APART_MM = 1.0
#: Units of length other than mm (code 2) by their code, in mm; 0 is none.
_UNITS_MM = {1: 1000.0, 3: 0.001}
#: The fields of the geometry, besides the first four numbers of pixdim.
_GEOMETRY = [
    *("xyzt_units", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z"),
]


def read_place(path: Path, header: nib.Nifti1Header, shape: tuple[int, int, int], notes: list[Note]) -> Grid:
    """Return the validated grid of a header; oddities with only one reading are added to ``notes``.

    Raises ImageError (E-SPACING, E-AFFINE, E-HEADER) naming ``path``.
    """
    codes = int(header["qform_code"]), int(header["sform_code"])
    if not all(0 <= code <= 5 for code in codes):  # readers disagree about others
        raise bad_header(path, f"qform_code and sform_code are {codes}", "codes from 0 to 5")
    unit = _unit_mm(path, header, notes)
    if not header["sform_code"]:
        _check_spacing(path, header["pixdim"][1:4] * unit)
    with np.errstate(all="ignore"):
        affine = _affine(path, header, unit)
        stored = {name: header[name] for name in _GEOMETRY} | {"pixdim": header["pixdim"][:4]}
        fields = {  # as NIfTI-1 holds them
            name: np.array(value, np.float32 if value.dtype.kind == "f" else value.dtype)
            for name, value in stored.items()
        }
    check_affine(path, affine, notes)
    grid = Grid(shape, affine, fields)
    if codes == (0, 0):
        what = f"{path} has no orientation (qform_code and sform_code are 0)"
        assumed = "x is assumed to run to the left, y to the front, z upwards; left and right may be swapped"
        notes.append(Note("W-ORIENT", what, assumed))
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
    """Return the header's unit of length in mm; 1 where it gives none, or an impossible one."""
    unit = _UNITS_MM.get(int(header["xyzt_units"]) & 7, 1.0)
    with np.errstate(all="ignore"):
        rows = np.array([header["srow_x"][:3], header["srow_y"][:3], header["srow_z"][:3]])
        spacing = np.sqrt((rows**2).sum(axis=0)) if header["sform_code"] else np.abs(header["pixdim"][1:4])
        if unit == 1 or _is_possible(spacing * unit) or not _is_possible(spacing):
            return unit
    name = "metres" if unit > 1 else "micrometres"
    what = f"{path} gives its voxel size {spacing[0]:g} in {name}, which is impossible"
    notes.append(Note("W-SPACING", what, "mm are assumed"))
    return 1.0


def _check_axes(path: Path, directions: Affine, notes: list[Note]) -> None:
    cosines = np.abs(directions.T @ directions - np.eye(3)).max()
    if cosines > _SHEAR or abs(np.linalg.det(directions)) < 0.5:
        raise _bad_affine(path, "its axes are not at right angles (singular or sheared)")
    if cosines > _ROUNDING:
        what = f"{path} has axes {np.degrees(np.arcsin(cosines)):.2g} degrees off right angles"
        notes.append(Note("W-AFFINE", what, "they were used as they are"))


def _check_forms(path: Path, header: nib.Nifti1Header, unit: float, grid: Grid, notes: list[Note]) -> None:
    """Compare the corners under sform and qform; the sform is used, as in nibabel and ITK-SNAP."""
    try:
        with np.errstate(all="ignore"):
            other = _in_mm(header.get_qform(), unit)
    except (nib.spatialimages.HeaderDataError, ValueError):
        other = np.full((4, 4), np.inf)
    apart = grid.corner_distance(other)
    if apart <= GRID_TOLERANCE_MM:
        return
    what = f"its sform {_origin(grid.affine)} and its qform {_origin(other)} are {apart:.3g} mm apart"
    if not apart <= _FORMS_APART_MM:
        raise _bad_affine(path, what, "make both equal, or set the wrong one's code to 0")
    notes.append(Note("W-AFFINE", f"{path}: {what}", "the sform was used"))


def _origin(affine: Affine) -> str:
    return "(origin " + ", ".join(f"{v:.4g}" for v in affine[:3, 3]) + ")"


def _in_mm(affine: npt.ArrayLike, unit: float) -> Affine:
    return np.diag([unit, unit, unit, 1.0]) @ np.asarray(affine, dtype=np.float64)


def _affine(path: Path, header: nib.Nifti1Header, unit: float) -> Affine:
    if abs(header["pixdim"][0]) != 1:  # as in the standard's own reader: any number is a sign
        header["pixdim"][0] = -1 if header["pixdim"][0] < 0 else 1
    try:
        affine = _in_mm(header.get_best_affine(), unit)
    except (nib.spatialimages.HeaderDataError, ValueError) as error:
        raise _bad_affine(path, "its orientation fields contradict each other") from error
    if not np.all(np.abs(affine) < _FARTHEST_MM):
        raise _bad_affine(path, "its orientation fields are not finite, or place it over a kilometre away")
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
    """Return a NIfTI-1 header for ``array`` (x, y, z) with the geometry of ``grid`` and no description."""
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
    """Return an E-HEADER error."""
    return ImageError(
        "E-HEADER", f"{path}: {what}", expected=expected, remedy="copy or export the file again"
    )


def _bad_affine(path: Path, what: str, remedy: str = "") -> ImageError:
    return ImageError(
        "E-AFFINE",
        f"{path}: {what}",
        expected="an sform or qform that places the image in space, at right angles; both the same",
        remedy=remedy or "export it again from the scanner's DICOM, or copy the header of an intact sequence",
    )
