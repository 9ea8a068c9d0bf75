"""Finding cases by name: every layout that is claimed, lists, and what must not be taken for a case."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from gliomaseg.cases.case import Case
from gliomaseg.cases.find import case_of_files, find_case, find_cases
from gliomaseg.cases.headers import read_headers
from gliomaseg.cases.layouts import parse_name
from gliomaseg.errors import CaseError, GliomasegError, ImageError, UsageError
from gliomaseg.labels import BRATS2021, BRATS2023, BRATS2024, Modality

T1N, T1C, T2W, T2F = Modality
OLD = ("t1", "t1ce", "t2", "flair", "seg")
NEW = ("t1n", "t1c", "t2w", "t2f", "seg")


def touch(root: Path, *names: str) -> Path:
    """Make empty files; finding cases never opens them."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def case_files(
    case_id: str, parts: Sequence[str] = OLD, *, end: str = ".nii.gz", dash: str = "_"
) -> list[str]:
    return [f"{case_id}{dash}{part}{end}" for part in parts]


def in_folder(folder: str, names: Sequence[str]) -> list[str]:
    return [f"{folder}/{name}" for name in names]


def names_of(case: Case) -> dict[str, str]:
    return {modality.value: path.name for modality, path in case.images.items()}


def carried(code: str, path: Path) -> GliomasegError:
    """Return the error of the only case there, which is raised when its sequences are requested."""
    (case,) = find_cases(path)
    assert case.error is not None
    assert case.error.code == code, case.error
    assert case.error.remedy
    for ask in (case.require, case.present):
        with pytest.raises(GliomasegError) as caught:
            ask(tuple(Modality))
        assert caught.value is case.error
    return case.error


def refused(code: str, path: Path) -> GliomasegError:
    with pytest.raises(GliomasegError) as caught:
        find_cases(path)
    assert caught.value.code == code, caught.value
    assert caught.value.remedy
    return caught.value


# The layouts of spec/layouts.md


@pytest.mark.parametrize(
    ("case_id", "where", "parts", "end", "dash"),
    [
        ("Brats18_2013_20_1", "HGG/Brats18_2013_20_1", OLD, ".nii.gz", "_"),
        ("Brats18_TCIA13_615_1", "MICCAI_BraTS_2018_Data_Training/LGG/{}", OLD, ".nii.gz", "_"),
        ("BraTS19_CBICA_AAB_1", "HGG/BraTS19_CBICA_AAB_1", OLD, ".nii.gz", "_"),
        ("BraTS20_Training_001", "MICCAI_BraTS2020_TrainingData/{}", OLD, ".nii", "_"),
        ("BraTS2021_00005", "{}", OLD, ".nii.gz", "_"),
        ("BraTS-GLI-00005-000", "{}", NEW, ".nii.gz", "-"),
        ("BraTS-MET-00005-000", "{}", NEW, ".nii.gz", "-"),
        ("BraTS-SSA-00005-000", "{}", NEW, ".nii", "-"),
        ("UPENN-GBM-00001_11", "{}", ("T1", "T1GD", "T2", "FLAIR", "seg"), ".nii.gz", "_"),
        ("flat", ".", OLD, ".nii.gz", "_"),
        ("SCREAM", "{}", ("T1", "T1CE", "T2", "FLAIR", "SEG"), ".NII.GZ", "_"),
        ("Grüße an Zoë", "Ordner mit Leer zeichen/{}", OLD, ".nii.gz", "_"),
        ("患者-1", "数据/{}", NEW, ".nii.gz", "-"),
        ("-rf", "{}", OLD, ".nii.gz", "_"),
        ('it\'s "quoted"', "{}", OLD, ".nii.gz", "_"),
        ("BraTS_t1_study_seg_7", "{}", OLD, ".nii.gz", "_"),
    ],
)
def test_layouts(tmp_path: Path, case_id: str, where: str, parts: Sequence[str], end: str, dash: str) -> None:
    files = case_files(case_id, parts, end=end, dash=dash)
    folder = touch(tmp_path, *in_folder(where.format(case_id), files)) / where.format(case_id)
    for root in (tmp_path, folder, str(tmp_path)):
        (case,) = find_cases(root)
        assert case.id == case_id
        assert list(case.images) == [T1N, T1C, T2W, T2F]
        assert [path.name for path in case.images.values()] == files[:4]
        assert all(path.exists() for path in case.images.values())
        assert case.reference is not None
        assert case.reference.name == files[4]
        assert case.scheme == (BRATS2023 if dash == "-" else BRATS2021)
    assert find_case(folder) == case


