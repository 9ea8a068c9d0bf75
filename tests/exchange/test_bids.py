"""A BIDS data set of results: its names and sidecars, what is never lost, and that it can be made again."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from gliomaseg import write_bids
from gliomaseg.errors import CaseError, GliomasegError, OutputError
from gliomaseg.exchange import bids
from gliomaseg.exchange.bids import require_bids
from gliomaseg.exchange.bids_case import itk_transform
from gliomaseg.storage import files, locks
from gliomaseg.storage.result_folder import LABELS, ResultFolder

MakeResult = Callable[..., ResultFolder]

DSEG = "space-T1c_desc-gliomaseg_dseg"


def tree(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def sidecar(root: Path, case: str = "sub-A1", name: str = DSEG) -> dict[str, object]:
    folder = root.joinpath(*case.split("_"), "anat")
    return dict(json.loads((folder / f"{case}_{name}.json").read_text()))


def states(root: Path, output: Path) -> list[tuple[str, str]]:
    return [(outcome.case_id, outcome.state) for outcome in write_bids(root, output)]


def refusal(root: Path, output: Path) -> GliomasegError:
    (error,) = [outcome.error for outcome in write_bids(root, output) if outcome.error]
    return error


def test_a_case_becomes_a_label_map_with_its_table_and_sidecar(
    make_result: MakeResult, tmp_path: Path
) -> None:
    made = make_result(tmp_path / "out")
    (outcome,) = write_bids(tmp_path / "out", tmp_path / "bids")
    anat = tmp_path / "bids" / "sub-A1" / "anat"
    assert (outcome.case_id, outcome.state, outcome.folder) == ("A-1", "done", anat)
    assert (anat / f"sub-A1_{DSEG}.nii.gz").read_bytes() == (made.path / LABELS).read_bytes()
    assert (anat / f"sub-A1_{DSEG}.tsv").read_text().splitlines() == [
        "index\tname\tabbreviation\tmapping",
        "0\tbackground\tBG\t0",
        "1\tnecrotic / non-enhancing core\tNCR\t7",
        "2\toedema\tED\t7",
        "4\tenhancing tumour\tET\t7",
    ]
    about = sidecar(tmp_path / "bids")
    assert "Research use only" in str(about["Description"])
    assert (about["Manual"], about["SpatialReference"]) == (False, "orig")
    own = dict(about["Gliomaseg"])  # type: ignore[call-overload]
    assert (own["Case"], own["Scheme"], own["Quality"], own["Reasons"]) == (
        "A-1",
        "brats2021",
        "review",
        ["why"],
    )
    assert own["Inputs"]["t1c"] == "of t1c"


def test_the_data_set_describes_itself(make_result: MakeResult, tmp_path: Path) -> None:
    make_result(tmp_path / "out")
    write_bids(tmp_path / "out", tmp_path / "bids")
    about = files.read_json(tmp_path / "bids" / "dataset_description.json")
    assert about["DatasetType"] == "derivative"
    (maker,) = about["GeneratedBy"]
    assert (maker["Name"], "Research use only" in maker["Description"]) == ("gliomaseg", True)
    assert "DatasetLinks" not in about
    assert "Research use only" in (tmp_path / "bids" / "README.md").read_text()
    assert (tmp_path / "bids" / "participants.tsv").read_text() == "participant_id\tsource_id\nsub-A1\tA-1\n"


def test_the_table_follows_the_scheme(make_result: MakeResult, tmp_path: Path) -> None:
    make_result(tmp_path / "out", scheme="brats2023")
    write_bids(tmp_path / "out", tmp_path / "bids")
    table = (tmp_path / "bids" / "sub-A1" / "anat" / f"sub-A1_{DSEG}.tsv").read_text()
    assert "3\tenhancing tumour\tET\t7" in table
    assert "\n4\t" not in table


def test_a_label_map_on_every_grid_has_a_space_of_its_own(make_result: MakeResult, tmp_path: Path) -> None:
    made = make_result(tmp_path / "out", more={f"seg_{m}.nii.gz": m.encode() for m in ("t1n", "t1c", "t2f")})
    write_bids(tmp_path / "out", tmp_path / "bids")
    anat = tmp_path / "bids" / "sub-A1" / "anat"
    assert (anat / "sub-A1_space-FLAIR_desc-gliomaseg_dseg.nii.gz").read_bytes() == b"t2f"
    assert (anat / "sub-A1_space-T1w_desc-gliomaseg_dseg.nii.gz").read_bytes() == b"t1n"
    assert (anat / f"sub-A1_{DSEG}.nii.gz").read_bytes() == (made.path / LABELS).read_bytes()
    assert len(list(anat.glob("*_dseg.json"))) == len(list(anat.glob("*_dseg.tsv"))) == 3


def test_without_a_t1_with_contrast_the_space_is_that_of_the_next_sequence(
    make_result: MakeResult, tmp_path: Path
) -> None:
    make_result(tmp_path / "out", inputs={"t2w": {"sha256": "a"}, "t2f": {"sha256": "b"}})
    write_bids(tmp_path / "out", tmp_path / "bids")
    assert (tmp_path / "bids/sub-A1/anat/sub-A1_space-T2w_desc-gliomaseg_dseg.nii.gz").exists()


# Raw exams


#: 90 degrees about the axis to the head: x to y, y to -x, and 5, 6, 7 mm.
TURN = np.array([[0, -1, 0, 5], [1, 0, 0, 6], [0, 0, 1, 7], [0, 0, 0, 1]], float)


def test_of_a_raw_exam_brain_mask_and_transforms_come_along(make_result: MakeResult, tmp_path: Path) -> None:
    sequences = {"t1c": {"matrix": np.eye(4).tolist()}, "t2w": {"matrix": TURN.tolist()}}
    more = {
        "standardised/brain_mask.nii.gz": b"mask",
        "standardised/transforms.json": json.dumps({"sequences": sequences}).encode(),
    }
    make_result(tmp_path / "out", more=more)
    assert states(tmp_path / "out", tmp_path / "bids") == [("A-1", "done")]
    anat = tmp_path / "bids" / "sub-A1" / "anat"
    name = "space-T1c_res-1mm_desc-brain_mask"
    assert (anat / f"sub-A1_{name}.nii.gz").read_bytes() == b"mask"
    about = sidecar(tmp_path / "bids", name=name)
    assert (about["Type"], about["SpatialReference"], str(about["Resolution"])[:4]) == (
        "Brain",
        "orig",
        "1 mm",
    )
    assert str(about["Description"]).startswith("Brain mask by gliomaseg")
    assert [path.name for path in anat.glob("*_xfm.txt")] == ["sub-A1_from-T2w_to-T1c_mode-image_xfm.txt"]
    assert "*_xfm.txt" in (tmp_path / "bids" / ".bidsignore").read_text().splitlines()


def test_a_brain_mask_that_was_given_is_called_so(make_result: MakeResult, tmp_path: Path) -> None:
    inputs = {"t1n": {"sha256": "a"}, "brain_mask": {"sha256": "b"}}
    make_result(tmp_path / "out", more={"standardised/brain_mask.nii.gz": b"mask"}, inputs=inputs)
    write_bids(tmp_path / "out", tmp_path / "bids")
    about = sidecar(tmp_path / "bids", name="space-T1w_res-1mm_desc-brain_mask")
    assert str(about["Description"]).startswith("Brain mask that was given to gliomaseg")


def test_a_transform_is_the_one_that_itk_reads(tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    (tmp_path / "xfm.txt").write_text(itk_transform(TURN))
    read = sitk.ReadTransform(str(tmp_path / "xfm.txt"))
    for point in np.random.default_rng(1).uniform(-90, 90, (5, 3)):
        x, y, z = (TURN @ [*point, 1])[:3]
        np.testing.assert_allclose(
            read.TransformPoint((-point[0], -point[1], point[2])), (-x, -y, z), atol=1e-6
        )


# Ids and labels


@pytest.mark.parametrize(
    ("case_id", "stem"),
    [
        ("sub-01_ses-1", "sub-01_ses-1"),
        ("sub-01", "sub-01"),
        ("BraTS2021_00005", "sub-BraTS202100005"),
        ("BraTS-GLI-00006-101", "sub-BraTSGLI00006_ses-101"),
        ("TCGA-02-0006_1996.08.23", "sub-TCGA020006_ses-19960823"),
        ("sub-TCGA-02-0006_ses-2001-02-03", "sub-TCGA020006_ses-20010203"),
        ("Müller 7", "sub-Mller7"),
        ("=1+1", "sub-11"),
    ],
)
def test_ids_become_labels_and_the_tables_keep_them(
    make_result: MakeResult, tmp_path: Path, case_id: str, stem: str
) -> None:
    make_result(tmp_path / "out", case_id)
    write_bids(tmp_path / "out", tmp_path / "bids")
    subject, _, session = stem.partition("_")
    assert (tmp_path / "bids").joinpath(*stem.split("_"), "anat", f"{stem}_{DSEG}.nii.gz").exists()
    row = (tmp_path / "bids" / "participants.tsv").read_text().splitlines()[1].split("\t")
    assert row[0] == subject
    if session:
        sessions = (tmp_path / "bids" / subject / f"{subject}_sessions.tsv").read_text().splitlines()
        assert sessions[1].split("\t")[0] == session
        assert (tmp_path / "bids" / subject / f"{subject}_sessions.json").exists()
    else:
        assert row[1].lstrip("'") == case_id  # an apostrophe: no cell is a formula


@pytest.mark.parametrize("case_id", ["脑", "a" * 150, "脑" * 60])
def test_ids_of_no_or_too_many_letters_become_a_hash(
    make_result: MakeResult, tmp_path: Path, case_id: str
) -> None:
    make_result(tmp_path / "out", case_id)
    (outcome,) = write_bids(tmp_path / "out", tmp_path / "bids")
    assert outcome.folder is not None
    label = outcome.folder.parent.name.removeprefix("sub-")
    assert label.isascii()
    assert label.isalnum()
    assert len(label) <= 64
    assert states(tmp_path / "out", tmp_path / "bids") == [(case_id, "unchanged")]


def test_ids_with_the_same_letters_stay_apart_and_keep_their_labels(
    make_result: MakeResult, tmp_path: Path
) -> None:
    make_result(tmp_path / "out", "a-1")
    write_bids(tmp_path / "out", tmp_path / "bids")
    first = tree(tmp_path / "bids" / "sub-a1")
    make_result(tmp_path / "out", "a1")
    make_result(tmp_path / "out", "A.1")
    assert dict(states(tmp_path / "out", tmp_path / "bids")) == {
        "a-1": "unchanged",
        "a1": "done",
        "A.1": "done",
    }
    assert tree(tmp_path / "bids" / "sub-a1") == first
    rows = (tmp_path / "bids" / "participants.tsv").read_text().splitlines()[1:]
    found = {source: label for label, source in (row.split("\t") for row in rows)}
    assert found.keys() == {"a-1", "a1", "A.1"}
    assert len({label.casefold() for label in found.values()}) == 3, "also where case doesn't count"


def test_an_id_that_is_a_label_keeps_it(make_result: MakeResult, tmp_path: Path) -> None:
    for case_id in ("a-1", "a1"):
        make_result(tmp_path / "out", case_id)
    write_bids(tmp_path / "out", tmp_path / "bids")
    assert "sub-a1\ta1\n" in (tmp_path / "bids" / "participants.tsv").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="needs names of any bytes")
@pytest.mark.parametrize("case_id", ["a\nb", "a\tb", "caf\udce9"])
def test_no_id_breaks_a_table(make_result: MakeResult, tmp_path: Path, case_id: str) -> None:
    make_result(tmp_path / "out", case_id)
    write_bids(tmp_path / "out", tmp_path / "bids")
    before = tree(tmp_path / "bids")
    assert [len(row.split(b"\t")) for row in before["participants.tsv"].splitlines()] == [2, 2]
    assert states(tmp_path / "out", tmp_path / "bids") == [(case_id, "unchanged")]
    assert tree(tmp_path / "bids") == before


# The images of an enclosing data set


def test_inside_a_data_set_the_sidecars_name_its_images(make_result: MakeResult, tmp_path: Path) -> None:
    anat = tmp_path / "ds" / "sub-01" / "ses-1" / "anat"
    anat.mkdir(parents=True)
    (tmp_path / "ds" / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.8.0"}')
    names = {"t1c": "sub-01_ses-1_ce-gd_T1w.nii.gz", "t2f": "sub-01_ses-1_FLAIR.nii.gz"}
    for name in names.values():
        (anat / name).touch()
    inputs = {m: {"file": name, "sha256": "a"} for m, name in names.items()}
    inputs["t2w"] = {"file": "sub-01_ses-1_gone_T2w.nii.gz", "sha256": "a"}
    make_result(tmp_path / "out", "sub-01_ses-1", inputs=inputs)
    root = tmp_path / "ds" / "derivatives" / "gliomaseg"
    write_bids(tmp_path / "out", root)
    about = files.read_json(root / "dataset_description.json")
    assert about["DatasetLinks"] == {"raw": "../.."}
    found = sidecar(root, "sub-01_ses-1")
    assert found["SpatialReference"] == f"bids:raw:sub-01/ses-1/anat/{names['t1c']}"
    assert found["Sources"] == [f"bids:raw:sub-01/ses-1/anat/{name}" for name in names.values()]
    write_bids(tmp_path / "out", tmp_path / "apart")
    assert sidecar(tmp_path / "apart", "sub-01_ses-1")["SpatialReference"] == "orig"
    assert b"ds" not in tree(tmp_path / "apart")["dataset_description.json"], "no folder's name"


# Again, and after interruptions


def test_again_nothing_is_written(make_result: MakeResult, tmp_path: Path) -> None:
    for case_id in ("A-1", "sub-2_ses-a", "sub-2_ses-b"):
        make_result(tmp_path / "out", case_id)
    write_bids(tmp_path / "out", tmp_path / "bids")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "bids").rglob("*") if path.is_file()}
    assert {state for _, state in states(tmp_path / "out", tmp_path / "bids")} == {"unchanged"}
    assert {path: path.stat().st_mtime_ns for path in before} == before
    again = tmp_path / "again"
    write_bids(tmp_path / "out", again)
    assert tree(again) == tree(tmp_path / "bids")


def test_what_is_missing_is_written_again(make_result: MakeResult, tmp_path: Path) -> None:
    for case_id in ("A-1", "sub-2_ses-a", "sub-2_ses-b"):
        make_result(tmp_path / "out", case_id)
    write_bids(tmp_path / "out", tmp_path / "bids")
    whole = tree(tmp_path / "bids")
    for name in ("sub-A1/anat/sub-A1_space-T1c_desc-gliomaseg_dseg.tsv", "participants.tsv", "README.md"):
        (tmp_path / "bids" / name).unlink()
    shutil.rmtree(tmp_path / "bids" / "sub-2" / "ses-b")
    states_now = dict(states(tmp_path / "out", tmp_path / "bids"))
    assert states_now == {"A-1": "done", "sub-2_ses-a": "unchanged", "sub-2_ses-b": "done"}
    assert tree(tmp_path / "bids") == whole


def test_a_killed_process_leaves_nothing_that_stays(make_result: MakeResult, tmp_path: Path) -> None:
    make_result(tmp_path / "out", "sub-2_ses-a")
    write_bids(tmp_path / "out", tmp_path / "bids")
    whole = tree(tmp_path / "bids")
    shutil.rmtree(tmp_path / "bids" / "sub-2" / "ses-a" / "anat")
    draft = tmp_path / "bids" / "sub-2" / "ses-a" / ".tmp-abcdefgh"
    (draft / "new" / "anat").mkdir(parents=True)
    (draft / "new" / "anat" / "half").touch()
    write_bids(tmp_path / "out", tmp_path / "bids")
    assert tree(tmp_path / "bids") == whole


def test_a_first_draft_of_a_killed_process_is_in_nobodys_way(make_result: MakeResult, tmp_path: Path) -> None:
    make_result(tmp_path / "out")
    (tmp_path / "bids" / ".tmp-abcdefgh").mkdir(parents=True)
    assert states(tmp_path / "out", tmp_path / "bids") == [("A-1", "done")]


def test_results_of_several_folders_come_together(make_result: MakeResult, tmp_path: Path) -> None:
    make_result(tmp_path / "one", "A")
    make_result(tmp_path / "two", "B")
    write_bids(tmp_path / "one", tmp_path / "bids")
    assert states(tmp_path / "two" / "B", tmp_path / "bids") == [("B", "done")]
    rows = (tmp_path / "bids" / "participants.tsv").read_text()
    assert rows == "participant_id\tsource_id\nsub-A\tA\nsub-B\tB\n"


def test_a_newer_result_replaces_the_older(make_result: MakeResult, tmp_path: Path) -> None:
    make_result(tmp_path / "out", more={"seg_t2f.nii.gz": b"f"})
    write_bids(tmp_path / "out", tmp_path / "bids")
    shutil.rmtree(tmp_path / "out")
    make_result(tmp_path / "out", scheme="brats2023")
    assert states(tmp_path / "out", tmp_path / "bids") == [("A-1", "done")]
    anat = tmp_path / "bids" / "sub-A1" / "anat"
    assert len(list(anat.glob("*_dseg.nii.gz"))) == 1, "nothing of the older one is left"


# What is never lost


def test_a_corrected_label_map_is_taken_and_marked(make_result: MakeResult, tmp_path: Path) -> None:
    made = make_result(tmp_path / "out")
    write_bids(tmp_path / "out", tmp_path / "bids")
    (made.path / LABELS).write_bytes(b"corrected")
    assert states(tmp_path / "out", tmp_path / "bids") == [("A-1", "done")]
    about = sidecar(tmp_path / "bids")
    assert (about["Manual"], "by hand" in str(about["Description"])) == (True, True)
    assert "Quality" not in dict(about["Gliomaseg"])  # type: ignore[call-overload]
    assert (tmp_path / "bids/sub-A1/anat" / f"sub-A1_{DSEG}.nii.gz").read_bytes() == b"corrected"


@pytest.mark.parametrize("name", [f"sub-A1_{DSEG}.nii.gz", f"sub-A1_{DSEG}.json", "sub-A1_T1w.nii.gz"])
def test_what_was_edited_or_added_is_never_replaced(
    make_result: MakeResult, tmp_path: Path, name: str
) -> None:
    made = make_result(tmp_path / "out")
    make_result(tmp_path / "out", "B")
    write_bids(tmp_path / "out", tmp_path / "bids")
    path = tmp_path / "bids" / "sub-A1" / "anat" / name
    path.write_bytes(b"mine")
    (made.path / LABELS).write_bytes(b"corrected")
    error = refusal(tmp_path / "out", tmp_path / "bids")
    assert error.code == "E-EXISTS"
    assert name in error.what
    assert path.read_bytes() == b"mine"
    path.rename(tmp_path / "kept")
    assert states(tmp_path / "out", tmp_path / "bids") == [("A-1", "done"), ("B", "unchanged")]


def test_keys_and_columns_of_others_stay(make_result: MakeResult, tmp_path: Path) -> None:
    make_result(tmp_path / "out")
    write_bids(tmp_path / "out", tmp_path / "bids")
    description = tmp_path / "bids" / "dataset_description.json"
    files.write_json(description, files.read_json(description) | {"Authors": ["A. Author"]})
    (tmp_path / "bids" / "README.md").write_text("mine")
    (tmp_path / "bids" / "participants.tsv").write_text("participant_id\tage\tsource_id\nsub-A1\t33\tA-1\n")
    make_result(tmp_path / "out", "B")
    write_bids(tmp_path / "out", tmp_path / "bids")
    assert files.read_json(description)["Authors"] == ["A. Author"]
    assert (tmp_path / "bids" / "README.md").read_text() == "mine"
    rows = (tmp_path / "bids" / "participants.tsv").read_text().splitlines()
    assert rows == ["participant_id\tsource_id\tage", "sub-A1\tA-1\t33", "sub-B\tB\tn/a"]


def test_a_folder_of_others_is_refused(make_result: MakeResult, tmp_path: Path) -> None:
    make_result(tmp_path / "out")
    for content in ("notes.txt", "dataset_description.json"):
        (tmp_path / content[:4]).mkdir()
        (tmp_path / content[:4] / content).write_text('{"GeneratedBy": [{"Name": "fMRIPrep"}, 3]}')
        with pytest.raises(OutputError, match="E-EXISTS") as caught:
            write_bids(tmp_path / "out", tmp_path / content[:4])
        assert content in caught.value.what
        assert len(tree(tmp_path / content[:4])) == 1
    with pytest.raises(OutputError, match="E-EXISTS"):
        write_bids(tmp_path / "out", tmp_path / "out")


@pytest.mark.parametrize("inside", ["A-1", "A-1/bids"])
def test_no_data_set_inside_a_result(make_result: MakeResult, tmp_path: Path, inside: str) -> None:
    made = make_result(tmp_path / "out")
    before = tree(tmp_path / "out")
    with pytest.raises(OutputError, match="E-OUTPUT"):
        require_bids(tmp_path / "out" / inside)
    with pytest.raises(OutputError, match="E-OUTPUT"):
        write_bids(made.path, tmp_path / "out" / inside)
    assert tree(tmp_path / "out") == before


def test_a_damaged_result_fails_alone(make_result: MakeResult, tmp_path: Path) -> None:
    damaged = make_result(tmp_path / "out", "A")
    make_result(tmp_path / "out", "B")
    (damaged.path / LABELS).unlink()
    outcomes = write_bids(tmp_path / "out", tmp_path / "bids")
    assert [outcome.state for outcome in outcomes] == ["failed", "done"]
    assert outcomes[0].error is not None
    assert outcomes[0].error.code == "E-REPORT"
    assert (tmp_path / "bids" / "participants.tsv").read_text().splitlines()[1:] == ["sub-B\tB"]


def test_a_folder_without_results(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(CaseError, match="E-NOCASE"):
            write_bids(path, tmp_path / "bids")
    assert not (tmp_path / "bids").exists()


def test_a_table_that_is_no_text_is_named(make_result: MakeResult, tmp_path: Path) -> None:
    make_result(tmp_path / "out")
    write_bids(tmp_path / "out", tmp_path / "bids")
    (tmp_path / "bids" / "participants.tsv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(OutputError, match=r"E-OUTPUT: .*participants\.tsv"):
        write_bids(tmp_path / "out", tmp_path / "bids")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such lock")
def test_two_processes_write_one_after_the_other(
    make_result: MakeResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_result(tmp_path / "out")
    lock = locks.take(tmp_path / ".lock-bids")
    assert lock is not None
    with lock, monkeypatch.context() as patch:
        patch.setattr(bids, "_PATIENCE", 0.0)
        with pytest.raises(OutputError, match="E-LOCKED"):
            write_bids(tmp_path / "out", tmp_path / "bids")
    lock = locks.take(tmp_path / ".lock-bids")
    assert lock is not None
    with ThreadPoolExecutor(1) as pool:
        with lock:
            waiting = pool.submit(states, tmp_path / "out", tmp_path / "bids")
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.5)
        assert waiting.result() == [("A-1", "done")]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_named(make_result: MakeResult, tmp_path: Path) -> None:
    make_result(tmp_path / "out")
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(OutputError, match="E-PERM"):
        write_bids(tmp_path / "out", tmp_path / "locked" / "bids")


def test_a_result_of_the_first_version(tmp_path: Path) -> None:
    fixtures = Path(__file__).parents[1] / "storage" / "fixtures" / "0.1.0" / "result"
    assert states(fixtures, tmp_path / "bids") == [("phantom-0", "done")]
    assert sidecar(tmp_path / "bids", "sub-phantom0")["Manual"] is False
