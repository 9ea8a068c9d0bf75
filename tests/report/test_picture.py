"""A landmark in one corner of a synthetic brain, looked for in the finished picture.

Two fixtures record every text that is drawn and where, so that the letters at the edges are compared
with the landmark's own pixels, whatever the storage orientation.
"""

from __future__ import annotations

import io

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw

from gliomaseg import RESEARCH_USE
from gliomaseg.errors import CaseError, UsageError
from gliomaseg.imaging.planes import PLANES
from gliomaseg.imaging.volume import Grid, Segmentation, Volume
from gliomaseg.labels import BRATS2021, BRATS2023, BRATS2024, Region, Tissue
from gliomaseg.report import picture
from gliomaseg.report.picture import PANEL, RIM, STROKES, Stroke, draw_overview, png

Pixels = npt.NDArray[np.uint8]
Panel = tuple[Pixels, dict[str, tuple[float, float]]]  # a finished panel; where its letters stand
ORIENTATIONS = [
    (first, second, third)
    for first in "RLAPSI"
    for second in "RLAPSI"
    for third in "RLAPSI"
    if len({"RLAPSI".index(code) // 2 for code in (first, second, third)}) == 3
]


def make(
    spacing: tuple[float, float, float] = (1, 1, 1), channels: tuple[str, ...] = ("t1c", "t2f")
) -> tuple[Volume, Segmentation]:
    """Return a grey RAS brain of 40 x 50 x 30 voxels; at its right, front, top a bright tumour cube.

    The cube measures 6 voxels; a 2-voxel cube of enhancement stands in its middle.
    """
    brain = np.zeros((60, 64, 48), np.float32)
    brain[10:50, 8:58, 10:40] = 100 + np.random.default_rng(1).integers(0, 20, (40, 50, 30))
    brain[42:48, 50:56, 32:38] = 400
    labels = np.zeros(brain.shape, np.uint8)
    labels[42:48, 50:56, 32:38] = BRATS2023.values[Tissue.OEDEMA]
    labels[44:46, 52:54, 34:36] = BRATS2023.values[Tissue.ENHANCING]
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -30, -40, 20
    grid = Grid((60, 64, 48), affine)
    array = np.stack([brain * (number + 1) for number in range(len(channels))])
    return Volume(array, grid, channels), Segmentation(labels, grid, BRATS2023)


def stored_as(
    images: Volume, segmentation: Segmentation, codes: tuple[str, str, str]
) -> tuple[Volume, Segmentation]:
    """Return the same anatomy stored with its axes towards ``codes``."""
    turn = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(images.grid.affine), nib.orientations.axcodes2ornt(codes)
    )
    affine = images.grid.affine @ nib.orientations.inv_ornt_aff(turn, images.grid.shape)
    array = np.stack([nib.orientations.apply_orientation(channel, turn) for channel in images.array])
    labels = np.ascontiguousarray(nib.orientations.apply_orientation(segmentation.labels, turn))
    grid = Grid(labels.shape, affine)
    return Volume(array, grid, images.channels), Segmentation(labels, grid, segmentation.scheme)


def tilted(images: Volume, segmentation: Segmentation) -> tuple[Volume, Segmentation]:
    """Return the case on a grid turned by about 20 degrees around two axes."""
    turn = nib.affines.from_matvec(nib.eulerangles.euler2mat(z=0.35, x=-0.25))
    grid = Grid(images.grid.shape, turn @ images.grid.affine)
    return Volume(images.array, grid, images.channels), Segmentation(
        segmentation.labels, grid, segmentation.scheme
    )


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record every text that is drawn."""
    seen: list[str] = []
    draw = ImageDraw.ImageDraw.text

    def record(
        self: ImageDraw.ImageDraw, xy: tuple[float, float], text: str, *args: object, **kw: object
    ) -> None:
        seen.append(text)
        draw(self, xy, text, *args, **kw)  # type: ignore[arg-type]

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", record)
    return seen


@pytest.fixture
def panels(monkeypatch: pytest.MonkeyPatch) -> list[Panel]:
    """Record every finished panel: its pixels and where each letter was drawn (column, row)."""
    seen: list[Panel] = []
    letters: dict[str, tuple[float, float]] = {}
    draw, finish = ImageDraw.ImageDraw.text, picture._panel

    def record(
        self: ImageDraw.ImageDraw, xy: tuple[float, float], text: str, *args: object, **kw: object
    ) -> None:
        letters[text] = xy
        draw(self, xy, text, *args, **kw)  # type: ignore[arg-type]

    def keep(*args: object, **kw: object) -> Image.Image:
        letters.clear()
        panel = finish(*args, **kw)  # type: ignore[arg-type]
        seen.append((np.asarray(panel), dict(letters)))
        return panel

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", record)
    monkeypatch.setattr(picture, "_panel", keep)
    return seen


def place_of(colour: tuple[int, int, int], panel: Pixels) -> tuple[float, float]:
    """Return the mean (column, row) of the pixels of one colour."""
    rows, columns = np.nonzero((panel == colour).all(axis=-1))
    assert len(rows)
    return float(columns.mean()), float(rows.mean())


def nearer(place: tuple[float, float], letters: dict[str, tuple[float, float]], pair: str) -> str:
    """Return which of two letters is nearer to a place."""
    distance = {letter: np.hypot(*np.subtract(letters[letter], place)) for letter in pair}
    return min(pair, key=lambda letter: distance[letter])


def assert_landmark_is_right_anterior_superior(
    panels: list[Panel],
) -> None:
    """Prove by the letters drawn, and by the picture's sides, where the enhancing cube is."""
    assert len(panels) == 3
    for (panel, letters), pairs in zip(panels, (("RL", "AP"), ("RL", "SI"), ("AP", "SI")), strict=True):
        place = place_of(STROKES[Region.ET].colour, panel)
        assert set(letters) == set("".join(pairs))
        assert [nearer(place, letters, pair) for pair in pairs] == [pair[0] for pair in pairs]
        assert place[0] < PANEL / 2
        assert place[1] < panel.shape[0] / 2
        assert letters[pairs[0][0]][0] < PANEL / 2 < letters[pairs[0][1]][0]
        assert letters[pairs[1][0]][1] < panel.shape[0] / 2 < letters[pairs[1][1]][1]


def test_every_storage_gives_the_same_pixels_with_the_landmark_in_its_corner(
    panels: list[Panel],
) -> None:
    case = make((1, 1.5, 2), ("t1c",))
    expected = draw_overview(*case, title="landmark").tobytes()
    assert len(ORIENTATIONS) == 48
    for codes in ORIENTATIONS:
        panels.clear()
        turned = stored_as(*case, codes)
        assert nib.aff2axcodes(turned[0].grid.affine) == codes
        assert draw_overview(*turned, title="landmark").tobytes() == expected, codes
        assert_landmark_is_right_anterior_superior(panels)


@pytest.mark.parametrize("codes", [("R", "A", "S"), ("L", "P", "S"), ("P", "S", "R"), ("I", "L", "A")])
def test_an_oblique_scan_keeps_its_letters_and_says_so(
    codes: tuple[str, str, str],
    panels: list[Panel],
    texts: list[str],
) -> None:
    images, segmentation = stored_as(*tilted(*make(channels=("t1c",))), codes)
    cube, brain = (
        nib.affines.apply_affine(images.grid.affine, np.argwhere(mask).mean(axis=0))
        for mask in (segmentation.labels > 0, images.array[0] > 0)
    )
    assert np.all(cube > brain), "the landmark lies to the right, front and top in millimetres"
    draw_overview(images, segmentation, title="oblique")
    assert_landmark_is_right_anterior_superior(panels)
    assert any("Oblique scan, tilted by" in text for text in texts)


def test_the_words_on_the_page(texts: list[str]) -> None:
    title = "Sm\u00f8rebr\u00f8d\n\u00e9t\u00e9"
    draw_overview(*make(channels=("t2f", "t1n", "adc")), title=title, note="synthetic case")
    assert texts[:2] == ["Sm?rebr?d ete", "synthetic case"], "the built-in font has ASCII only"
    assert texts[2:5] == ["T1", "FLAIR", "adc"], "known modalities first, in their order"
    assert "axial  z = +54 mm" in texts
    assert "coronal  y = +12 mm" in texts
    assert "sagittal  x = +14 mm" in texts
    assert "20 mm" in texts
    assert "whole tumour (WT)  0.22 ml" in texts, "6 x 6 x 6 voxels of 1 mm"
    assert "enhancing tumour (ET)  0.008 ml" in texts, "2 x 2 x 2 voxels"
    assert any("patient's right (R) is on the viewer's left" in text for text in texts)
    assert texts[-1] == RESEARCH_USE
    assert not any("Oblique" in text or "no tumour" in text for text in texts)


def test_an_empty_segmentation_shows_the_middle_of_the_brain_and_says_so(texts: list[str]) -> None:
    images, segmentation = make()
    empty = Segmentation(np.zeros_like(segmentation.labels), segmentation.grid, segmentation.scheme)
    page = np.asarray(draw_overview(images, empty, title="empty"))
    assert "no tumour found" in texts
    assert not any("(WT)" in text for text in texts)
    assert "axial  z = +44 mm" in texts, "the brain fills slices 10 to 39, and slice 0 lies at 20 mm"
    assert "sagittal  x = -1 mm" in texts, "slices 10 to 49, and slice 0 lies at -30 mm"
    for stroke in STROKES.values():
        assert not (page == stroke.colour).all(axis=-1).any()


def test_a_resection_cavity_is_drawn_where_the_scheme_has_one(texts: list[str]) -> None:
    images, segmentation = make()
    labels = np.where(segmentation.labels == 0, 0, BRATS2024.values[Tissue.CAVITY]).astype(np.uint8)
    draw_overview(images, Segmentation(labels, segmentation.grid, BRATS2024), title="operated")
    assert "no tumour found" in texts
    assert "resection cavity (RC)  0.22 ml" in texts


def test_voxels_five_times_as_high_as_wide_are_drawn_so(panels: list[Panel], texts: list[str]) -> None:
    images, segmentation = make((1, 1, 5), ("t1c",))
    labels = np.zeros_like(segmentation.labels)
    labels[15:35, 15:35, 20:24] = BRATS2023.values[Tissue.OEDEMA]  # a cube of 20 mm
    case = images, Segmentation(labels, images.grid, BRATS2023)
    ruler = longest_run(np.asarray(draw_overview(*case, title="cube")), picture.TEXT)
    assert "50 mm" in texts
    for panel, _ in panels:
        rows, columns = np.nonzero((panel == STROKES[Region.WT].colour).all(axis=-1))
        for side in (np.ptp(rows) + 1, np.ptp(columns) + 1):
            assert abs(side - ruler * 20 / 50) <= 1.5


def longest_run(page: Pixels, colour: tuple[int, int, int]) -> int:
    """Return the length in pixels of the longest horizontal line of one colour."""
    same = np.pad((page == colour).all(axis=-1).astype(np.int8), ((0, 0), (1, 1)))
    change = np.diff(same, axis=1)
    return int((np.nonzero(change == -1)[1] - np.nonzero(change == 1)[1]).max())


@pytest.mark.parametrize("count", [1, 2, 4, 6])
def test_any_number_of_modalities_fits_the_page(count: int, texts: list[str]) -> None:
    channels = ("t1n", "t1c", "t2w", "t2f", "adc", "swi")[:count]
    page = draw_overview(*make(channels=channels), title="a very long title " * 30, note="W" * 400)
    assert not np.asarray(page)[:, -8:].any(), "nothing is clipped at the right-hand side"
    assert sum(text in ("T1", "T1 contrast", "T2", "FLAIR", "adc", "swi") for text in texts) == count
    assert page.width >= count * PANEL


def test_odd_intensities_are_drawn_without_a_warning() -> None:
    images, segmentation = make(channels=("t1n", "t1c", "t2w", "t2f"))
    array = images.array.copy()
    array[0] = 0
    array[1] = 7
    array[2, :30] = np.nan
    array[3] -= 110
    draw_overview(Volume(array, images.grid, images.channels), segmentation, title="odd")
    whole = Volume(images.array.astype(np.int16), images.grid, images.channels)
    draw_overview(whole, segmentation, title="integers")


def test_a_lesion_outside_the_brain_is_shown_too() -> None:
    images, segmentation = make(channels=("t1c",))
    labels = np.zeros_like(segmentation.labels)
    labels[0:3, 0:3, 0:3] = BRATS2023.values[Tissue.OEDEMA]
    page = np.asarray(draw_overview(images, Segmentation(labels, images.grid, BRATS2023), title="out"))
    assert (page == STROKES[Region.WT].colour).all(axis=-1)[: -4 * RIM].any()


def test_a_single_slice_can_be_drawn() -> None:
    grid = Grid((12, 10, 1), np.eye(4))
    labels = np.zeros(grid.shape, np.uint8)
    labels[4:8, 4:8] = BRATS2021.values[Tissue.ENHANCING]
    draw_overview(
        Volume(np.ones((1, 12, 10, 1), np.float32), grid, ("t1c",)),
        Segmentation(labels, grid, BRATS2021),
        title="thin",
    )


def test_png_bytes_hold_the_same_picture() -> None:
    drawn = draw_overview(*make(), title="a", note="b")
    page = Image.open(io.BytesIO(png(drawn)))
    assert page.format == "PNG"
    assert page.tobytes() == drawn.tobytes()


def test_two_grids_or_no_image_are_refused() -> None:
    images, segmentation = make()
    shifted = Grid(images.grid.shape, nib.affines.from_matvec(np.eye(3), [1, 0, 0]) @ images.grid.affine)
    with pytest.raises(CaseError, match="affines differ") as caught:
        draw_overview(images, Segmentation(segmentation.labels, shifted, BRATS2023), title="")
    assert caught.value.code == "E-GRID"
    with pytest.raises(UsageError):
        draw_overview(Volume(images.array[:0], images.grid, ()), segmentation, title="")


def test_a_contour_is_the_outermost_ring_inside_the_mask() -> None:
    mask = np.zeros((10, 12), dtype=bool)
    mask[2:8, 3:9] = True
    ring = mask.copy()
    ring[3:7, 4:8] = False
    solid = Stroke((1, 1, 1))
    assert np.array_equal(picture.contour(mask, solid), ring)
    assert picture.contour(np.ones((5, 4), dtype=bool), solid).sum() == 14, "closed at the picture's edge"
    assert not picture.contour(np.zeros((5, 4), dtype=bool), solid).any()


def test_dashes_break_an_edge_of_any_direction_but_never_swallow_it() -> None:
    rows, columns = np.ogrid[-100:101, -100:101]
    disc = rows**2 + columns**2 <= 90**2
    ring = picture.contour(disc, Stroke((1, 1, 1)))
    sector = ((np.degrees(np.arctan2(rows, columns)) + 180) // 15 % 24).astype(int)
    for stroke in (STROKES[Region.TC], STROKES[Region.WT]):
        dashed = picture.contour(disc, stroke)
        assert not (dashed & ~ring).any()
        share = [dashed[sector == part].sum() / ring[sector == part].sum() for part in range(24)]
        assert min(share) > 0.3
        assert max(share) < 0.95


def test_planes_are_the_three_axes() -> None:
    assert [(plane.name, plane.axis) for plane in PLANES] == [("axial", 2), ("coronal", 1), ("sagittal", 0)]
