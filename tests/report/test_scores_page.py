"""The page of scores, parsed: self-contained, escaped, worst cases first, small with many cases."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import math
import re
import time
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from gliomaseg.evaluation.comparison import compare
from gliomaseg.evaluation.evaluation import evaluate
from gliomaseg.evaluation.scores import Evaluation
from gliomaseg.evaluation.statistics import summarise
from gliomaseg.evaluation.uncertainty import count_reliability
from gliomaseg.imaging.planes import centre_on, find_view, sample_of, zoom_on
from gliomaseg.imaging.prepare import orientation_of
from gliomaseg.imaging.volume import Grid, Segmentation
from gliomaseg.labels import BRATS2021
from gliomaseg.report import pages
from gliomaseg.report.charts import Strip, draw_strips, reliability_dots
from gliomaseg.report.disagreement import draw_disagreement, worst_region
from gliomaseg.report.scores_page import PICTURES, scores_page, write_scores

Make = Callable[..., Evaluation]
Write = Callable[..., None]
VOID = {"meta", "img", "br"}
ODD = "<img src=x onerror=alert(1)>&\"'"


class Page(HTMLParser):
    """The page's tags with their attributes, its text by tag, and that every tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.words.append((self._open[-1] if self._open else "", data.strip()))

    def text(self, tag: str) -> list[str]:
        return [words for where, words in self.words if where == tag]


@pytest.fixture
def real(tmp_path: Path, write_pair: Write) -> Evaluation:
    """Return an evaluation of three small cases on disk, one of them without a prediction."""
    write_pair(tmp_path, "near", shift=1)
    write_pair(tmp_path, "far", shift=5)
    write_pair(tmp_path, "none", shift=0, predicted=False)
    return evaluate(tmp_path / "predictions", tmp_path / "data")


def test_the_page_needs_nothing_but_itself(real: Evaluation, tmp_path: Path) -> None:
    text = write_scores([real], tmp_path / "scores").read_text(encoding="utf-8")
    page = Page(text)
    assert "http" not in text.replace("http-equiv", "")
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert not re.search(r"@import|url\(|//[a-z]", text.split("<body>")[0])
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        if tag == "img":
            assert attributes["src"].startswith("data:image/png;base64,")
            assert attributes["alt"]
        if tag == "a":
            assert (tmp_path / "scores" / unquote(attributes["href"])).resolve().is_file()
    policy = next(a["content"] for t, a in page.tags if t == "meta" and "http-equiv" in a)
    assert policy.startswith("default-src 'none'")
    assert "prefers-color-scheme: dark" in text


def test_worst_cases_first_each_with_its_pictures_and_files(real: Evaluation, tmp_path: Path) -> None:
    page = Page(scores_page(real, tmp_path))
    assert page.text("h3") == ["none (no prediction)", "far", "near"]
    assert len([1 for tag, _ in page.tags if tag == "img"]) == 3 * 4
    assert page.text("a") == ["reference", "prediction", "reference", "prediction", "reference"]


def test_research_use_and_the_rules_stand_at_every_section(real: Evaluation, tmp_path: Path) -> None:
    page = Page(scores_page(real, tmp_path))
    sections = page.text("h2")
    assert sections == ["Mean over cases", "Every case", "Worst cases", "All cases"]
    assert page.text("span").count("rules brats2020") == len(sections) + 1
    assert any("not a medical device" in words for words in page.text("p"))


def test_names_with_markup_are_shown_as_text(evaluation_of: Make, tmp_path: Path) -> None:
    odd = dataclasses.replace(evaluation_of(ODD, **{ODD: 0.5, "b": 1.0}), missing=(ODD,), extra=(ODD,))
    odd = dataclasses.replace(odd, failed={ODD: {"code": "E-X", "what": ODD}}, notes={ODD: (ODD,)})
    page = Page(scores_page(odd, tmp_path, comparison=compare([odd, evaluation_of(ODD, **{ODD: 0.1})])))
    assert not [tag for tag, _ in page.tags if tag == "img"]
    assert f"{ODD} (no prediction)" in page.text("h3")
    assert any(ODD in words for words in page.text("title"))


