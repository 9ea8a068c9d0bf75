"""The command line as a user meets it, in this process: exit codes, words, files."""

import csv
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import typer

from gliomaseg.cases.case import Case
from gliomaseg.cli.app import VERBS, app

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def exam(phantom_case: Case, tmp_path: Path) -> Path:
    """Return a private copy of the small phantom's folder."""
    source = phantom_case.images[next(iter(phantom_case.images))].parent
    return Path(shutil.copytree(source, tmp_path / "data" / phantom_case.id))


def _three_lines(err: str, code: str) -> None:
    start = err.index(code + ":")
    what, expected, remedy = err[start:].splitlines()[:3]
    assert len(what) > len(code) + 10
    assert expected.startswith("expected: ")
    assert remedy.startswith("remedy: ")


@pytest.mark.parametrize("wanted", [False, True])
def test_a_file_name_that_tells_more_than_the_id_is_kept_only_if_wanted(
    run: Run, exam: Path, tmp_path: Path, wanted: bool
) -> None:
    given = {"t1n": "t1", "t1c": "t1ce", "t2w": "t2", "t2f": "flair"}
    files = [word for to, name in given.items() for word in (f"--{to}", exam / f"{exam.name}_{name}.nii.gz")]
    more = ["--keep-names"] if wanted else []
    assert run("segment", *files, "--id", "patient-7", *more, "-o", tmp_path / "out")[0] == 0
    assert (exam.name in (tmp_path / "out" / "patient-7" / "run.json").read_text()) == wanted


def test_segment_writes_its_files(run: Run, exam: Path, tmp_path: Path) -> None:
    code, out, err = run("segment", exam, "-o", tmp_path / "out")
    assert code == 0
    folder = tmp_path / "out" / exam.name
    assert {p.name for p in folder.iterdir()} == {
        "seg.nii.gz",
        "overview.png",
        "thumbnail.jpg",
        "report.html",
        "report.json",
        "measurements.json",
        "measurements.csv",
        "run.json",
    }
    (row,) = csv.DictReader((tmp_path / "out" / "summary.csv").read_text().splitlines())
    measured = json.loads((folder / "measurements.json").read_text())
    assert (row["case"], row["state"], row["quality"]) == (exam.name, "done", measured["quality"])
    assert row["reasons"] == " ".join(measured["reasons"])
    assert float(row["wt_volume_low_ml"]) <= float(row["wt_volume_ml"]) <= float(row["wt_volume_high_ml"])
    assert (row["voxel_mm"], row["missing"]) == ("3 x 3 x 3", "")
    assert f"quality: {measured['quality']}" in err
    assert "whole tumour" in out
    assert f"picture: {folder / 'overview.png'}" in err
    assert "not a medical device" in err
    record = json.loads((folder / "run.json").read_text())
    assert len(record["model"]["sha256"]) == 64
    assert set(record["inputs"]) == {"t1n", "t1c", "t2w", "t2f"}
    assert {"read", "prepare", "compile", "infer", "label", "write", "picture"} <= set(record["seconds"])
    assert record["peak_memory_mb"] > 0
    assert "ynthetic" in record["note"]
    assert str(tmp_path) not in (folder / "run.json").read_text()


def test_the_demo_exam_is_measured_and_scored(run: Run, full_case: Case, tmp_path: Path) -> None:
    """Volumes are those of the label map; the scores are far from chance, and no accuracy (a phantom)."""
    data = full_case.images[next(iter(full_case.images))].parent
    assert run("segment", data, "-o", tmp_path / "out")[0] == 0
    folder = tmp_path / "out" / full_case.id
    image = nib.load(folder / "seg.nii.gz")
    labels = np.asarray(image.dataobj)
    voxel_ml = float(np.prod(image.header.get_zooms())) / 1000
    measured = json.loads((folder / "measurements.json").read_text())
    assert "not a medical device" in measured["notice"]
    for row in measured["labels"]:
        assert row["voxels"] == np.count_nonzero(labels == row["value"]) > 1000
        assert row["volume_ml"] == pytest.approx(row["voxels"] * voxel_ml)
    wt = next(r for r in measured["regions"] if r["region"] == "wt")
    assert wt["voxels"] == np.count_nonzero(labels)
    code, out, err = run("evaluate", tmp_path / "out", data, "-o", tmp_path / "scores")
    assert code == 0
    assert "brats2020" in out
    assert "trained on" not in err
    summary = json.loads((tmp_path / "scores" / "summary.json").read_text())
    assert summary["n"] == 1
    assert summary["mean"]["dice_wt"] > 0.8
    record = folder / "run.json"
    record.write_text(record.read_text().replace('"seen_in_training": false', '"seen_in_training": true'))
    _, _, err = run("evaluate", tmp_path / "out", data)
    assert "trained on: this is not its accuracy" in err