def test_kaggle_copy_of_brats_2020(tmp_path: Path) -> None:
    root = tmp_path / "BraTS2020_TrainingData" / "MICCAI_BraTS2020_TrainingData"
    for case_id in ("BraTS20_Training_001", "BraTS20_Training_355"):
        touch(root / case_id, *case_files(case_id, end=".nii"))
    (root / "BraTS20_Training_355" / "BraTS20_Training_355_seg.nii").unlink()
    touch(root / "BraTS20_Training_355", "W39_1998.09.19_Segm.nii")
    touch(root, "name_mapping.csv", "survival_info.csv")
    first, second = find_cases(tmp_path)
    assert first.reference is not None
    assert first.reference.name == "BraTS20_Training_001_seg.nii"
    assert second.reference is not None
    assert second.reference.name == "W39_1998.09.19_Segm.nii"
    assert second.scheme is BRATS2021


def test_a_stray_reference_never_replaces_a_named_one_and_never_is_guessed(tmp_path: Path) -> None:
    touch(tmp_path / "named", *case_files("a"), "W39_Segm.nii")
    touch(tmp_path / "two", *case_files("b", OLD[:4]), "x_segm.nii.gz", "y_segm.nii.gz")
    touch(tmp_path / "flat", *case_files("c", OLD[:4]), *case_files("d", OLD[:4]), "x_segm.nii.gz")
    named, *others = find_cases(tmp_path)
    assert named.reference is not None
    assert named.reference.name == "a_seg.nii.gz"
    assert [case.id for case in others] == ["b", "c", "d"]
    assert all(case.reference is None for case in others)


def test_mixed_data_sets_in_one_folder_are_sorted_by_id(tmp_path: Path) -> None:
    touch(tmp_path, *in_folder("HGG/z", case_files("z")), *in_folder("LGG/b", case_files("b", end=".nii")))
    touch(tmp_path / "2023" / "a-1", *case_files("a-1", NEW, dash="-"))
    touch(tmp_path / "flat", *case_files("c"), *case_files("d", end=".nii"))
    cases = find_cases(tmp_path)
    assert [case.id for case in cases] == ["a-1", "b", "c", "d", "z"]
    assert [case.scheme for case in cases] == [BRATS2023, *[BRATS2021] * 4]


def test_the_scheme_can_be_overridden(tmp_path: Path) -> None:
    touch(tmp_path, *case_files("BraTS-GLI-00005-100", NEW, dash="-"))
    (case,) = find_cases(tmp_path, scheme=BRATS2024)
    assert case.scheme is BRATS2024


def test_timepoints_of_a_patient(tmp_path: Path) -> None:
    for case_id in ("BraTS-GLI-00005-000", "BraTS-GLI-00005-101", "BraTS-GLI-00006-000"):
        touch(tmp_path / case_id, *case_files(case_id, NEW, dash="-"))
    assert [c.patient for c in find_cases(tmp_path)] == ["BraTS-GLI-00005"] * 2 + ["BraTS-GLI-00006"]
    assert Case("BraTS2021_00005", {}).patient == "BraTS2021_00005"
    assert Case("Brats18_CBICA_AAB_1", {}).patient == "Brats18_CBICA_AAB_1"


