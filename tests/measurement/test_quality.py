"""Each reason to look at a result, and none for an ordinary one."""

from __future__ import annotations

import numpy as np
import pytest

from gliomaseg.errors import Note
from gliomaseg.imaging.phantom import Phantom
from gliomaseg.imaging.volume import Grid, Segmentation
from gliomaseg.inference.uncertainty import Uncertainty
from gliomaseg.labels import BRATS2021, Region
from gliomaseg.measurement.measure import measure
from gliomaseg.measurement.quality import is_settled, judge, sentence

MM = Grid((60, 60, 60), np.eye(4))


def tumour(size: int = 36, at: int = 12, core: int = 10) -> np.ndarray:  # type: ignore[type-arg]
    labels = np.zeros((60, 60, 60), np.uint8)
    labels[at : at + size, at : at + size, at : at + size] = 2
    labels[at + 2 : at + 2 + core, at + 2 : at + 2 + core, at + 2 : at + 2 + core] = 4
    return labels


def reasons(labels: np.ndarray, grid: Grid = MM, **more: object) -> str:  # type: ignore[type-arg]
    segmentation = Segmentation(labels, grid, BRATS2021)
    return " ".join(judge(segmentation, measure(segmentation, **more)).reasons)  # type: ignore[arg-type]


def test_an_ordinary_tumour_passes() -> None:
    segmentation = Segmentation(tumour(), MM, BRATS2021)
    quality = judge(segmentation, measure(segmentation))
    assert quality.as_dict() == {"quality": "pass", "reasons": []}


def test_every_rule_gives_its_reason() -> None:
    assert "No tumour" in reasons(np.zeros((60, 60, 60), np.uint8))
    assert "unusually small" in reasons(tumour(size=15))
    assert "Almost no tumour was found: 0.73 ml" in reasons(tumour(size=9, core=5))
    assert "reaches the edge" in reasons(tumour(at=0))
    assert "Nothing enhances" in reasons(np.where(tumour() > 0, 2, 0).astype(np.uint8))
    # of 40 x 40 x 40 voxels 10 x 10 x 10 are 1.6 %, 11 x 11 x 11 are 2.1 %
    assert "Less than 2 % of the tumour enhances" in reasons(tumour(size=40, core=10))
    assert "enhances" not in reasons(tumour(size=40, core=11))
    many = tumour()
    for x in (0, 4, 8):
        many[x + 1 : x + 4, 1:6, 1:6] = 2
    assert "4 separate lesions" in reasons(many)
    thick = Grid((60, 60, 60), np.diag([1, 1, 5.0, 1]))
    assert "1 x 1 x 5 mm" in reasons(tumour(size=20), thick)
    assert "volume of ET is uncertain" in reasons(
        tumour(), uncertainty={Region.ET: Uncertainty((0.03, 0.91))}
    )
    assert "uncertain" not in reasons(tumour(), uncertainty={Region.ET: Uncertainty((0.04, 1.19), 0.9)})


def test_unknown_enhancement_is_no_reason() -> None:
    segmentation = Segmentation(np.where(tumour() > 0, 2, 0).astype(np.uint8), MM, BRATS2021)
    missing = [Note("W-MISSING", "case a has no t1c; the model did without", "Dice to expect: ET 0.08")]
    for dice, notes, is_reason in ((0.08, missing, False), (0.76, missing, True), (None, [], True)):
        sizes = measure(segmentation, uncertainty={Region.ET: Uncertainty((0, 0.9), dice)})
        assert any("Nothing enhances" in r for r in judge(segmentation, sizes, notes).reasons) is is_reason


def test_notes_of_the_images_are_reasons() -> None:
    segmentation = Segmentation(tumour(), MM, BRATS2021)
    for code, name in (
        ("W-EDGE", "review"),
        ("W-UNLIKE", "unreliable"),
        ("W-COARSE", "unreliable"),
        ("W-FORCED", "unreliable"),
    ):
        quality = judge(segmentation, measure(segmentation), [Note(code, "it is odd", "look at it")])
        assert (quality.name, quality.reasons) == (name, ("It is odd; look at it.",))


@pytest.mark.parametrize(
    ("code", "is_reason"),
    [
        ("W-MOVED", False),  # registration is checked there and back
        ("W-SPACING", True),
        ("W-THICK", True),
        ("W-EDGE", True),
    ],
)
def test_what_is_settled_is_no_reason(code: str, is_reason: bool) -> None:
    segmentation = Segmentation(tumour(), MM, BRATS2021)
    note = Note(code, "case a b: it is so", "look")
    assert is_settled(note) is not is_reason
    assert judge(segmentation, measure(segmentation), [note]).name == ("review" if is_reason else "pass")


def test_reasons_do_not_repeat_the_case() -> None:
    for what, found in (
        ("case a: the brain reaches the top edge", "The brain reaches the top edge; look."),
        ("case a b: t1n: odd", "T1n: odd; look."),
        ("case a has voxels of 1 x 1 x 8 mm", "Voxels of 1 x 1 x 8 mm; look."),
        ("case a has a t2w that is odd", "A t2w that is odd; look."),
        ("E-SKULL: case a has 3 ml", "E-SKULL: case a has 3 ml; look."),
    ):
        assert sentence(Note("W-EDGE", what, "look")) == found


def test_a_tilted_grid_is_no_reason() -> None:
    """The frame of a raw exam is that of its sequence: measurements are those in space."""
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]]
    segmentation = Segmentation(tumour(), Grid((60, 60, 60), turn), BRATS2021)
    assert judge(segmentation, measure(segmentation)).name == "pass"


@pytest.mark.parametrize(("dice", "name"), [(0.69, "unreliable"), (0.71, "pass")])
def test_a_poor_predicted_dice_is_unreliable(dice: float, name: str) -> None:
    segmentation = Segmentation(tumour(), MM, BRATS2021)
    sizes = measure(segmentation, uncertainty={Region.TC: Uncertainty((0.5, 0.55), dice)})
    quality = judge(segmentation, sizes)
    assert quality.name == name
    assert ("predicts a Dice of 0.69" in " ".join(quality.reasons)) == (name == "unreliable")


def test_no_tumour_is_unreliable() -> None:
    segmentation = Segmentation(np.zeros((60, 60, 60), np.uint8), MM, BRATS2021)
    assert judge(segmentation, measure(segmentation)).name == "unreliable"


def test_the_phantom_passes_but_for_its_voxels(phantom: Phantom) -> None:
    quality = judge(phantom.reference, measure(phantom.reference, images=phantom.images))
    assert len(quality.reasons) == 1
    assert "3 x 3 x 3 mm" in quality.reasons[0]