def test_the_same_again_is_unchanged_and_another_is_refused(run: Run, exam: Path, tmp_path: Path) -> None:
    run("segment", exam, "-o", tmp_path / "out")
    seg = tmp_path / "out" / exam.name / "seg.nii.gz"
    before = seg.stat().st_mtime_ns
    code, out, _ = run("segment", exam, "-o", tmp_path / "out")
    assert (code, seg.stat().st_mtime_ns) == (0, before)
    assert "unchanged" in out
    code, _, err = run("segment", exam, "-o", tmp_path / "out", "--labels", "brats2023")
    assert (code, seg.stat().st_mtime_ns) == (1, before)
    _three_lines(err, "E-EXISTS")
    code, _, _ = run("segment", exam, "-o", tmp_path / "out", "--labels", "brats2023", "--overwrite")
    assert code == 0
    assert set(np.unique(np.asarray(nib.load(seg).dataobj))) <= {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("option", "key", "value"), [("--quality=standard", "quality", "standard"), ("--maps", "maps", True)]
)
def test_a_result_of_another_quality_or_without_maps_is_another(
    run: Run, exam: Path, tmp_path: Path, option: str, key: str, value: object
) -> None:
    assert run("segment", exam, option, "-o", tmp_path / "out")[0] == 0
    folder = tmp_path / "out" / exam.name
    assert json.loads((folder / "run.json").read_text())[key] == value
    assert (folder / "probabilities_wt.nii.gz").exists() == (key == "maps")
    assert "unchanged" in run("segment", exam, option, "-o", tmp_path / "out")[1]
    code, _, err = run("segment", exam, "-o", tmp_path / "out")
    assert code == 1
    assert f"its {key} differ" in err


def test_four_named_files(run: Run, exam: Path, tmp_path: Path) -> None:
    names = {"t1n": "t1", "t1c": "t1ce", "t2w": "t2", "t2f": "flair"}
    options = [a for m, old in names.items() for a in (f"--{m}", exam / f"{exam.name}_{old}.nii.gz")]
    code, _, _ = run("segment", *options, "-o", tmp_path / "named", "--id", "mine")
    assert code == 0
    run("segment", exam, "-o", tmp_path / "out")
    one, other = tmp_path / "named" / "mine", tmp_path / "out" / exam.name
    assert (one / "seg.nii.gz").read_bytes() == (other / "seg.nii.gz").read_bytes()


def test_a_bad_case_does_not_stop_the_others(run: Run, exam: Path, tmp_path: Path) -> None:
    for name in ("A_cut", "B_good"):
        folder = exam.parent / name
        folder.mkdir()
        for file in exam.glob("*.nii.gz"):
            shutil.copy(file, folder / file.name.replace(exam.name, name))
    cut = exam.parent / "A_cut" / "A_cut_t2.nii.gz"
    cut.write_bytes(cut.read_bytes()[:5000])
    shutil.rmtree(exam)
    code, out, err = run("segment", tmp_path / "data", "-o", tmp_path / "out")
    assert code == 3
    _three_lines(err, "E-TRUNCATED")
    assert "A_cut_t2.nii.gz" in err
    assert "1 done, 1 failed" in err
    assert "B_good" in out
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"B_good", "summary.csv"}
    failed, done = csv.DictReader((tmp_path / "out" / "summary.csv").read_text().splitlines())
    assert (failed["case"], failed["state"], failed["error"]) == ("A_cut", "failed", "E-TRUNCATED")
    assert "A_cut_t2.nii.gz ends too early" in failed["message"]
    assert (failed["wt_volume_ml"], failed["path"]) == ("", "")
    assert (done["case"], done["state"], done["path"]) == ("B_good", "done", "B_good/seg.nii.gz")


