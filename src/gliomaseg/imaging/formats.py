"""File formats by their names and first bytes: images, files that stand for one, and remedies."""

from __future__ import annotations

import re
from pathlib import Path

#: The endings of files that are read.
ENDING = r"\.(?:nii(?:\.gz)?|nrrd|mha|mg[hz]|hdr)"
#: The names of images, whether they can be read or not.
_IMAGE = re.compile(r".+\.(?:nii(?:\.gz)?|nrrd|nhdr|mha|mhd|mg[hz]|hdr|dcm|ima)", re.IGNORECASE | re.DOTALL)
_NIFTI = (".nii", ".nii.gz")

#: How many bytes from the front of a file ``format_of`` needs.
_START = 540
#: The first bytes of files that stand for another: what they are, and how to get the file itself.
_POINTERS = {
    rb"version https://git-lfs": ("a Git LFS pointer", "run: git lfs pull"),
    rb"[./]*(git)?/annex/objects": ("a git-annex pointer", "run: git annex get"),
    rb"(md5: \w+\s+)?outs:": ("a DVC pointer", "run: dvc pull"),
    rb"<(!doctype|html)": ("a web page", "download the file itself again"),
    rb"<\?xml": ("an XML message", "download the file itself again"),
    rb"[{\[]": ("a JSON message", "download the file itself again"),
}
#: The first bytes of other formats: what they are, and how to make a NIfTI image of them.
_FORMATS = {
    rb".{344}ni[12]": (
        "the header of a NIfTI pair",
        "join .hdr and .img: nibabel reads the pair and saves it as .nii",
    ),
    rb"(\x5c\x01\0\0|\0\0\x01\x5c).{344}": (
        "an Analyze 7.5 header, which does not tell left from right",
        "export it as NIfTI from a program that knows its orientation",
    ),
    rb".{128}DICM": ("a DICOM file", "convert the series with dcm2niix"),
    rb"NRRD": ("an NRRD file", "rename it to end in .nrrd; reading it needs SimpleITK"),
    rb"ObjectType|NDims": ("a MetaImage file", "rename it to end in .mha; reading it needs SimpleITK"),
    rb"\0\0\0\x01\0\0[\0\x01].\0": ("an MGH file", "rename it to end in .mgh, or .mgz if compressed"),
    rb"\x08\0[\0-\x20]\0": ("a DICOM file without preamble", "convert the series with dcm2niix"),
    rb"PK\x03\x04": ("a zip archive", "unpack it"),
    rb"7z\xbc\xaf\x27|Rar!": ("an archive", "unpack it"),
    rb"\x89PNG|\xff\xd8\xff|GIF8|BM....\0\0\0\0": ("a picture", "export the MRI itself"),
    rb"CDF[\x01\x02]|\x89HDF": ("a MINC or HDF5 file", "convert it to NIfTI, for example with mnc2nii"),
    rb"\x1f\x8b": ("compressed twice: gzip within gzip", "decompress it once: gunzip -c FILE > COPY.nii.gz"),
    rb"BZh": ("compressed with bzip2", "decompress it: bunzip2 -c FILE > COPY.nii"),
    rb"\x28\xb5\x2f\xfd": ("compressed with zstd", "decompress it: unzstd -c FILE > COPY.nii"),
    rb".{257}ustar": ("a tar archive", "unpack it: tar -xf FILE"),
}


def is_image_name(name: str) -> bool:
    """Return whether a file name ends like an image's, whether that format can be read or not."""
    return _IMAGE.fullmatch(name) is not None


def is_nifti_name(name: str) -> bool:
    """Return whether a file name ends like a NIfTI image's: the one format that is written."""
    return name.lower().endswith(_NIFTI)


def format_of(start: bytes) -> tuple[str, str] | None:
    """Return the format of a file that is not NIfTI and the remedy, from its first bytes; None if unknown."""
    return next((known for mark, known in _FORMATS.items() if re.match(mark, start, re.DOTALL)), None)


def format_of_file(path: Path) -> tuple[str, str] | None:
    """Return what ``format_of`` returns for a file; None, too, for one that can't be read."""
    try:
        with path.open("rb") as stream:
            return format_of(stream.read(_START))
    except OSError:
        return None


def pointer_of(start: bytes) -> tuple[str, str] | None:
    """Return what stands in the place of an image, and the remedy; None where it is nothing known."""
    start = start.lstrip()
    return next((known for mark, known in _POINTERS.items() if re.match(mark, start, re.IGNORECASE)), None)
