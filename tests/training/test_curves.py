"""The picture of a log: what it shows for empty, unscored and scored logs."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gliomaseg.training.curves import draw_curves, write_curves
from gliomaseg.training.history import History, Row

DICE = {"dice_wt": 0.9, "dice_tc": 0.8, "dice_et": 0.7}


def test_lines_are_those_of_the_log() -> None:
    rows = [Row(25, 1, 2.0, 1e-3), Row(50, 2, 1.5, 9e-4, DICE), Row(75, 3, 1.0, 8e-4, DICE, final=True)]
    figure = draw_curves(History(rows))
    loss, dice, rate = figure.axes
    assert loss.lines[0].get_xydata().tolist() == [[25, 2.0], [50, 1.5], [75, 1.0]]
    assert rate.lines[0].get_ydata().tolist() == [1e-3, 9e-4, 8e-4]
    assert [line.get_ydata().tolist() for line in dice.lines] == [[0.9] * 2, [0.8] * 2, [0.7] * 2]
    assert dice.lines[0].get_label() == "whole tumour 0.900"


def test_axes_begin_at_0_and_a_single_row_is_seen() -> None:
    figure = draw_curves(History([Row(25_000, 1, 2.0, 1e-4, DICE)]))
    loss, dice, rate = figure.axes
    assert loss.get_xlim()[0] == dice.get_xlim()[0] == 0
    assert loss.get_ylim()[0] == rate.get_ylim()[0] == 0
    assert loss.lines[0].get_marker() == rate.lines[0].get_marker() == "."
    many = draw_curves(History([Row(25 * n, 1, 2.0, 1e-4) for n in range(99)]))
    assert not many.axes[0].lines[0].get_marker()
    figure.canvas.draw()
    assert "15,000" in [tick.get_text() for tick in dice.get_xticklabels()]


@pytest.mark.parametrize("rows", [[], [Row(25, 1, float("nan"), 1e-3)]])
def test_without_scores_it_says_so(rows: list[Row]) -> None:
    figure = draw_curves(History(rows))
    assert figure.axes[1].texts[0].get_text() == "no validation yet"


def test_the_file_is_a_picture(tmp_path: Path) -> None:
    write_curves(History([Row(25, 1, 2.0, 1e-3, DICE)]), tmp_path / "curves.png")
    image = Image.open(io.BytesIO((tmp_path / "curves.png").read_bytes()))
    assert image.size == (900, 700)
    assert np.asarray(image.convert("L")).std() > 10
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]
