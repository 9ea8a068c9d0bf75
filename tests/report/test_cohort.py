"""Many cases: their order, their page, and the files beside it."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from urllib.parse import unquote

import pytest
from pages import Page

from gliomaseg.cli.app import app
from gliomaseg.errors import OutputError, UsageError
from gliomaseg.report.cohort import Entry, ordered, write_reports
from gliomaseg.report.pages import cohort_page
from gliomaseg.report.sources import find_sources, sources_of


def entry(name: str, volume: float = 100, quality: str = "pass", **more: object) -> Entry:
    row = {"wt_volume_ml": str(volume), "tc_volume_ml": "10", "et_volume_ml": "5"}
    return Entry(name, quality, (), row, **more)  # type: ignore[arg-type]


def test_the_least_usual_come_first() -> None:
    usual = [entry(f"case-{n:02}", 90 + n) for n in range(20)]
    found = ordered(
        [
            *usual,
            entry("huge", 3000),
            entry("odd", 4000, quality="unreliable"),
            entry("bad", quality="failed"),
        ]
    )
    assert [e.case_id for e in found[:4]] == ["bad", "odd", "huge", "case-00"]
    assert found[1].quality == "unreliable", "an outlier does not make it better"
    assert found[2].quality == "review"
    assert found[2].reasons == ("WT is unusually large in this cohort.",)
    assert ordered([*usual[:5], entry("huge", 3000)])[0].quality == "pass", "too few cases for an outlier"


def test_the_page_is_complete_and_escaped() -> None:
    odd = "<script>alert(1)</script>"
    page = Page(
        cohort_page([entry(odd, page="a%20b/report.html", missing=("T2",), seconds=1.5), entry("b", 50)])
    )
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert odd in page.words
    assert "a%20b/report.html" in [a.get("href") for t, a in page.tags if t == "a"]
    text = " ".join(page.words)
    assert "2 cases: 2 pass" in text
    assert "median 75.0 ml, 50.0 to 100.0 ml" in text
    assert "Research use only" in text


def test_results_of_segment_are_linked_not_made_again(results: Path, tmp_path: Path) -> None:
    page = tmp_path / "pages" / "cohort.html"
    entries = write_reports(find_sources(results), page)
    assert {e.case_id: e.quality for e in entries}["lost"] == "failed"
    assert not (page.parent / "cohort-reports").exists()
    for found in entries:
        if found.quality != "failed":
            assert found.seconds == 1.5
            assert (page.parent / unquote(found.page)).exists()
    rows = list(csv.DictReader(page.with_suffix(".csv").read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 4
    assert rows[0]["case"] == "lost"
    assert float(rows[1]["wt_volume_ml"]) > 0


def test_maps_made_elsewhere_get_reports_with_their_images(
    phantom_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    maps = tmp_path / "maps"
    maps.mkdir()
    for seg in sorted(phantom_folder.rglob("*_seg.nii.gz"))[:2]:
        shutil.copy(seg, maps)
    (maps / "broken.nii.gz").write_bytes(b"no image")
    page = tmp_path / "out" / "cohort.html"
    arguments = [
        "report",
        str(maps),
        "-o",
        str(page),
        "--data",
        str(phantom_folder),
        "--mosaic",
        "9",
        "--json",
    ]
    with pytest.raises(SystemExit) as caught:
        app(arguments)
    assert caught.value.code == 3
    listed = {row["case"]: row for row in json.loads(capsys.readouterr().out)}
    assert listed["broken"]["quality"] == "failed"
    assert str(tmp_path) not in json.dumps(listed), "no path of this machine"
    made = sorted(p.name for p in (page.parent / "cohort-reports").iterdir())
    assert made == ["phantom-0-mosaic.png", "phantom-0.html", "phantom-1-mosaic.png", "phantom-1.html"]
    text = (page.parent / "cohort-reports" / "phantom-0.html").read_text(encoding="utf-8")
    assert "Against the reference" in text
    assert "1.000" in text
    assert 'href="../cohort.html"' in text
    assert 'href="cohort-reports/phantom-0-mosaic.png"' in page.read_text(encoding="utf-8")
    assert "<h1>Cohort maps</h1>" in page.read_text(encoding="utf-8"), "named after the results, not the page"
    assert str(tmp_path) not in page.read_text(encoding="utf-8") + text


def test_static_pages_of_one_case(copy_case, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    case = copy_case("one")
    seg = next(case.glob("*_seg.nii.gz"))
    with pytest.raises(SystemExit) as caught:
        app(["view", str(case), "--seg", str(seg), "--reference", str(seg), "--static", str(tmp_path / "s")])
    assert caught.value.code == 0
    assert "Against the reference" in (tmp_path / "s" / "one.html").read_text(encoding="utf-8")
    assert sources_of(case, seg=seg)[0].seg == seg
    shown = sources_of(case)
    assert [source.seg for source in shown] == [seg], "a case alone shows its own reference"
    seg.unlink()
    with pytest.raises(UsageError, match="no label map"):
        sources_of(case)


@pytest.mark.parametrize("name", ["cohort.html", "cohort.csv"])
def test_a_page_replaces_only_pages(phantom_folder: Path, tmp_path: Path, name: str) -> None:
    maps, page = tmp_path / "maps", tmp_path / "cohort.html"
    maps.mkdir()
    (maps / "a.nii.gz").write_bytes(next(phantom_folder.rglob("*_seg.nii.gz")).read_bytes())
    (tmp_path / name).write_text("my thesis")
    with pytest.raises(OutputError, match="E-EXISTS") as caught:
        write_reports(find_sources(maps), page)
    assert "--overwrite" in caught.value.remedy
    assert (tmp_path / name).read_text() == "my thesis"
    write_reports(find_sources(maps), page, overwrite=True)
    first = page.read_bytes()
    write_reports(find_sources(maps), page)
    assert page.read_bytes() == first, "its own page is replaced without --overwrite"


@pytest.mark.parametrize("name", ["a.html", "a-mosaic.png"])
def test_reports_and_mosaics_replace_only_their_like(phantom_folder: Path, tmp_path: Path, name: str) -> None:
    maps, page = tmp_path / "maps", tmp_path / "cohort.html"
    for folder in (maps, tmp_path / "cohort-reports"):
        folder.mkdir()
    (maps / "a.nii.gz").write_bytes(next(phantom_folder.rglob("*_seg.nii.gz")).read_bytes())
    mine = tmp_path / "cohort-reports" / name
    mine.write_text("my thesis")
    (entry,) = write_reports(find_sources(maps), page, mosaic=30)
    assert entry.quality == "failed"
    assert "E-EXISTS" in entry.reasons[0]
    assert mine.read_text() == "my thesis"
    for overwrite in (True, False):  # its own are replaced without it
        (entry,) = write_reports(find_sources(maps), page, mosaic=30, overwrite=overwrite)
        assert entry.quality != "failed"
    assert mine.read_bytes() != b"my thesis"


def test_a_page_never_takes_the_place_of_a_results_own(results: Path) -> None:
    report = results / "case-1" / "report.html"
    before = report.read_bytes()
    with pytest.raises(OutputError, match="E-EXISTS"):
        write_reports(find_sources(results), report, overwrite=True)
    assert report.read_bytes() == before
    assert not (results / "case-1" / "report.csv").exists()