@pytest.mark.parametrize(
    "name",
    [
        *("seg.nii.gz", "t1.nii.gz", "_t1.nii.gz", "a_t1.nii.gz.part", "a_t1.mhd", "a_t1.json"),
        *(
            "a_t1ce_mask.nii",
            "a_t1.nii.gz~",
            "at1.nii.gz",
            "a_t1c",
            "a_adc.nii.gz",
            "a_t10.nii.gz",
            "a-t1.nii.gz",
            "",
        ),
    ],
)
def test_names_that_belong_to_no_case(name: str) -> None:
    assert parse_name(name) is None


# Files that are no case


def test_our_own_results_are_no_cases(tmp_path: Path) -> None:
    for case_id in ("BraTS2021_00005", "BraTS-GLI-00005-000"):
        touch(tmp_path / "out" / case_id, "seg.nii.gz", "overview.png", "measurements.json", "run.json")
    error = refused("E-NOCASE", tmp_path / "out")
    assert "2 NIfTI files" in error.what
    touch(tmp_path, *in_folder("data/a", case_files("a")))
    assert [case.id for case in find_cases(tmp_path)] == ["a"]


def test_a_label_map_alone_is_no_case(tmp_path: Path) -> None:
    touch(tmp_path, "a_seg.nii.gz", "b-seg.nii.gz", "W39_Segm.nii")
    refused("E-NOCASE", tmp_path)


def test_hidden_files_drafts_and_hidden_folders_are_ignored(tmp_path: Path) -> None:
    touch(tmp_path / "a", *case_files("a"), *case_files("._a"), ".tmp-1-host-x_t1.nii.gz", ".DS_Store")
    touch(tmp_path / "__MACOSX" / "a", *case_files("._a"))
    touch(tmp_path, *in_folder(".tmp-17-host-abc/a", case_files("a")))
    touch(tmp_path, *in_folder(".git/annex/objects/a", case_files("a")))
    (case,) = find_cases(tmp_path)
    assert [p.name for p in case.images.values()] == case_files("a")[:4]
    assert len(find_cases(tmp_path / ".git")) == 1  # unless it is what was asked for


def test_a_folder_in_the_place_of_an_image_is_not_lost(tmp_path: Path) -> None:
    touch(tmp_path / "a_t1.nii.gz", "something.txt")
    touch(tmp_path, *case_files("a", OLD[1:]))
    (case,) = find_cases(tmp_path)
    assert list(case.images) == [T1N, T1C, T2W, T2F]
    with pytest.raises(ImageError, match="is a folder, not a file") as caught:
        read_headers(case, tuple(Modality))
    assert caught.value.code == "E-NOFILE"


def test_links_are_followed_once(tmp_path: Path) -> None:
    touch(tmp_path / "store", *in_folder("a", case_files("a")), *in_folder("b", case_files("b")))
    chosen = tmp_path / "chosen"
    chosen.mkdir()
    (chosen / "a").symlink_to(tmp_path / "store" / "a", target_is_directory=True)
    (chosen / "loop").symlink_to(chosen, target_is_directory=True)
    (chosen / "again").symlink_to(tmp_path / "store" / "a", target_is_directory=True)
    assert [case.id for case in find_cases(chosen)] == ["a"]
    single = touch(tmp_path / "single")
    single.mkdir()
    for name in case_files("b"):
        (single / name).symlink_to(tmp_path / "store" / "b" / name)
    (single / "c_t1.nii.gz").symlink_to(tmp_path / "gone")
    assert [case.id for case in find_cases(single)] == ["b", "c"]


def test_an_empty_folder(tmp_path: Path) -> None:
    error = refused("E-NOCASE", tmp_path)
    assert "0 NIfTI files" in error.what
    assert "BraTS2021_00005_t1.nii.gz" in error.expected
    touch(tmp_path / "sub", "scan1.nii.gz", "SCAN2.NII", "notes.txt")
    assert "2 NIfTI files" in refused("E-NOCASE", tmp_path).what


