"""Draw the cases that held-out networks got most wrong: the experts' regions beside the model's.

    python benchmarks/model/failures.py ../shared/data/brats --models FOLD0 FOLD1 --record FILE.json

FILE.json is what cross_validation.py wrote of the runs of which FOLD0 and FOLD1 are the bundles
(``gliomaseg export --measured``). One axial slice of each case, where the two label maps differ most. No
image of a patient is in the picture, only the shape of the brain and the labels, so that it may lie beside
the code; ``gliomaseg view`` shows the same over the images to who has them.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from gliomaseg import RESEARCH_USE, Segmenter, find_cases
from gliomaseg.cases.case import Case
from gliomaseg.imaging.nifti import read_labels
from gliomaseg.imaging.planes import PLANES, View, centre_on, find_view, sample_of, slice_ras
from gliomaseg.imaging.prepare import orientation_of
from gliomaseg.imaging.volume import Segmentation
from gliomaseg.labels import BRATS2021, REGION_TITLES, Modality, Region
from gliomaseg.report.picture import FAINT, STROKES, TEXT, font

AXIAL = PLANES[0]
SIDE, HEAD, FOOT = 376, 64, 52
BRAIN = (58, 58, 58)
PER_ROW = 2
ALL = " ".join(Modality)


def main() -> None:
    """Segment the worst cases again, each by the network that had not seen it, and draw them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--models", type=Path, nargs="+", required=True)
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--count", type=int, default=4)
    parser.add_argument("--write", type=Path, default=Path("docs/failures.png"))
    options = parser.parse_args()
    record = json.loads(options.record.read_text(encoding="utf-8"))["cases"]
    worst = sorted(record, key=lambda name: sum(record[name]["dice"][ALL].values()))[: options.count]
    cases = {case.id: case for case in find_cases(options.data)}
    segmenters = [Segmenter.load(model) for model in options.models]
    tiles = []
    for name in worst:
        unseen = next(s for s in segmenters if name not in s.bundle.about["trained_on"])
        tiles.append(draw(cases[name], unseen, record[name]["dice"][ALL]))
    page(tiles).save(options.write, optimize=True)


def draw(case: Case, segmenter: Segmenter, dice: dict[str, float]) -> Image.Image:
    """Return the experts' and the model's regions in the slice in which they differ most."""
    result = segmenter.segment(case)
    reference = read_labels(Path(str(case.reference)), BRATS2021)
    images, found = result.images, result.segmentation
    both = replace(reference, labels=np.maximum(reference.labels, found.labels))
    view = find_view([sample_of(images.array[0], orientation_of(both.grid.affine))], both)
    view = centre_on(view, np.any([found.mask(r) ^ reference.mask(r) for r in Region], axis=0))
    brain = slice_ras(np.any(images.array != 0, axis=0), view, plane=AXIAL)
    tile = Image.new("RGB", (2 * SIDE, HEAD + SIDE))
    for left, title, labels in ((0, "experts", reference), (SIDE, "model", found)):
        panel = regions(brain, labels, view)
        tile.paste(panel, (left + (SIDE - panel.width) // 2, HEAD))
        pen = ImageDraw.Draw(tile)
        pen.text((left + SIDE // 2, HEAD - 14), title, TEXT, font(18), anchor="mm")
        pen.text((left + 8, HEAD + SIDE // 2), "R", TEXT, font(18), anchor="lm")
        pen.text((left + SIDE - 8, HEAD + SIDE // 2), "L", TEXT, font(18), anchor="rm")
    scores = "   ".join(f"{r.upper()} {dice[r]:.2f}" for r in Region)
    pen.text((SIDE, 18), f"{case.id}   Dice: {scores}", TEXT, font(20), anchor="mm")
    return tile


def regions(brain: np.ndarray, segmentation: Segmentation, view: View) -> Image.Image:
    """Return the outline of the brain with each region filled, the innermost on top."""
    pixels = np.where(brain[..., None], BRAIN, (0, 0, 0)).astype(np.uint8)
    for region in Region:
        mask = segmentation.scheme.mask(slice_ras(segmentation.labels, view, plane=AXIAL), region)
        pixels[mask] = STROKES[region].colour
    return Image.fromarray(pixels).resize(view.size(AXIAL), Image.Resampling.NEAREST)


def page(tiles: list[Image.Image]) -> Image.Image:
    """Return the tiles in rows, with what the colours mean."""
    rows = -(-len(tiles) // PER_ROW)
    width, height = PER_ROW * tiles[0].width, rows * tiles[0].height
    sheet = Image.new("RGB", (width, height + FOOT))
    for number, tile in enumerate(tiles):
        sheet.paste(tile, (number % PER_ROW * tile.width, number // PER_ROW * tile.height))
    pen, x = ImageDraw.Draw(sheet), 16
    for region in Region:
        pen.rectangle((x, height + 16, x + 20, height + 36), STROKES[region].colour)
        pen.text((x + 30, height + 26), REGION_TITLES[region], TEXT, font(18), anchor="lm")
        x += 60 + round(font(18).getlength(REGION_TITLES[region]))
    pen.text((x + 10, height + 26), RESEARCH_USE, FAINT, font(14), anchor="lm")
    return sheet


if __name__ == "__main__":
    main()