def test_json_is_one_document_on_stdout(run: Run, exam: Path, tmp_path: Path) -> None:
    code, out, _ = run("segment", exam, "-o", tmp_path / "out", "--json")
    (outcome,) = json.loads(out)
    assert (code, outcome["state"]) == (0, "done")
    measured = json.loads((tmp_path / "out" / exam.name / "measurements.json").read_text())
    assert (outcome["quality"], outcome["reasons"]) == (measured["quality"], measured["reasons"])
    assert (outcome["missing"], outcome["voxel_mm"]) == ([], [3.0, 3.0, 3.0])
    assert outcome["path"] == f"{exam.name}/seg.nii.gz"
    assert outcome["measurements"]["regions"][0]["region"] == "wt"
    code, out, _ = run("segment", tmp_path / "nowhere", "--json", "-o", tmp_path / "out")
    assert (code, json.loads(out)["error"]["code"]) == (1, "E-NOFILE")


def test_a_missing_sequence_is_told_and_done_without(run: Run, exam: Path, tmp_path: Path) -> None:
    _drop_t2(exam)
    code, _, err = run("segment", exam, "-o", tmp_path / "out")
    assert code == 0
    assert "has no t2w" in err
    assert "Dice to expect without: WT 0." in err
    record = json.loads((tmp_path / "out" / exam.name / "run.json").read_text())
    assert record["missing"] == ["t2w"]
    assert set(record["expected_dice"]) == {"wt", "tc", "et"}


def _drop_t2(exam: Path) -> None:
    (exam / f"{exam.name}_t2.nii.gz").unlink()


def _flip_a_byte(exam: Path) -> None:
    file = exam / f"{exam.name}_flair.nii.gz"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0x10
    file.write_bytes(bytes(data))


def _lose_the_orientation_of_t1c(exam: Path) -> None:
    file = exam / f"{exam.name}_t1ce.nii.gz"
    image = nib.load(file)
    plain = nib.Nifti1Image(np.asarray(image.dataobj), None)
    plain.header.set_zooms(image.header.get_zooms())
    nib.save(plain, file)


def _copy_t1_over_t1c(exam: Path) -> None:
    shutil.copy(exam / f"{exam.name}_t1.nii.gz", exam / f"{exam.name}_t1ce.nii.gz")


def _empty_t2(exam: Path) -> None:
    file = exam / f"{exam.name}_t2.nii.gz"
    image = nib.load(file)
    nib.save(nib.Nifti1Image(np.zeros(image.shape, np.int16), image.affine), file)


@pytest.mark.parametrize(
    ("spoil", "error", "fragment"),
    [
        (_flip_a_byte, "E-CORRUPT", "flair"),
        (_lose_the_orientation_of_t1c, "E-GRID", "t1c"),
        (_copy_t1_over_t1c, "E-DUPLICATE", "t1c"),
        (_empty_t2, "E-CONSTANT", "t2"),
        (shutil.rmtree, "E-NOFILE", "does not exist"),
    ],
)
def test_a_bad_case_gets_a_sentence_and_no_output(
    run: Run, exam: Path, tmp_path: Path, spoil: Callable[[Path], None], error: str, fragment: str
) -> None:
    spoil(exam)
    before = {p: p.read_bytes() for p in exam.rglob("*") if p.is_file()}
    code, _, err = run("segment", exam, "-o", tmp_path / "out")
    assert code == 1
    _three_lines(err, error)
    assert fragment in err
    assert not list((tmp_path / "out").rglob("*")) if (tmp_path / "out").exists() else True
    assert before == {p: p.read_bytes() for p in exam.rglob("*") if p.is_file()}


def test_a_folder_without_a_case(run: Run, tmp_path: Path) -> None:
    (tmp_path / "holiday.nii.gz").write_bytes(b"x")
    code, _, err = run("segment", tmp_path, "-o", tmp_path / "out")
    assert code == 1
    _three_lines(err, "E-NOCASE")
    assert not (tmp_path / "out").exists()