def test_a_missing_path_suggests_similar_ones(tmp_path: Path) -> None:
    touch(tmp_path / "BraTS2021_00005", *case_files("BraTS2021_00005"))
    error = refused("E-NOFILE", tmp_path / "BraTS2021_0005")
    assert isinstance(error, ImageError)
    assert "did you mean BraTS2021_00005?" in error.remedy
    assert "spelling" in refused("E-NOFILE", tmp_path / "xyz" / "abc").remedy


def test_find_case_requires_one_case(tmp_path: Path) -> None:
    touch(tmp_path, *case_files("a"), *case_files("b"))
    with pytest.raises(CaseError, match="holds 2 cases") as caught:
        find_case(tmp_path)
    assert caught.value.code == "E-NOCASE"


# Duplicates


@pytest.mark.parametrize(("one", "two"), [("a", "a"), ("a", "A"), ("straße", "STRASSE")])
def test_two_cases_of_one_id(tmp_path: Path, one: str, two: str) -> None:
    touch(tmp_path / "HGG" / one, *case_files(one))
    touch(tmp_path / "LGG" / two, *case_files(two))
    error = carried("E-DUPID", tmp_path)
    assert str(tmp_path / "HGG" / one) in error.what
    assert str(tmp_path / "LGG" / two) in error.what
    touch(tmp_path / "HGG" / "other", *case_files("other"))
    assert [case.error is None for case in find_cases(tmp_path)].count(True) == 1


@pytest.mark.parametrize(
    "names",
    [
        ("a_t1.nii", "a_t1.nii.gz"),
        ("a_t1.nii.gz", "a_t1n.nii.gz"),
        ("a_t1ce.nii.gz", "a_t1gd.nii.gz"),
        ("a_t1.nii.gz", "a-t1n.nii.gz"),
        ("a_t1.nii.gz", "a_seg.nii", "a_seg.nii.gz"),
    ],
)
def test_two_files_for_one_sequence(tmp_path: Path, names: tuple[str, ...]) -> None:
    error = carried("E-DUPID", touch(tmp_path, *names))
    assert all(name in error.what for name in names[-2:])


# Missing sequences


def test_a_case_with_missing_sequences_is_found_and_refused_when_they_are_needed(tmp_path: Path) -> None:
    (case,) = find_cases(touch(tmp_path, *case_files("a", ("t1ce", "flair"))))
    assert list(case.images) == [T1C, T2F]
    assert case.reference is None
    assert case.require([T1C, T2F]) is case
    with pytest.raises(CaseError, match="case a has no t1n, t2w") as caught:
        case.require(Modality)
    assert caught.value.code == "E-MODALITY"
    assert "t1n, t1c, t2w, t2f" in caught.value.expected


# Files given by name


def test_case_of_files_in_any_order_and_by_any_name(tmp_path: Path) -> None:
    touch(tmp_path, *case_files("a b"))
    given = {"FLAIR": "a b_flair.nii.gz", "t1ce": "a b_t1ce.nii.gz", "t1n": "a b_t1.nii.gz"}
    case = case_of_files({name: tmp_path / file for name, file in given.items()})
    assert case.id == "a b"
    assert names_of(case) == {"t1n": "a b_t1.nii.gz", "t1c": "a b_t1ce.nii.gz", "t2f": "a b_flair.nii.gz"}
    assert case.reference is None
    assert case_of_files({"t1n": str(tmp_path / given["t1n"])}, "my id").id == "my id"


def test_files_without_a_common_id_get_the_id_case(tmp_path: Path) -> None:
    touch(tmp_path, "x.nii", "a_t1.nii", "b_t2.nii")
    assert case_of_files({"t1n": tmp_path / "x.nii"}).id == "case"
    assert case_of_files({"t1n": tmp_path / "a_t1.nii", "t2w": tmp_path / "b_t2.nii"}).id == "case"
    assert case_of_files({"t1n": tmp_path / "a_t1.nii", "t2w": tmp_path / "x.nii"}).id == "a"


