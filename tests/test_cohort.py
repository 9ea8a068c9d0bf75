"""Many cases: whatever befalls one, the others go on and no result is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from gliomaseg import segmenter as segmenters
from gliomaseg.cohort import Outcome, segment_cases
from gliomaseg.errors import OutputError
from gliomaseg.imaging.case import Case, find_cases
from gliomaseg.segmenter import Segmenter


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
    whole = segmenters.read_case

    def read(case: Case, *rest: object) -> object:
        if case.id == "A":
            raise trouble
        return whole(case, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(segmenters, "read_case", read)
    outcomes = list(segment_cases(cases, segmenter, tmp_path / "out"))
    assert states(outcomes) == [f"A failed {code}", "B done"]
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["B"]


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
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if Path(target) == folder and self.parent.name.startswith(".tmp-") and self.name == "A":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OutputError, match="E-DISK"):
        result.save(tmp_path / "out", overwrite=True)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["A"]