def test_output_that_is_a_file(run: Run, exam: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    code, _, err = run("segment", exam, "-o", tmp_path / "taken")
    assert code == 1
    _three_lines(err, "E-OUTPUT")
    assert (tmp_path / "taken").read_text() == "mine"


def test_a_filled_case_folder_is_left_alone(run: Run, exam: Path, tmp_path: Path) -> None:
    mine = tmp_path / "out" / exam.name / "notes.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    code, _, err = run("segment", exam, "-o", tmp_path / "out")
    assert code == 1
    _three_lines(err, "E-EXISTS")
    assert [p.name for p in mine.parent.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("args", "code"),
    [
        ((), 2),
        (("segment",), 2),
        (("segment", "a", "--t1n", "b"), 2),
        (("segment", "a", "--nonsense"), 2),
        (("segment", "a", "--threads", "-1"), 2),
        (("frobnicate",), 2),
        (("segment", "a", "--labels", "brats1999"), 2),
        (("segment", "a", "--model", "nowhere"), 1),
        (("evaluate", "nowhere", "nowhere"), 1),
        (("--version",), 0),
        (("segment", "--help"), 0),
    ],
)
def test_exit_codes(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...], code: int
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*args)[0] == code
    assert not list(tmp_path.iterdir())


def test_a_damaged_model_is_refused(run: Run, exam: Path, tmp_path: Path) -> None:
    from gliomaseg.inference.bundle import shipped_folder

    model = Path(shutil.copytree(shipped_folder(), tmp_path / "model"))
    weights = bytearray((model / "model.bin").read_bytes())
    weights[1000] ^= 1
    (model / "model.bin").write_bytes(bytes(weights))
    code, _, err = run("segment", exam, "--model", model, "-o", tmp_path / "out")
    assert code == 1
    _three_lines(err, "E-MODEL")


def test_evaluate_refuses_labels_of_another_year(run: Run, exam: Path, tmp_path: Path) -> None:
    run("segment", exam, "-o", tmp_path / "out")
    code, _, err = run("evaluate", tmp_path / "out", tmp_path / "data", "--scheme", "brats2023")
    assert code == 1
    assert "brats2023" in err
    assert "brats2021" in err


def test_training_without_pytorch_names_the_extra(
    run: Run, exam: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [n for n in sys.modules if n.startswith("gliomaseg.training")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    code, _, err = run("train", tmp_path / "data", "-o", tmp_path / "run")
    assert code == 1
    _three_lines(err, "E-EXTRA")
    assert 'pip install ".[train]"' in err


def test_a_misspelled_setting_gets_the_right_one(run: Run, exam: Path, tmp_path: Path) -> None:
    code, _, err = run("train", exam, "-o", tmp_path / "run", "--set", "training.bacth=4")
    assert code == 1
    _three_lines(err, "E-SETTING")
    assert "training.batch" in err
    code, _, err = run("train", exam, "-o", tmp_path / "run", "--preset", "unet4d")
    assert (code, "unet3d" in err) == (2, True)
    assert not (tmp_path / "run").exists()


def test_an_id_is_not_for_a_path(run: Run, tmp_path: Path, phantom_folder: Path) -> None:
    code, _, err = run("segment", phantom_folder, "--id", "foo", "-o", tmp_path / "out")
    assert (code, "E-USAGE: --id names a case of files" in err) == (2, True)
    assert not (tmp_path / "out").exists()


def test_the_main_verb_is_first_and_every_verb_shows_examples_that_parse() -> None:
    group = typer.main.get_command(app)
    assert next(iter(group.commands)) == "segment"  # type: ignore[attr-defined]
    for verb, examples in [pair for verbs in VERBS.values() for pair in verbs.items()]:
        command = group.commands[verb.__name__]  # type: ignore[attr-defined]
        assert examples
        for example in examples:
            program, name, *words = shlex.split(example)
            assert (program, name) == ("gliomaseg", verb.__name__)
            assert command.make_context(name, words).params
            assert example in command.epilog


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("gliomaseg seg", "segment"),
        ("gliomaseg segment CASE --quality st", "standard"),
        ("gliomaseg train DATA --preset dyn", "dynunet"),
    ],
)
def test_the_shell_completes_verbs_and_choices(line: str, completed: str) -> None:
    words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1)}
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; sys.argv = ['gliomaseg']; from gliomaseg.__main__ import run; run()",
        ],
        env={**os.environ, "_GLIOMASEG_COMPLETE": "complete_bash", **words},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == [completed]