def test_case_of_files_refuses_bad_files(tmp_path: Path) -> None:
    touch(tmp_path, "patient_t1.nii.gz")
    with pytest.raises(ImageError, match=r"did you mean patient_t1\.nii\.gz") as missing:
        case_of_files({"t1n": tmp_path / "patient_t2.nii.gz"})
    assert missing.value.code == "E-NOFILE"
    with pytest.raises(CaseError, match="no modality 'ct'") as unknown:
        case_of_files({"ct": tmp_path / "patient_t1.nii.gz"})
    assert unknown.value.code == "E-MODALITY"
    with pytest.raises(CaseError, match="given twice") as twice:
        case_of_files({"t1": tmp_path / "patient_t1.nii.gz", "t1n": tmp_path / "patient_t1.nii.gz"})
    assert twice.value.code == "E-MODALITY"


@pytest.mark.parametrize(
    "case_id",
    [
        "",
        "..",
        "../x",
        "a/b",
        "a\\b",
        ".hidden",
        "a\0b",
        "x" * 201,
        "ü" * 101,
        "a.",
        "a ",
        "NUL",
        "con.1",
        "summary.csv",
    ],
)
def test_an_id_that_would_leave_the_output_folder_is_refused(tmp_path: Path, case_id: str) -> None:
    touch(tmp_path, "x.nii")
    with pytest.raises(UsageError, match="E-USAGE"):
        case_of_files({"t1n": tmp_path / "x.nii"}, case_id)


# Lists


def write_list(folder: Path, text: str, *, encoding: str = "utf-8", newline: str = "\n") -> Path:
    path = folder / "cases.csv"
    path.write_bytes(text.replace("\n", newline).encode(encoding))
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_lists_of_any_dialect(tmp_path: Path, separator: str, newline: str, encoding: str) -> None:
    rows = [
        ["case", "t1n", "t1c", "t2w", "t2f", "seg"],
        ["ä 1", "imgs/1 a.nii", "imgs/1b.nii", "imgs/1c.nii", "imgs/1d.nii", "imgs/1s.nii"],
        ["2", "/abs/2a.nii", "../2b.nii", "2c.nii", "2d.nii", ""],
    ]
    text = "\n".join(separator.join(row) for row in rows) + "\n"
    two, one = find_cases(write_list(tmp_path, text, encoding=encoding, newline=newline))
    assert (one.id, two.id) == ("ä 1", "2")
    assert list(one.images) == list(Modality)
    assert list(one.images.values()) == [tmp_path / "imgs" / f"1{n}.nii" for n in (" a", "b", "c", "d")]
    assert one.reference == tmp_path / "imgs" / "1s.nii"
    assert two.images[T1N] == Path("/abs/2a.nii")
    assert two.images[T1C] == tmp_path / ".." / "2b.nii"
    assert two.reference is None
    assert one.scheme is BRATS2021


@pytest.mark.parametrize(
    "header",
    [
        "case,t1n,t1c,t2w,t2f,seg",
        "ID,T1,T1ce,T2,FLAIR,Label",
        " subject , t1w , t1gd , t2w , t2f , reference ",
        '"case_id","t1","t1c","t2","flair","labels"',
        "patient,t1n,t1ce,t2,t2f,SEG",
    ],
)
def test_columns_by_any_of_their_names(tmp_path: Path, header: str) -> None:
    text = f'{header}\nx, a.nii ,"b, c.nii", "d ""e"".nii",f.nii,s.nii\n'
    (case,) = find_cases(write_list(tmp_path, text))
    assert case.id == "x"
    assert names_of(case) == {"t1n": "a.nii", "t1c": "b, c.nii", "t2w": 'd "e".nii', "t2f": "f.nii"}
    assert case.reference == tmp_path / "s.nii"


