"""What can be wrong with what a user gives, and what each gets: one table for tests, docs and ``explain``.

The tests build every covered row from the small phantom and prove its answer (tests/bad_inputs).
"""

from __future__ import annotations

import difflib
from typing import NamedTuple

from gliomaseg.errors import CODES, NOTES, UsageError


class Row(NamedTuple):
    """One kind of bad input: ``answer`` is refused, repaired, warned, works or open (not covered)."""

    number: int
    given: str
    answer: str
    codes: str = ""
    why: str = ""


ROWS: tuple[Row, ...] = (
    Row(1, "a file or folder that is not there", "refused", "E-NOFILE", "names the nearest"),
    Row(2, "a folder given as a file, an image given as a case", "refused", "E-NOFILE E-NOCASE"),
    Row(3, "an empty file", "refused", "E-EMPTY"),
    Row(4, "a .nii.gz that was cut", "refused", "E-TRUNCATED", "also without --deep: its last bytes tell"),
    Row(
        5,
        "a flipped byte, a wrong or missing checksum",
        "refused",
        "E-CORRUPT E-TRUNCATED",
        "no rescue option",
    ),
    Row(6, "garbage behind the data, several gzip members", "warned", "W-TRAILING", "members are joined"),
    Row(7, "a .nii that was cut", "refused", "E-TRUNCATED"),
    Row(8, "a plain file named .nii.gz, or the reverse", "warned", "W-EXT", "the content decides"),
    Row(9, "a Git LFS, DVC or git-annex pointer, a web page", "refused", "E-POINTER"),
    Row(10, "a gzip bomb", "refused", "E-BOMB", "inflating stops behind the announced size"),
    Row(11, "a header that announces terabytes", "refused", "E-TOOBIG", "at most 512 x 512 x 512 voxels"),
    Row(12, "negative, zero or more than 7 dimensions", "refused", "E-HEADER"),
    Row(13, "a vox_offset that is no number, past the end or below 352", "refused", "E-HEADER"),
    Row(14, "an unknown voxel type, or one of another size", "refused", "E-DTYPE"),
    Row(15, "big-endian", "works", "", "the result is little-endian"),
    Row(
        16,
        "NIfTI-2; an .hdr/.img pair, Analyze 7.5",
        "works",
        "E-FORMAT",
        "NIfTI-2 is read, pairs are refused",
    ),
    Row(
        17,
        "MGH, NRRD, MetaImage; DICOM, archives",
        "works",
        "E-FORMAT E-EXTRA E-CORRUPT",
        "NRRD and MetaImage need SimpleITK; the others are named, with a converter",
    ),
    Row(18, "colour, complex or structured voxels", "refused", "E-DTYPE"),
    Row(19, "a two-dimensional image", "refused", "E-NDIM"),
    Row(20, "four dimensions with one volume", "warned", "W-NDIM"),
    Row(21, "four sequences in one file (MSD)", "works", "E-NDIM", "split as dataset.json says"),
    Row(22, "a time series", "refused", "E-NDIM"),
    Row(23, "NaN voxels", "repaired", "W-VALUES E-VALUES", "more than 5 % of the brain is refused"),
    Row(24, "infinite voxels", "repaired", "W-VALUES E-VALUES", "become the largest or smallest there is"),
    Row(25, "an image that is the same everywhere", "refused", "E-CONSTANT"),
    Row(
        26,
        "an infinite scl_slope, or scaling that overflows",
        "warned",
        "W-SCALE E-VALUES",
        "0 and NaN: unscaled",
    ),
    Row(27, "negative or huge intensities", "warned", "W-RANGE", "clipped to percentiles inside the brain"),
    Row(
        28,
        "a voxel size of 0, below 0.1 or above 20 mm",
        "refused",
        "E-SPACING",
        "no override: repair the header",
    ),
    Row(
        29,
        "an affine that is NaN, singular or sheared",
        "refused",
        "E-AFFINE W-AFFINE",
        "0.6 degrees are let pass",
    ),
    Row(30, "sform and qform that differ", "warned", "W-AFFINE E-AFFINE", "by more than 1 mm: refused"),
    Row(
        31,
        "no orientation code",
        "warned",
        "W-ORIENT E-GRID",
        "taken as left-anterior-superior; refused where the other sequences lie elsewhere",
    ),
    Row(32, "any of the 48 orientations", "works"),
    Row(33, "an oblique image", "works"),
    Row(
        34,
        "voxels far from 1 mm, or of uneven sides",
        "repaired",
        "W-SPACING W-THICK W-COARSE",
        "computed at 1 mm, labels put back; over 10 mm unreliable",
    ),
    Row(
        35,
        "sequences of different shape",
        "repaired",
        "W-GRID E-GRID",
        "resampled where the brains then agree",
    ),
    Row(36, "sequences of one shape in different places", "refused", "E-GRID W-GRID", "resampled as in 35"),
    Row(37, "sequences that are not registered, or of two patients", "warned", "W-ALIGN"),
    Row(38, "swapped sequences", "refused", "E-MODALITY-ORDER", "--force goes on"),
    Row(39, "one image given twice", "refused", "E-DUPLICATE", "also when it is rescaled or noisy"),
    Row(40, "T1 in place of T1 with contrast", "warned", "W-CONTRAST"),
    Row(41, "a missing sequence", "warned", "W-MISSING", "E-MODALITY with a model that can't do without"),
    Row(42, "the skull left on", "refused", "E-SKULL", "no brain extraction yet; --force goes on"),
    Row(43, "already stripped, but asked to strip", "open", "", "there is no brain extraction yet"),
    Row(
        44, "no brain: too small, labels, or unlike its sequences", "refused", "E-NOTBRAIN", "--force goes on"
    ),
    Row(
        45,
        "an operated brain, a metastasis, a meningioma",
        "open",
        "",
        "not detected; the model card says so",
    ),
    Row(46, "a brain without tumour", "works", "W-NOTUMOUR"),
    Row(
        47,
        "an image, or one sequence, that ends within the brain",
        "warned",
        "W-EDGE W-COVER",
        "also where 0 follows; but below, where BraTS images end too; padding counts as missing",
    ),
    Row(48, "motion, low signal, strong bias", "open", "", "no quality score yet"),
    Row(49, "labels such as 2.9999", "works", "", "rounded within 0.01; evaluate notes it"),
    Row(50, "labels such as 0.5", "refused", "E-LABEL"),
    Row(51, "labels of another BraTS year", "refused", "E-LABELS", "names the schemes that fit"),
    Row(52, "label 4: cavity or enhancing", "refused", "E-LABELS", "the scheme decides, by name or layout"),
    Row(53, "labels 5, 255 or -1", "refused", "E-LABELS", "lists values and counts"),
    Row(54, "a reference on another grid", "refused", "E-GRID"),
    Row(55, "an empty reference", "warned", "W-EMPTYREF"),
    Row(56, "a reference that is mirrored, or outside the brain", "refused", "E-FLIP W-OUTSIDE"),
    Row(57, "two cases of one id, two files for one sequence", "refused", "E-DUPID", "the others go on"),
    Row(58, "a patient in training and validation", "works", "", "folds are made by patient"),
    Row(59, "names with spaces, quotes, dashes, other scripts", "works"),
    Row(
        60,
        "links, broken links, loops, a pipe or folder for a file",
        "works",
        "E-NOFILE E-POINTER",
        "followed once",
    ),
    Row(61, "a file or folder that may not be read", "refused", "E-PERM"),
    Row(62, "an output folder that can't be written", "refused", "E-OUTPUT E-PERM", "found before the work"),
    Row(
        63,
        "an output that is there",
        "works",
        "E-EXISTS",
        "the same: skipped; another: refused; an edited label map or files of others: also with --overwrite",
    ),
    Row(64, "a full disk", "refused", "E-DISK", "nothing half-written stays"),
    Row(65, "a kill in the middle", "works", "", "nothing half-written; the same command goes on"),
    Row(66, "two processes on one case", "refused", "E-LOCKED", "other cases first; a dead one holds none"),
    Row(67, "a network disk without locks", "works", "", "goes on without; results still appear whole"),
    Row(68, "too little memory", "refused", "E-MEM", "no retry with smaller windows"),
    Row(69, "Ctrl-C and SIGTERM", "works", "", "exit 130 and 143, says how to go on"),
    Row(70, "a GPU that is not there", "refused", "E-MODEL", "--device auto goes on with the CPU"),
    Row(71, "a model that is missing, damaged, newer, or no bundle", "refused", "E-MODEL"),
    Row(
        72,
        "a misspelled or impossible setting or choice",
        "refused",
        "E-SETTING E-PRESET E-USAGE",
        "names the nearest",
    ),
    Row(79, "a clock that is wrong", "works", "", "hashes decide, not times"),
    Row(80, "a file that changes while it is read", "refused", "E-CHANGED"),
    Row(81, "sequences of different dates or patients", "warned", "W-ALIGN", "only if they don't align"),
    Row(82, "a URL, a pipe, standard input", "refused", "E-NOFILE"),
    Row(
        83,
        "a CSV list by Excel: UTF-16, cp1252, sep=;, empty rows; missing columns, wrong paths",
        "works",
        "E-MANIFEST E-NOFILE",
        "names line and path; a workbook is refused",
    ),
    Row(84, "a plain terminal, another locale", "works"),
    Row(85, "no case found", "refused", "E-NOCASE", "exit 1, as every problem of data"),
    Row(
        86,
        "a header that turns the patient front to back or upside down",
        "open",
        "",
        "see the picture's letters",
    ),
    Row(
        87, "a CT, or another sequence, in the place of one", "open", "", "told where it is unlike the others"
    ),
    Row(
        88,
        "an image that no layout knows, where a sequence is missing",
        "refused",
        "E-UNKNOWN W-UNKNOWN",
        "--allow-missing goes on; noted where all four are there",
    ),
    Row(89, "an id that no folder can bear: too long, con, a dot at its end", "refused", "E-ID E-MANIFEST"),
    Row(92, "a channel for each label (one-hot) in evaluate", "refused", "E-NDIM", "says how to merge them"),
    Row(93, "a mask of 0 and 1 in evaluate", "works", "", "a note: only WT tells something"),
    Row(94, "gzip within gzip; bzip2, xz or zstd named .gz", "refused", "E-FORMAT", "says how to unpack it"),
    Row(90, "a background that is a constant, but not 0", "repaired", "W-BACKGROUND", "set to 0"),
    Row(
        91,
        "intensities too large for their type, wrapped to negative",
        "refused",
        "E-WRAPPED",
        "--force goes on",
    ),
)


def explain(code: str) -> list[str]:
    """Return lines about a code, such as E-TRUNCATED; raises UsageError (E-USAGE) for an unknown one."""
    name, known = code.upper(), {**CODES, **NOTES}
    if name not in known:
        close = difflib.get_close_matches(name, known, n=3)
        raise UsageError(
            "E-USAGE",
            f"there is no code {code}",
            expected="a code such as E-TRUNCATED or W-SPACING",
            remedy=f"did you mean {' or '.join(close)}?" if close else "docs/errors.md lists all of them",
        )
    kind = "warning: the work goes on" if name in NOTES else "error: the case, or the command, is refused"
    rows = [row for row in ROWS if name in row.codes.split()]
    cause = [f"  {row.given}" + (f" ({row.why})" if row.why else "") for row in rows]
    return [
        f"{name}: {known[name]}",
        f"A {kind}.".replace("A error", "An error"),
        *(["Comes from:"] if cause else []),
        *cause,
    ]
