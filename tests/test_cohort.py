"""Many cases: whatever happens to one, the others go on and no result is lost."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from gliomaseg import segmenter as segmenters
from gliomaseg.cases.case import Case
from gliomaseg.cases.find import find_cases
from gliomaseg.cohort import segment_cases
from gliomaseg.errors import OutputError
from gliomaseg.labels import Modality
from gliomaseg.segmenter import Segmenter
from gliomaseg.storage import files
from gliomaseg.storage.result_folder import ResultFolder
from gliomaseg.storage.summary import Outcome


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter.load()


@pytest.fixture
def cases(copy_case, tmp_path: Path) -> list[Case]:
    for name in ("A", "B"):
        copy_case(name, tmp_path / "data")
    return find_cases(tmp_path / "data")


def states(outcomes: list[Outcome]) -> list[str]:
    return [f"{o.case_id} {o.state}" + (f" {o.error.code}" if o.error else "") for o in outcomes]


@pytest.mark.parametrize(
    ("trouble", "code"),
    [
        (MemoryError(), "E-MEM"),
        (RuntimeError("odd"), "E-INTERNAL"),
        (RuntimeError("can't start new thread"), "E-LIMIT"),
        (OSError(24, "Too many open files"), "E-LIMIT"),
        (OSError(5, "Input/output error"), "E-PERM"),
    ],
)
def test_no_trouble_of_one_case_stops_the_next(
    segmenter: Segmenter,
    cases: list[Case],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    trouble: Exception,
    code: str,
) -> None:
    whole = segmenters.standardise_exam

    def read(case: Case, *rest: object) -> object:
        if case.id == "A":
            raise trouble
        return whole(case, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(segmenters, "standardise_exam", read)
    outcomes = list(segment_cases(cases, segmenter, tmp_path / "out"))
    assert states(outcomes) == [f"A failed {code}", "B done"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["B", "summary.csv"]


def test_an_input_that_went_away_since(segmenter: Segmenter, cases: list[Case], tmp_path: Path) -> None:
    assert states(list(segment_cases(cases, segmenter, tmp_path / "out"))) == ["A done", "B done"]
    cases[0].images[next(iter(cases[0].images))].unlink()
    again = list(segment_cases(cases, segmenter, tmp_path / "out"))
    assert states(again) == ["A failed E-NOFILE", "B unchanged"]


def test_the_old_result_stays_where_the_new_one_fails(
    segmenter: Segmenter, cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = segmenter.segment(cases[0])
    folder = result.save(tmp_path / "out")
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    replace = Path.replace

    def fail(self: Path, target: Path) -> Path:
        if Path(target) == folder and self.parent.name == "new":
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OutputError, match="E-DISK"):
        result.save(tmp_path / "out", overwrite=True)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["A"]


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("seg.nii.gz", "A done"),
        ("run.json", "A failed E-EXISTS"),
        ("notes.txt", "A unchanged"),
        (None, "A unchanged"),
    ],
)
def test_what_is_whole_is_left_and_what_is_not_is_done_again(
    segmenter: Segmenter, cases: list[Case], tmp_path: Path, name: str | None, state: str
) -> None:
    folder = segmenter.segment(cases[0]).save(tmp_path / "out")
    whole = (folder / "seg.nii.gz").read_bytes()
    if name == "notes.txt":
        (folder / name).write_text("mine")
    elif name:
        (folder / name).unlink()
    assert states(list(segment_cases(cases[:1], segmenter, tmp_path / "out"))) == [state]
    assert (folder / "seg.nii.gz").read_bytes() == whole


@pytest.mark.parametrize(
    ("name", "after"),
    [
        ("measurements.json", "A done"),
        ("seg.nii.gz", "A failed E-EXISTS"),
        ("notes.txt", "A failed E-EXISTS"),
        ("run.json", "A failed E-EXISTS"),
    ],
)
def test_an_edited_result_is_never_replaced_unless_asked(
    segmenter: Segmenter, cases: list[Case], tmp_path: Path, name: str, after: str
) -> None:
    """With ``overwrite`` only what can be made again is; a corrected label map is hours of work."""
    folder = segmenter.segment(cases[0]).save(tmp_path / "out")
    (folder / name).write_bytes(b"corrected by hand")
    if name == "notes.txt":
        (folder / "run.json").unlink()
    (again,) = segment_cases(cases[:1], segmenter, tmp_path / "out")
    assert states([again]) == ["A failed E-EXISTS"]
    assert again.error
    assert ("--overwrite" in again.error.remedy) == (after == "A done"), "only where it helps"
    assert (folder / name).read_bytes() == b"corrected by hand"
    assert states(list(segment_cases(cases[:1], segmenter, tmp_path / "out", overwrite=True))) == [after]
    if after != "A done":
        assert (folder / name).read_bytes() == b"corrected by hand"


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("layout", ["nested", "flat", "one", "linked"])
def test_no_result_is_written_among_the_images(
    segmenter: Segmenter, cases: list[Case], tmp_path: Path, layout: str, overwrite: bool
) -> None:
    """Whatever the folder is called: that of the data set, of the case, or a link to either."""
    data, output = tmp_path / "data", {"one": tmp_path / "data" / "A", "linked": tmp_path / "link"}
    (tmp_path / "link").symlink_to(data)
    if layout == "flat":
        for file in data.glob("*/*.nii.gz"):
            file.rename(data / file.name)
        cases = find_cases(data)
    before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    with pytest.raises(OutputError, match="E-OUTPUT") as caught:
        list(segment_cases(cases, segmenter, output.get(layout, data), overwrite=overwrite))
    assert "--overwrite" not in caught.value.remedy
    assert {path: path.read_bytes() for path in data.rglob("*") if path.is_file()} == before


def test_save_keeps_the_images_of_its_case(segmenter: Segmenter, cases: list[Case], tmp_path: Path) -> None:
    result = segmenter.segment(cases[0])
    before = {path: path.read_bytes() for path in cases[0].files}
    for overwrite in (False, True):
        with pytest.raises(OutputError, match="E-OUTPUT"):
            result.save(tmp_path / "data", overwrite=overwrite)
    assert {path: path.read_bytes() for path in cases[0].files} == before
    folder = result.save(tmp_path / "out")
    (folder / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"mine\.txt"):
        result.save(tmp_path / "out", overwrite=True)
    assert (folder / "mine.txt").read_text() == "mine"


def test_results_within_the_data_set_are_no_data(
    segmenter: Segmenter, cases: list[Case], tmp_path: Path
) -> None:
    for overwrite in (False, True):
        assert find_cases(tmp_path / "data") == cases
        outcomes = list(segment_cases(cases, segmenter, tmp_path / "data" / "out", overwrite=overwrite))
        assert states(outcomes) == ["A done", "B done"]


def test_the_record_names_the_bytes_that_were_segmented(
    segmenter: Segmenter, cases: list[Case], tmp_path: Path
) -> None:
    """An image that is replaced while the network works is not the one that was segmented."""
    path = cases[0].images[Modality.T2F]
    before = files.sha256_of(path)
    ready = segmenter.prepare(cases[0])
    path.write_bytes(cases[0].images[Modality.T1N].read_bytes())
    folder = segmenter.label(ready).save(tmp_path / "out")
    assert ResultFolder(folder).read()["inputs"]["t2f"]["sha256"] == before
    (again,) = segment_cases(cases[:1], segmenter, tmp_path / "out")
    assert again.error
    assert "its inputs differ" in again.error.what


def test_another_process_at_the_same_case(segmenter: Segmenter, cases: list[Case], tmp_path: Path) -> None:
    """The free cases come first; the locked one is tried again at the end, and named if it still is."""
    (tmp_path / "out").mkdir()
    with files.claim(tmp_path / "out" / "A"):
        outcomes = list(segment_cases(cases, segmenter, tmp_path / "out"))
    assert states(outcomes) == ["B done", "A locked E-LOCKED"]
    assert states(list(segment_cases(cases, segmenter, tmp_path / "out"))) == ["A done", "B unchanged"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["A", "B", "summary.csv"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_case_that_is_free_again_at_the_end(
    segmenter: Segmenter, cases: list[Case], tmp_path: Path, overwrite: bool
) -> None:
    """By what the other process did: it made the case, and it is not made a second time; or it ended."""
    (tmp_path / "out").mkdir()
    for case, state in (("A", "A done"), ("B", "B unchanged")):
        with files.claim(tmp_path / "out" / case):
            outcomes = segment_cases(cases, segmenter, tmp_path / "out", overwrite=overwrite)
            first = next(outcomes)
            if case == "B":
                segmenter.segment(cases[1]).save(tmp_path / "out", overwrite=True)
        is_kept = case == "B" and not overwrite
        assert first.state == ("unchanged" if is_kept else "done")
        assert states(list(outcomes)) == [state]


def test_written_files_do_not_reveal_folders_or_patients(
    segmenter: Segmenter, cases: list[Case], tmp_path: Path
) -> None:
    secret = tmp_path / "Doe^John 1970"
    secret.mkdir()
    images = {m: path.rename(secret / f"john_doe_{m}.nii.gz") for m, path in cases[0].images.items()}
    images[Modality.T2W].write_bytes(images[Modality.T2W].read_bytes()[:-100])
    sound = {m: path for m, path in images.items() if m != Modality.T2W} | {
        Modality.T2W: cases[1].images[Modality.T2W]
    }
    named = [Case("pseudonym-1", images), Case("pseudonym-2", sound)]
    outcomes = list(segment_cases(named, segmenter, secret / "out"))
    assert states(outcomes) == ["pseudonym-1 failed E-TRUNCATED", "pseudonym-2 done"]
    written = [p.read_text() for p in (secret / "out").rglob("*.json")]
    written += [(secret / "out" / "summary.csv").read_text(), json.dumps([o.as_dict() for o in outcomes])]
    assert "the t2w image ends too early" in written[-1]
    for text in written:
        assert "ohn" not in text
        assert str(tmp_path) not in text


@pytest.mark.parametrize("limit", [None, 1.0])
def test_the_next_case_is_read_while_one_is_segmented(
    cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: float | None
) -> None:
    """By what happened in which order: B is ready before A is saved, unless memory is short."""
    segmenter, calls = Segmenter.load(max_memory_gb=limit), []
    second = threading.Event()
    whole_prepare, whole_label = segmenter.prepare, segmenter.label

    def prepare(case: Case, **rest: object) -> object:
        calls.append(f"prepare {case.id}")
        second.set() if case.id == "B" else None
        return whole_prepare(case, **rest)  # type: ignore[arg-type]

    def label(ready: object, **rest: object) -> object:
        if limit is None:
            assert second.wait(30)
        calls.append(f"label {ready.case.id}")  # type: ignore[attr-defined]
        return whole_label(ready, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(segmenter, "prepare", prepare)
    monkeypatch.setattr(segmenter, "label", label)
    assert states(list(segment_cases(cases, segmenter, tmp_path / "out"))) == ["A done", "B done"]
    overlapped = ["prepare A", "prepare B", "label A", "label B"]
    assert calls == (overlapped if limit is None else ["prepare A", "label A", "prepare B", "label B"])


def test_a_cohort_that_is_left_early_frees_its_cases(
    segmenter: Segmenter, cases: list[Case], tmp_path: Path
) -> None:
    outcomes = segment_cases(cases, segmenter, tmp_path / "out")
    assert next(outcomes).state == "done"
    outcomes.close()  # type: ignore[attr-defined]
    assert not list((tmp_path / "out").glob(".lock-*"))


def test_together_and_alone_give_the_same_bytes(
    segmenter: Segmenter, cases: list[Case], tmp_path: Path
) -> None:
    list(segment_cases(cases, segmenter, tmp_path / "together"))
    for case in cases:
        list(segment_cases([case], segmenter, tmp_path / "alone"))
        for name in ("seg.nii.gz", "overview.png", "measurements.json"):
            one, two = (tmp_path / folder / case.id / name for folder in ("together", "alone"))
            assert one.read_bytes() == two.read_bytes()


def test_the_documented_example_runs(
    cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[1] / "docs" / "get-started.md").read_text(encoding="utf-8")
    code = page.partition("## Many cases from Python")[2].partition("```python\n")[2].partition("```")[0]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").rename("BRATS_FOLDER")
    exec(code, {})  # noqa: S102
    assert capsys.readouterr().out.splitlines()[0].startswith("A warn")
    assert sorted(path.name for path in Path("out").iterdir()) == ["A", "B", "summary.csv"]