def test_failed_cases_only(evaluation_of: Make, tmp_path: Path) -> None:
    nothing = dataclasses.replace(evaluation_of(), failed={"A": {"code": "E-GRID", "what": "other grids"}})
    page = Page(scores_page(nothing, tmp_path))
    assert "failed: A\nE-GRID: other grids" in page.text("li")
    assert "No case could be scored: see above." in page.text("p")


def test_a_thousand_cases_stay_light(evaluation_of: Make, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    many = evaluation_of(**{f"case{i:04}": float(v) for i, v in enumerate(random.beta(8, 2, 1000))})
    started = time.perf_counter()
    text = scores_page(many, tmp_path)
    assert len(text) < 2_000_000  # and 20 times 0.15 MB of pictures
    assert time.perf_counter() - started < 20
    page = Page(text)
    assert len(page.text("h3")) == PICTURES
    assert "1000 cases, worst first" in page.text("summary")


def test_the_other_files_are_written_beside(real: Evaluation, tmp_path: Path) -> None:
    write_scores([real], tmp_path / "new" / "scores")
    assert sorted(p.name for p in (tmp_path / "new" / "scores").iterdir()) == [
        "scores.csv",
        "scores.html",
        "summary.json",
    ]


def test_several_are_compared_without_being_asked(evaluation_of: Make, tmp_path: Path) -> None:
    both = [evaluation_of("ours", A=0.9, B=0.8), evaluation_of("theirs", A=0.8, B=0.6)]
    page = Page(write_scores(both, tmp_path).read_text(encoding="utf-8"))
    assert "theirs against ours" in page.text("h3")
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["comparison"]["methods"] == ["ours", "theirs"]


def test_the_example_of_the_docs_runs(
    tmp_path: Path, write_pair: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, shift in (("near", 1), ("far", 5)):
        write_pair(tmp_path, name, shift=shift)
    (tmp_path / "data").rename(tmp_path / "references")
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).parents[2] / "docs" / "evaluate.md").read_text(encoding="utf-8")
    example = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(example) == 1
    exec(example[0], {})  # noqa: S102
    assert float(capsys.readouterr().out.split()[0]) > 0
    assert (tmp_path / "scores" / "scores.html").is_file()


# --- pictures -------------------------------------------------------------------------------------


def _colours(png: bytes) -> tuple[tuple[int, int], set[str]]:
    """Return the picture's size and which of the three tints it has."""
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=int)
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    tints = {"both": blue > red + 30, "extra": red > green + 60, "missed": (red > 120) & (green > blue + 60)}
    return pixels.shape[1::-1], {
        name for name, mask in tints.items() if mask.sum() > 20 and name != "missed"
    } | ({"missed"} if (tints["missed"] & ~tints["extra"]).sum() > 20 else set())


def test_pictures_show_agreement_and_both_kinds_of_error(real: Evaluation) -> None:
    whole, plain, axial, coronal = draw_disagreement(real.pairs["far"], "wt")
    assert _colours(whole.png)[1] == _colours(axial.png)[1] == {"both", "extra", "missed"}
    assert _colours(plain.png)[1] == set()
    assert _colours(axial.png)[0] == axial.size
    assert "FLAIR" in plain.title
    assert "axial, slice 9" in axial.title
    assert (axial.letters, coronal.letters) == ("APRL", "SIRL")


def test_a_missing_prediction_is_all_missed(real: Evaluation) -> None:
    assert _colours(draw_disagreement(real.pairs["none"], "tc")[0].png)[1] == {"missed"}


def test_without_images_the_masks_stand_alone(real: Evaluation) -> None:
    bare = dataclasses.replace(real.pairs["far"], images={})
    panels = draw_disagreement(bare, "wt")
    assert len(panels) == 2
    assert _colours(panels[0].png)[1] == {"both", "extra", "missed"}


def test_nothing_anywhere_is_drawn_too(real: Evaluation) -> None:
    assert len(draw_disagreement(real.pairs["none"], "rc")) == 4


