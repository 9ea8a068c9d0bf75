"""Build src/gliomaseg/assets/atlas.npz from the tissue maps of the nilearn wheel.

    pip download --no-deps nilearn==0.14.1
    python tools/build_atlas.py nilearn-0.14.1-py3-none-any.whl src/gliomaseg/assets

The maps are the ICBM 152 nonlinear symmetric 2009a probabilities at 1 mm. They are mirror-symmetric to the
last bit, so that only x >= 0 is kept; 64 levels are kept of 256; the rest is cropped to the brain. The
licence text is written beside the file, with the hashes of what went in and what came out.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt

LEVELS = 63
MEMBER = "nilearn/datasets/data/mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz"
NAMES = ("gm", "wm", "t1")

Bytes = npt.NDArray[np.uint8]


def main() -> None:
    """Read the wheel, write atlas.npz and ATLAS-LICENSE.txt."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path, help="nilearn-*.whl")
    parser.add_argument("folder", type=Path, help="where atlas.npz and ATLAS-LICENSE.txt go")
    arguments = parser.parse_args()
    members = read_members(arguments.wheel)
    gm, wm, t1 = (to_array(data) for data in members.values())
    maps, affine = halve(gm, wm, t1 > 0, to_affine(members["t1"]))
    target = arguments.folder / "atlas.npz"
    np.savez_compressed(target, maps=maps, levels=np.array(LEVELS), affine=affine)
    write_licence(arguments.folder / "ATLAS-LICENSE.txt", arguments.wheel, members, target)


def read_members(wheel: Path) -> dict[str, bytes]:
    """Return the three .nii.gz members of the wheel by name, still compressed."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(MEMBER.format(name=name)) for name in NAMES}


def to_image(data: bytes) -> nib.Nifti1Image:
    """Return the NIfTI image in compressed bytes."""
    return nib.Nifti1Image.from_stream(io.BytesIO(gzip.decompress(data)))


def to_array(data: bytes) -> Bytes:
    """Return the (x, y, z) voxels, 0..255 = probability 0..1 (t1: intensity, 0 outside the brain)."""
    return np.asarray(to_image(data).dataobj, dtype=np.uint8)


def to_affine(data: bytes) -> npt.NDArray[np.float64]:
    """Return the affine (4, 4) to MNI RAS+ mm."""
    return np.asarray(to_image(data).affine, dtype=np.float64)


def halve(
    gm: Bytes, wm: Bytes, brain: npt.NDArray[np.bool_], affine: npt.NDArray[np.float64]
) -> tuple[Bytes, npt.NDArray[np.float64]]:
    """Return (grey, white, brain) for x >= 0, quantised and cropped, and the affine of that half."""
    levels = [np.round(tissue * (LEVELS / 255)) * brain for tissue in (gm, wm)]
    maps = np.stack([*levels, brain]).astype(np.uint8)
    middle = round(-affine[0, 3] / affine[0, 0])
    if middle * 2 + 1 != gm.shape[0] or not np.array_equal(maps, maps[:, ::-1]):
        raise SystemExit("the maps are not symmetric about x = 0 any more: keep both halves")
    start = np.argwhere(brain).min(axis=0)
    stop = np.argwhere(brain).max(axis=0) + 1
    start[0] = middle
    moved = affine.copy()
    moved[:3, 3] += affine[:3, :3] @ start
    return maps[:, start[0] : stop[0], start[1] : stop[1], start[2] : stop[2]], moved


def write_licence(path: Path, wheel: Path, members: dict[str, bytes], target: Path) -> None:
    """Write the notice with the hashes of the sources and of the result."""
    lines = [f"  {sha256(data)}  {MEMBER.format(name=name)}" for name, data in members.items()]
    path.write_text(
        NOTICE.format(
            wheel=wheel.name,
            wheel_hash=sha256(wheel.read_bytes()),
            members="\n".join(lines),
            target_hash=sha256(target.read_bytes()),
        ),
        encoding="utf-8",
    )


def sha256(data: bytes) -> str:
    """Return the SHA-256 of ``data`` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


NOTICE = """\
atlas.npz: tissue maps of an average human brain, derived from the ICBM 152 nonlinear symmetric atlas,
version 2009a, of the McConnell Brain Imaging Centre
(https://nist.mni.mcgill.ca/icbm-152-nonlinear-atlases-2009/).

The notice of that atlas, which applies to atlas.npz:

  Copyright (C) 1993-2009 Louis Collins, McConnell Brain Imaging Centre, Montreal Neurological Institute,
  McGill University. Permission to use, copy, modify, and distribute this software and its documentation
  for any purpose and without fee is hereby granted, provided that the above copyright notice appear in all
  copies. The authors and McGill University make no representations about the suitability of this software
  for any purpose. It is provided "as is" without express or implied warranty. The authors are not
  responsible for any data loss, equipment damage, property loss, or injury to subjects or patients
  resulting from the use or misuse of this software package.

  (Some copies of the atlas, TemplateFlow's for instance, bear the years 1993-2004 in an otherwise equal
  notice.)

Where the files came from. They were taken out of the Python wheel of nilearn (BSD-3-Clause, (c) the nilearn
developers), which holds the maps rescaled to 0..255 ("_converted"). The wheel itself carries no notice for
them and its documentation calls their licence unknown; the notice above is the one of the atlas's authors.

  {wheel_hash}  {wheel}
{members}

What was done (tools/build_atlas.py): grey and white matter were set to 0 outside the brain (where the T1
template is 0), reduced to 64 levels, cropped to the brain and halved at x = 0, since the atlas is symmetric;
CSF is what grey and white matter leave of the brain. The atlas is an average of 152 volunteers; no image of a
patient went into it.

  {target_hash}  atlas.npz

References: Fonov et al., NeuroImage 54 (2011) 313-327; Fonov et al., NeuroImage 47 (2009) S102;
Collins et al., IPMI 1999, LNCS 1613, 210-223.
"""


if __name__ == "__main__":
    main()
