"""A picture of augmented patches with their labels, as the network receives them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from gliomaseg import RESEARCH_USE
from gliomaseg.labels import MODALITY_TITLES, REGION_TITLES, Region
from gliomaseg.storage import files
from gliomaseg.training.cache import STORED
from gliomaseg.training.dataset import PatchDataset

#: Outlines on a dark ground, the colours and line styles of the overview of ``segment``.
_STROKES: dict[Region, tuple[str, Literal["solid", "dashed", "dotted"]]] = {
    Region.WT: ("#F0E442", "dotted"),
    Region.TC: ("#56B4E9", "dashed"),
    Region.ET: ("#FF6E14", "solid"),
}
#: Intensities shown, in standard deviations of the brain.
_WINDOW = (-2.5, 3.5)
_ROWS = 6
#: The title in the file, by which an earlier picture is recognised.
TITLE = "Patches of gliomaseg"


def write_patch_sheet(patches: PatchDataset, path: Path, *, rows: int = _ROWS) -> None:
    """Draw the first patches of a training, one a row, to a PNG file: whole or not at all."""
    stream = io.BytesIO()
    figure = draw_patch_sheet(patches, rows=rows)
    figure.savefig(stream, format="png", dpi=100, metadata={"Title": TITLE})
    files.write_bytes(path, stream.getvalue())


def draw_patch_sheet(patches: PatchDataset, *, rows: int = _ROWS) -> Figure:
    """Return the figure: patches (rows) in every sequence (columns), each in the slice with most tumour."""
    sequences = patches.settings.network.modalities
    figure = Figure(figsize=(2.4 * len(sequences) + 0.6, 2.4 * rows + 0.8), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, len(sequences), squeeze=False)
    for number, line in enumerate(grid):
        image, label = patches.patch(number)
        _draw_patch(line, image, label)
        line[0].set_ylabel(patches.describe(number).partition(",")[0], fontsize=8)
    for axes, name in zip(grid[0], sequences, strict=True):
        axes.set_title(MODALITY_TITLES[name], fontsize=10)
    lines = [Line2D([], [], color=colour, linestyle=style) for colour, style in _STROKES.values()]
    names = [REGION_TITLES[region] for region in _STROKES]
    figure.legend(lines, names, loc="outside lower center", ncols=3, title=RESEARCH_USE, fontsize=8)
    return figure


def _draw_patch(line: npt.NDArray[np.object_], image: Tensor, label: Tensor) -> None:
    """Draw one patch, image (c, x, y, z) and stored labels (x, y, z), into a row of axes."""
    level = int((label > 0).sum((0, 1)).argmax()) if bool(label.any()) else label.shape[2] // 2
    low, high = _WINDOW
    for axes, channel in zip(line, image[..., level].numpy(), strict=True):
        shown = np.where(channel == 0, low, channel)  # 0 is the background, and dropped sequences
        axes.imshow(shown.T, cmap="gray", vmin=low, vmax=high, origin="lower")
        for region, (colour, style) in _STROKES.items():
            mask = STORED.mask(label[..., level].numpy(), region)
            if mask.any() and not mask.all():
                axes.contour(mask.T, levels=[0.5], colors=colour, linestyles=style, linewidths=1.2)
        axes.set_xticks([])
        axes.set_yticks([])
