"""Lists of cases as spreadsheets save them, and drafts, which are read back unchanged."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gliomaseg.cases.case import Case
from gliomaseg.cases.csv_list import write_list
from gliomaseg.cases.find import find_cases
from gliomaseg.errors import GliomasegError
from gliomaseg.exams.check_cases import name_table
from gliomaseg.labels import BRATS2023, MSD, UNSURE, Modality

CopyCase = Callable[..., Path]
Run = Callable[..., tuple[int, str, str]]

T1N, T1C, T2W, T2F = Modality
HEADER = "case;t1n;t1c;t2w;t2f"


def save(folder: Path, text: str, encoding: str = "utf-8", name: str = "cases.csv") -> Path:
    (folder / name).write_bytes(text.encode(encoding))
    return folder / name


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


# As spreadsheets save them


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
@pytest.mark.parametrize("start", ["", "sep=;\r\n"])
def test_any_encoding_with_or_without_the_first_line_of_excel(
    tmp_path: Path, encoding: str, start: str
) -> None:
    touch(tmp_path, *(f"Köln/ü{number}.nii" for number in range(4)))
    row = "Zoë – 1;" + ";".join(f"Köln/ü{number}.nii" for number in range(4))
    (case,) = find_cases(save(tmp_path, f"{start}{HEADER}\r\n{row}\r\n;;;;\r\n\r\n;;;;\r\n", encoding))
    assert (case.id, case.error) == ("Zoë – 1", None)
    assert [path.name for path in case.images.values()] == ["ü0.nii", "ü1.nii", "ü2.nii", "ü3.nii"]


def test_unicode_text_as_excel_saves_it(tmp_path: Path) -> None:
    touch(tmp_path, "a.nii")
    path = save(tmp_path, 'case\tt1n\tt1c\r\nx\t"a.nii"\t\r\n', "utf-16", "cases.txt")
    assert find_cases(path)[0].images == {T1N: tmp_path / "a.nii"}


@pytest.mark.parametrize("cell", ["", " ", "n/a", "NaN", "nan"])
def test_empty_cells(tmp_path: Path, cell: str) -> None:
    touch(tmp_path, "a.nii")
    (case,) = find_cases(save(tmp_path, f"{HEADER};seg\nx;a.nii;{cell};{cell};{cell};{cell}\n{cell};;;;;\n"))
    assert (case.images, case.reference) == ({T1N: tmp_path / "a.nii"}, None)


def test_a_wrong_path_names_its_row_and_the_others_go_on(tmp_path: Path) -> None:
    touch(tmp_path, "scan_b.nii", "c.nii")
    (tmp_path / "link.nii").symlink_to("gone.nii")
    rows = ("a;c.nii;;;", "b;c.nii;scam_b.nii;;", "c;link.nii;;;", "d;c.nii;;;gone/x.nii")
    a, b, c, d = find_cases(save(tmp_path, "sep=;\n" + HEADER + "\n" + "\n".join(rows) + "\n"))
    assert a.error is None
    for case, line, words in (
        (b, 4, "scam_b.nii does not exist"),
        (c, 5, "link to gone.nii"),
        (d, 6, "x.nii"),
    ):
        assert case.error is not None
        assert case.error.code == "E-NOFILE"
        assert f"{tmp_path / 'cases.csv'} line {line}: " in case.error.what
        assert words in case.error.what
    assert b.error is not None
    assert "did you mean scan_b.nii" in b.error.remedy


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("cases.xlsx", b"PK\x03\x04\x14", "save the sheet as CSV"),
        ("cases.xls", b"\xd0\xcf\x11\xe0", "save the sheet as CSV"),
        ("cases.ods", b"PK\x03\x04", "save the sheet as CSV"),
        ("exam.zip", b"PK\x03\x04", "unpack it"),
        ("IM0001", bytes(128) + b"DICM" + bytes(400), "dcm2niix"),
        ("cases.csv", bytes(range(256)) * 4, "comma, semicolon or tab"),
    ],
)
def test_files_that_are_no_text_are_named(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(GliomasegError) as caught:
        find_cases(tmp_path / name)
    assert words in caught.value.remedy
    assert str(tmp_path / name) in caught.value.what
    assert caught.value.code in ("E-MANIFEST", "E-FORMAT")


def test_columns_for_patient_session_and_scheme(tmp_path: Path) -> None:
    touch(tmp_path, "a.nii", "s.nii")
    text = "case,patient,session,t1n,seg,scheme\n1,p,2020,a.nii,s.nii,MSD\n2,p,2021,a.nii,s.nii,\n"
    one, two = find_cases(save(tmp_path, text))
    assert [(c.patient, c.session) for c in (one, two)] == [("p", "2020"), ("p", "2021")]
    assert one.scheme is MSD
    assert two.scheme.name == "brats2021"
    with pytest.raises(GliomasegError, match="line 2: there is no label scheme 'mds'"):
        find_cases(save(tmp_path, text.replace("MSD", "mds")))


# Drafts


def test_a_draft_is_read_as_the_same_cases(tmp_path: Path) -> None:
    names = [f"BraTS-GLI-00005-00{n}/BraTS-GLI-00005-00{n}-{p}.nii" for n in range(2) for p in
             ("t1n", "t1c", "t2w", "t2f", "seg")]  # fmt: skip
    touch(tmp_path / "data", *names, "=cmd/=cmd_t1.nii", "sub-1/ses-2/anat/sub-1_ses-2_T1w.nii",
          "sub-1/ses-2/anat/sub-1_ses-2_dseg.nii", "imagesTr/a.nii", "labelsTr/a.nii")  # fmt: skip
    (tmp_path / "data" / "dataset.json").write_text(
        json.dumps({"modality": {"0": "T2w", "1": "FLAIR"}, "labels": {"1": "ED", "2": "NET", "3": "ET"}})
    )
    before = find_cases(tmp_path / "data")
    assert {case.scheme.name for case in before} >= {BRATS2023.name, MSD.name, UNSURE.name}
    write_list(tmp_path / "cases.csv", before)
    after = find_cases(tmp_path / "cases.csv")
    assert len(after) == len(before) == 5
    for one, two in zip(before, after, strict=True):
        for name in ("id", "patient", "session", "images", "channels", "reference"):
            assert getattr(one, name) == getattr(two, name), name
        assert two.scheme is (one.scheme if one.reference else two.scheme)
        assert two.error is None


@pytest.mark.parametrize("name", ["=cmd", "+1", "-2", "@x"])
def test_no_cell_of_a_draft_is_a_formula(tmp_path: Path, name: str) -> None:
    touch(tmp_path, f"{name}/{name}_t1.nii", f"{name}/{name}_T1wCE.nii")
    before = find_cases(tmp_path)
    write_list(tmp_path / "cases.csv", before)
    _, *rows = csv.reader((tmp_path / "cases.csv").read_text("utf-8-sig").splitlines())
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row)
    (case,) = find_cases(tmp_path / "cases.csv")
    assert (case.id, case.patient, case.images) == (name, before[0].patient, before[0].images)


def test_a_draft_never_replaces_an_image(tmp_path: Path, run: Run) -> None:
    touch(tmp_path, "a/a_t1.nii")
    code, _, err = run("check", tmp_path, "--draft", tmp_path / "a" / "a_t1.nii", "--overwrite")
    assert code == 1
    assert "E-OUTPUT" in err
    assert "choose another name with --draft" in err


def test_a_draft_leaves_ambiguous_cells_empty_and_is_never_overwritten(tmp_path: Path, run: Run) -> None:
    touch(
        tmp_path / "d",
        "a/a_t1.nii",
        "a/a_T1wCE.nii",
        "b/b_t1.nii",
        "b/b_t1.nii.gz",
        "b/b_t2.nii",
        "c/c_t1.nii",
    )
    touch(tmp_path / "d", "more/c/c_t2.nii")
    draft = tmp_path / "cases.csv"
    code, _, err = run("check", tmp_path / "d", "--draft", draft)
    assert code == 1
    assert f"gliomaseg segment {draft}" in err
    rows = {row["case"]: row for row in csv.DictReader(draft.read_text("utf-8-sig").splitlines())}
    assert (rows["a"]["t1n"], rows["a"]["t1c"]) == ("d/a/a_t1.nii", "")
    assert rows["a"]["not understood"] == "d/a/a_T1wCE.nii"
    assert (rows["b"]["t1n"], rows["b"]["t2w"]) == ("", "d/b/b_t2.nii")
    assert rows["b"]["not understood"] == "d/b/b_t1.nii; d/b/b_t1.nii.gz"
    assert rows["c"]["not understood"] == "d/more/c/c_t2.nii"
    before = draft.read_bytes()
    draft.write_bytes(before + b"mine")
    code, _, err = run("check", tmp_path / "d", "--draft", draft)
    assert code == 1
    assert "E-EXISTS" in err
    assert draft.read_bytes() == before + b"mine"
    run("check", tmp_path / "d", "--draft", draft, "--overwrite")
    assert draft.read_bytes() == before


def test_a_corrected_draft_is_segmented(copy_case: CopyCase, tmp_path: Path, run: Run) -> None:
    folder = copy_case("a", tmp_path / "data")
    (folder / "a_t1ce.nii.gz").rename(folder / "a_T1wCE.nii.gz")
    code, _, err = run("segment", tmp_path / "data", "-o", tmp_path / "out")
    assert code == 1
    assert "E-UNKNOWN" in err
    assert "a_T1wCE.nii.gz" in err
    draft = tmp_path / "cases.csv"
    run("check", tmp_path / "data", "--draft", draft)
    text = draft.read_text("utf-8-sig").replace("a_t1.nii.gz,,", "a_t1.nii.gz,data/a/a_T1wCE.nii.gz,")
    draft.write_text(text)
    code, _, err = run("segment", draft, "-o", tmp_path / "out")
    assert code == 0, err
    assert json.loads((tmp_path / "out" / "a" / "run.json").read_text())["missing"] == []
    code, _, err = run("segment", tmp_path / "data", "-o", tmp_path / "more", "--allow-missing")
    assert code == 0, err
    record = json.loads((tmp_path / "more" / "a" / "run.json").read_text())
    assert record["missing"] == ["t1c"]
    assert "W-UNKNOWN" in {note["code"] for note in record["notes"]}
    assert "a_T1wCE.nii.gz" in json.dumps(record["notes"])


# What check shows


def test_check_shows_the_files_of_each_case(copy_case: CopyCase, tmp_path: Path, run: Run) -> None:
    for name in ("a-1", "a-2"):
        copy_case(name, tmp_path / "data")
    shutil.copyfile(tmp_path / "data/a-1/a-1_t1.nii.gz", tmp_path / "data/a-1/a-1_cbv.nii.gz")
    code, out, _ = run("check", tmp_path / "data")
    assert code == 0
    shown = "".join(out.replace("│", "").split())
    assert "CASE_cbv.nii.gz" in shown
    assert "BraTS2018to2021" in shown
    code, out, _ = run("check", tmp_path / "data", "--json")
    one, two = json.loads(out)
    names = {"t1n": "t1", "t1c": "t1ce", "t2w": "t2", "t2f": "flair"}
    assert one["files"] == {m: f"a-1/a-1_{name}.nii.gz" for m, name in names.items()}
    assert one["not_understood"] == ["a-1/a-1_cbv.nii.gz"]
    assert (two["reference"], two["patient"], two["session"]) == ("a-2/a-2_seg.nii.gz", "a-2", "")


def test_cases_that_are_named_alike_are_shown_once() -> None:
    cases = [
        Case(f"sub-1_ses-{n}", {T1C: Path(f"d/sub-1_ses-{n}_ce-x_T1w.nii")}, layout="BIDS") for n in range(12)
    ]
    stack = Path("i/b.nii")
    stacked = Case(
        "b", {T1N: stack, T2F: stack}, Path("l/b.nii"), channels={T1N: 1, T2F: 0}, unknown=(stack,)
    )
    assert name_table([*cases, stacked]) == [
        ["cases", "layout", "role", "file"],
        ["12 of 1 patient", "BIDS", "t1c", "CASE_ce-x_T1w.nii"],
        *(["", "", name, "(missing)"] for name in ("t1n", "t2w", "t2f")),
        ["b", "", "t1n", "CASE.nii#1"],
        ["", "", "t2f", "CASE.nii#0"],
        ["", "", "t1c", "(missing)"],
        ["", "", "t2w", "(missing)"],
        ["", "", "reference", "l/CASE.nii"],
        ["", "", "not understood", "CASE.nii"],
    ]
    many = name_table([Case(f"c{n}", {T1N: Path(f"d/{n}.nii")}) for n in range(15)])
    assert many[-1] == ["3 others", "", "", "see --json or --draft"]