def test_columns_in_any_order_with_others_between(tmp_path: Path) -> None:
    text = "age,t2f,site,case,t1c\n60,f.nii,Köln,x,c.nii\n\n61,g.nii,,y\n"
    one, two = find_cases(write_list(tmp_path, text))
    assert names_of(one) == {"t1c": "c.nii", "t2f": "f.nii"}
    assert names_of(two) == {"t2f": "g.nii"}


def test_a_list_takes_the_given_scheme(tmp_path: Path) -> None:
    (case,) = find_cases(write_list(tmp_path, "case,t1\nx,a.nii\n"), scheme=BRATS2023)
    assert case.scheme is BRATS2023


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "its columns are missing"),
        ("hello", "its columns are hello"),
        ("t1n,t1c\na.nii,b.nii\n", "its columns are t1n, t1c"),
        ("case,t1,t1n\nx,a.nii,b.nii\n", "its columns are case, t1, t1n"),
        ("case,seg\nx,a.nii\n", "its columns are case, seg"),
        ("case,t1n\n../x,a.nii\n", "line 2 has the case id '../x'"),
        ("case,t1n\nx,a.nii\n..,a.nii\n", "line 3 has the case id '..'"),
        ("case,t1n\nx,a.nii\n\n ,a.nii\n", "line 4 has the case id ''"),
        ("case,t1n\n.x,a.nii\n", "line 2 has the case id '.x'"),
        ("case,t1n,seg\nx,,s.nii\n", "line 2 names no image of case x"),
        ("case,t1n\nx,,\nx,,\n", "line 2 names no image of case x"),
        ("case,t1n\nx," + "a" * 200_000 + "\n", "not a table with columns"),
    ],
)
def test_lists_that_can_not_be_understood(tmp_path: Path, text: str, words: str) -> None:
    path = write_list(tmp_path, text)
    error = refused("E-MANIFEST", path)
    assert str(path) in error.what
    assert words in error.what
    assert "case, t1n, t1c, t2w, t2f" in error.expected


def test_a_list_without_rows_has_no_case(tmp_path: Path) -> None:
    refused("E-NOCASE", write_list(tmp_path, "case,t1n\n"))


def test_duplicate_ids_in_a_list(tmp_path: Path) -> None:
    error = carried("E-DUPID", write_list(tmp_path, "case,t1n\nx,a/1.nii\nX,b/1.nii\n"))
    assert str(tmp_path / "a") in error.what
    assert str(tmp_path / "b") in error.what


def test_an_image_given_as_a_case_is_refused(tmp_path: Path, phantom_case: Case) -> None:
    shutil.copyfile(phantom_case.images[T1N], tmp_path / "a.nii.gz")
    refused("E-NOCASE", tmp_path / "a.nii.gz")


# On disk


def test_the_phantom_is_a_case(phantom_case: Case) -> None:
    assert list(phantom_case.images) == [T1N, T1C, T2W, T2F]
    assert phantom_case.reference is not None
    assert phantom_case.scheme is BRATS2021


def test_the_real_cases(real_cases: list[Case]) -> None:
    assert len({case.id for case in real_cases}) == len(real_cases) > 0
    for case in real_cases:
        assert list(case.images) == [T1N, T1C, T2W, T2F]
        assert case.reference is not None
        assert {p.parent.name for p in (*case.images.values(), case.reference)} == {case.id}


def test_a_file_name_is_no_part_of_a_longer_one() -> None:
    case = Case("A", {Modality.T1C: Path("/x/A_t1c.nii.gz")}, brain_mask=Path("/x/mask.nii.gz"))
    assert case.anonymous("brain_mask.nii.gz and mask.nii.gz") == "brain_mask.nii.gz and the brain mask image"
