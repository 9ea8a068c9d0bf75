"""The log of a training: rows, plateaus, CSV."""

from __future__ import annotations

from pathlib import Path

import pytest

from gliomaseg.labels import Region
from gliomaseg.settings.schema import TrainingSettings
from gliomaseg.training.history import SCORES, History, Row, read_history
from gliomaseg.training.state import learning_rate, stops_early


def scored(*means: float) -> History:
    """Return a history of validations with these mean Dice."""
    names = [f"dice_{region}" for region in Region]
    return History([Row(n, n, 1, 1, dict.fromkeys(names, mean), False) for n, mean in enumerate(means)])


def test_no_log_yet(tmp_path: Path) -> None:
    history = read_history(tmp_path / "history.csv")
    assert history.rows == []
    assert not history.is_final_at(25)
    assert not history.last_is_best


def test_one_row_per_step() -> None:
    history = History()
    for step in (25, 25, 50):
        history.add(Row(step, 1, 1, 1))
    assert [row.step for row in history.rows] == [25, 50]


def test_scores_go_into_the_last_row() -> None:
    history = History([Row(25, 1, 1, 1), Row(30, 1, 1, 1)])
    history.add_scores({"dice_wt": 0.123456, "dice_tc": 0.5, "dice_et": 0, "mean_iou": 0.25}, final=True)
    assert history.is_final_at(30)
    assert not history.is_final_at(31)
    assert history.rows[0].dice == {}
    assert history.rows[1].dice == {Region.WT: 0.12346, Region.TC: 0.5, Region.ET: 0}
    assert history.rows[1].mean_dice == pytest.approx(0.62346 / 3)


def test_every_score_survives_the_file(tmp_path: Path) -> None:
    history = History([Row(25, 1.5, 0.5, 0.001)])
    history.add_scores({name: n / 64 for n, name in enumerate(SCORES)}, final=False)
    (tmp_path / "history.csv").write_text(history.csv())
    assert read_history(tmp_path / "history.csv").rows == history.rows


def test_a_log_of_an_older_version(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_text("step,minutes,loss,learning_rate,dice_wt,dice_tc,dice_et,final\n9,1,2,3,0.5,0.25,1,1\n")
    (row,) = read_history(path).rows
    assert row.dice == {Region.WT: 0.5, Region.TC: 0.25, Region.ET: 1}
    assert row.final is True


@pytest.mark.parametrize(
    ("means", "plateaus"),
    [((), 0), ((1, 2, 3), 0), ((3, 2, 1), 1), ((3, 2, 4, 1, 1), 1), ((3, 1, 1, 1, 1), 2), ((3, 3, 3), 1)],
)
def test_plateaus_by_pencil(means: tuple[float, ...], plateaus: int) -> None:
    assert scored(*(m / 10 for m in means)).count_plateaus(2) == plateaus


def test_the_best_validation() -> None:
    assert scored(0.5).last_is_best
    assert scored(0.5, 0.6).last_is_best
    assert not scored(0.6, 0.6).last_is_best


class TestSchedule:
    def test_poly_cosine_and_plateau_by_pencil(self) -> None:
        half = scored(0.5, 0.4, 0.4)
        of = {
            name: TrainingSettings(schedule=name, learning_rate=1, warmup_steps=0, patience=2)
            for name in ("poly", "cosine", "plateau")
        }
        assert learning_rate(of["poly"], 9, 0.5, half) == 0.5**0.9
        assert learning_rate(of["cosine"], 9, 0.5, half) == pytest.approx(0.5)
        assert learning_rate(of["cosine"], 9, 1.0, half) == pytest.approx(0)
        assert learning_rate(of["plateau"], 9, 0.9, half) == 0.5
        assert learning_rate(of["plateau"], 9, 0.9, scored(0.5, 0.6)) == 1

    def test_trapezoid_by_pencil(self) -> None:
        settings = TrainingSettings(schedule="trapezoid", learning_rate=1, warmup_steps=10, decay_share=0.25)
        rates = [learning_rate(settings, step, step / 400, History()) for step in (0, 9, 300, 350, 399)]
        assert rates == pytest.approx([0.1, 1, 1, 0.5, 0.01])
        assert learning_rate(settings, 400, 1.0, History()) == 0

    def test_a_trapezoid_does_not_depend_on_the_length_before_it_falls(self) -> None:
        settings = TrainingSettings(schedule="trapezoid", decay_share=0)
        assert {learning_rate(settings, 99, done, History()) for done in (0.1, 0.79, 1.0)} == {1.5e-3}

    @pytest.mark.parametrize("name", ["poly", "cosine", "trapezoid", "plateau"])
    def test_warm_up(self, name: str) -> None:
        settings = TrainingSettings(schedule=name, learning_rate=1, warmup_steps=10)
        assert learning_rate(settings, 4, 0, History()) == 0.5

    def test_early_stop(self) -> None:
        ended = scored(0.5, 0.4, 0.4)
        assert stops_early(TrainingSettings(early_stop=True, patience=2), ended)
        assert not stops_early(TrainingSettings(early_stop=False, patience=2), ended)
        assert not stops_early(TrainingSettings(early_stop=True, patience=3), ended)
        assert not stops_early(TrainingSettings(early_stop=True, patience=2, schedule="plateau"), ended)