def test_the_region_with_the_lowest_overlap_is_shown(evaluation_of: Make) -> None:
    made = evaluation_of(A=0.5)
    scores = {**made.cases["A"], "dice_tc": 0.1, "dice_wt": math.nan}
    assert worst_region(dataclasses.replace(made, cases={"A": scores}), "A") == "tc"


def test_pictures_are_small(real: Evaluation) -> None:
    assert all(len(base64.b64encode(p.png)) < 100_000 for p in draw_disagreement(real.pairs["far"], "wt"))


# --- charts ---------------------------------------------------------------------------------------


def _drawn(macro: str, *values: object) -> Page:
    """Return a chart as the page draws it."""
    return Page(getattr(pages._environment().get_template("charts.html").module, macro)(*values))


def _chart(values: list[float], *, is_error: bool = False, named: tuple[str, ...] = ()) -> Page:
    (summary,) = summarise(np.array(values, dtype=float)[:, None])
    strip = Strip("WT", [(f"c{i}", v) for i, v in enumerate(values)], summary, "{:.2f}".format)
    return _drawn("strips", draw_strips("Dice", [strip], is_error=is_error, named=named))


def test_dots_lie_on_their_axis() -> None:
    page = _chart([0.0, 0.5, 1.0], named=("c1",))
    (dots,) = (a["d"] for t, a in page.tags if t == "path" and a["class"] == "dots")
    xs = [float(x) for x in re.findall(r"M([\d.]+) ", dots)]
    (named,) = (a for t, a in page.tags if t == "circle")
    assert xs == [46, 328]
    assert float(named["cx"]) == pytest.approx(187)
    assert "c1: 0.50" in page.text("title")


def test_distances_have_a_logarithmic_axis_with_the_penalty_on_it() -> None:
    page = _chart([0.0, 3.0, 374.0], is_error=True)
    assert page.text("text") == ["0", "1", "5", "20", "100", "WT"]


def test_a_strip_without_a_value_is_undefined() -> None:
    assert "undefined in every case" in _chart([math.nan, math.nan]).text("text")


def test_a_reliability_chart_has_a_dot_per_bin() -> None:
    counts = count_reliability(
        np.array([0.1, 0.9, 0.9]), np.array([False, True, False]), inside=np.ones(3, dtype=bool)
    )
    page = _drawn("reliability", "WT", reliability_dots(counts.curve()))
    assert page.text("title") == [
        "probability 0.10, tumour 0.00, 1 voxels",
        "probability 0.90, tumour 0.50, 2 voxels",
    ]
    assert _drawn("reliability", "WT", reliability_dots([])).text("title") == []


# --- close up -------------------------------------------------------------------------------------


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 1.0, 5.0), (0.5, 2.0, 1.0)])
@pytest.mark.parametrize("corner", [(0, 0, 0), (40, 30, 10), (75, 55, 35)])
def test_a_close_up_holds_the_mask_and_at_least_so_much(
    spacing: tuple[float, float, float], corner: tuple[int, int, int]
) -> None:
    shape = (80, 60, 40)
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(c, c + 5) for c in corner)] = True
    grid = Grid(shape, np.diag([-spacing[0], -spacing[1], spacing[2], 1.0]))
    everything = np.ones(shape, dtype=bool)
    labels = Segmentation(mask.astype(np.uint8), grid, BRATS2021)
    view = centre_on(find_view([sample_of(everything, orientation_of(grid.affine))], labels), mask)
    close = zoom_on(view, mask, grid=grid, least_mm=30)
    for axis in range(3):
        low, high = corner[axis], corner[axis] + 4
        if axis < 2:  # stored towards left and posterior: RAS counts from the other end
            low, high = shape[axis] - 1 - high, shape[axis] - 1 - low
        assert close.box[axis].start <= low <= close.centre[axis] <= high < close.box[axis].stop
        length = (close.box[axis].stop - close.box[axis].start) * spacing[axis]
        assert length >= min(30, shape[axis] * spacing[axis]) - spacing[axis]
    assert zoom_on(view, mask & False, grid=grid, least_mm=30) is view
