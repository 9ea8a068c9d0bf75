"""The log of a training as a picture: loss, learning rate, Dice of each region."""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from gliomaseg import RESEARCH_USE
from gliomaseg.labels import REGION_TITLES, Region
from gliomaseg.storage import files
from gliomaseg.training.history import History

#: Colours of Okabe and Ito, safe for colour-blind readers; each region has its own mark, too.
_LOSS, _RATE = "#000000", "#999999"
_REGIONS = {Region.WT: ("#E69F00", "o"), Region.TC: ("#0072B2", "s"), Region.ET: ("#D55E00", "^")}

#: Fewer rows than this are drawn as points, too.
_FEW = 20


def write_curves(history: History, path: Path) -> None:
    """Draw ``history`` to a PNG file, whole or not at all."""
    figure = draw_curves(history)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=100)
    files.write_bytes(path, stream.getvalue())


def draw_curves(history: History) -> Figure:
    """Return the figure: loss and learning rate by step; below, Dice of the held-out cases."""
    figure = Figure(figsize=(9, 7), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True)
    _draw_loss(above, history)
    _draw_dice(below, history)
    below.set_xlabel("step")
    below.xaxis.set_major_locator(MaxNLocator(integer=True))
    below.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    below.set_xlim(0, max([row.step for row in history.rows], default=0) * 1.02 or 1)
    figure.text(0.995, 0.005, RESEARCH_USE, ha="right", va="bottom", fontsize=7, color=_RATE)
    return figure


def _draw_loss(axes: Axes, history: History) -> None:
    steps = [row.step for row in history.rows]
    mark = "." if len(steps) < _FEW else ""  # one alone makes no line
    loss = axes.plot(steps, [row.loss for row in history.rows], color=_LOSS, marker=mark, label="loss")
    axes.set_ylim(bottom=0)
    axes.set_ylabel("loss, mean of the last steps")
    axes.grid(alpha=0.3)
    other = axes.twinx()
    rates = [row.learning_rate for row in history.rows]
    rate = other.plot(steps, rates, color=_RATE, linestyle="--", marker=mark, label="learning rate")
    other.set_ylabel("learning rate")
    other.set_ylim(bottom=0)
    other.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    axes.legend(handles=[*loss, *rate], loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)


def _draw_dice(axes: Axes, history: History) -> None:
    axes.set_ylabel("mean Dice of held-out cases")
    axes.set_ylim(0, 1)
    axes.grid(alpha=0.3)
    if not history.scored:
        axes.text(0.5, 0.5, "no validation yet", transform=axes.transAxes, ha="center", color=_RATE)
        return
    for region, (colour, mark) in _REGIONS.items():
        scored = [(row.step, row.dice[region]) for row in history.scored if region in row.dice]
        if scored:
            steps, dice = zip(*scored, strict=True)
            label = f"{REGION_TITLES[region]} {dice[-1]:.3f}"
            axes.plot(steps, dice, color=colour, marker=mark, label=label)
    axes.legend(loc="best", title="last value")
