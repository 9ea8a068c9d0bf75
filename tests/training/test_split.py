"""Splits by patient: disjoint, balanced, always the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from gliomaseg.cases.case import Case
from gliomaseg.errors import TrainingError
from gliomaseg.settings.schema import TrainingSettings
from gliomaseg.training.cache import PreparedCase
from gliomaseg.training.split import Split, check_split, split_by_patient


def made_up(names: list[str], et: list[int] | None = None) -> list[PreparedCase]:
    """Return cases that exist by name alone."""
    patients = [Case(name, {}).patient for name in names]
    volumes = et or [0] * len(names)
    return [
        PreparedCase(n, p, Path(), {"voxels": {"et": v}})
        for n, p, v in zip(names, patients, volumes, strict=True)
    ]


def folds(count: int, fold: int | None) -> TrainingSettings:
    return TrainingSettings(folds=count, fold=fold)


class TestSplit:
    names = tuple(f"BraTS2021_{n:05}" for n in range(23))

    def test_folds_are_disjoint_and_cover_all(self) -> None:
        cases = made_up(list(self.names), list(range(23)))
        splits = [split_by_patient(cases, folds(4, fold)) for fold in range(4)]
        for split in splits:
            assert set(split.train).isdisjoint(split.validation)
            assert set(split.train) | set(split.validation) == set(self.names)
        held_out = [name for split in splits for name in split.validation]
        assert sorted(held_out) == sorted(self.names)
        assert sorted(len(split.validation) for split in splits) == [5, 6, 6, 6]

    def test_folds_are_balanced_by_enhancing_tumour(self) -> None:
        cases = made_up(list(self.names[:20]), [n**3 for n in range(20)])
        et = {case.id: case.et_voxels for case in cases}
        splits = [split_by_patient(cases, folds(4, f)) for f in range(4)]
        for hand in range(0, 20, 4):  # each fold holds exactly one of every four in order of size
            four = set(self.names[hand : hand + 4])
            assert all(len(four & set(split.validation)) == 1 for split in splits)
        totals = [sum(et[name] for name in split.validation) for split in splits]
        assert max(totals) < 2.5 * min(totals)

    def test_timepoints_of_one_patient_stay_together(self) -> None:
        names = [
            f"BraTS-GLI-{patient:05}-{time:03}" for patient in range(10) for time in range(1 + patient % 3)
        ]
        cases = made_up(names)
        assert len({case.patient for case in cases}) == 10
        for fold in range(5):
            split = split_by_patient(cases, folds(5, fold))
            of_train, of_validation = ({n[:15] for n in part} for part in (split.train, split.validation))
            assert of_train.isdisjoint(of_validation)
            assert len(of_validation) == 2

    def test_it_is_the_same_whatever_the_order_of_cases(self) -> None:
        cases = made_up(list(self.names))
        one, other = (split_by_patient(c, folds(4, 1)) for c in (cases, cases[::-1]))
        assert set(one.validation) == set(other.validation)

    def test_no_fold_trains_on_all(self) -> None:
        split = split_by_patient(made_up(["a"]), folds(4, None))
        assert (split.train, split.validation) == (("a",), ())

    @pytest.mark.parametrize(("count", "fold"), [(3, 0), (8, 4), (8, -1), (0, 0)])
    def test_too_few_patients(self, count: int, fold: int) -> None:
        with pytest.raises(TrainingError, match="E-FEWCASES") as caught:
            split_by_patient(made_up(list(self.names[:count])), folds(4, fold))
        assert "training.folds=2" in caught.value.remedy

    def test_timepoints_do_not_count_as_patients(self) -> None:
        with pytest.raises(TrainingError, match="1 patients"):
            split_by_patient(made_up([f"BraTS-GLI-00001-{n:03}" for n in range(9)]), folds(2, 0))


class TestHeldOut:
    names = ("BraTS-GLI-00000-000", "BraTS-GLI-00000-001", "BraTS-GLI-00001-000", "BraTS-GLI-00002-000")

    def split(self, *held_out: str, names: tuple[str, ...] = names) -> Split:
        return split_by_patient(made_up(list(names)), TrainingSettings(held_out=held_out))

    def test_all_exams_of_the_patients_named_are_held_out(self) -> None:
        split = self.split("BraTS-GLI-00000", "BraTS-GLI-00002")
        assert split.validation == (*self.names[:2], self.names[3])
        assert split.train == (self.names[2],)

    def test_more_patients_are_trained_on(self) -> None:
        names = (*self.names, "BraTS-GLI-00009-000")
        assert self.split("BraTS-GLI-00001", names=names).validation == ("BraTS-GLI-00001-000",)
        assert "BraTS-GLI-00009-000" in self.split("BraTS-GLI-00001", names=names).train

    @pytest.mark.parametrize(
        ("held_out", "what"),
        [
            (("BraTS-GLI-00007",), "patient BraTS-GLI-00007 is to be held out and is not there"),
            (("BraTS-GLI-00000", "BraTS-GLI-00001", "BraTS-GLI-00002"), "all are held out"),
        ],
    )
    def test_who_is_not_there_or_no_one_left(self, held_out: tuple[str, ...], what: str) -> None:
        with pytest.raises(TrainingError, match=what):
            self.split(*held_out)
        with pytest.raises(TrainingError, match=what):
            check_split([Case(name, {}) for name in self.names], TrainingSettings(held_out=held_out))


class TestFractions:
    def test_parts_have_their_shares_and_no_patient_is_in_two(self) -> None:
        names = [f"BraTS2021_{n:05}" for n in range(50)]
        split = split_by_patient(made_up(names, list(range(50))), TrainingSettings(fractions=(0.7, 0.1, 0.2)))
        assert [len(part) for part in (split.train, split.validation, split.test)] == [35, 5, 10]
        assert sorted(split.train + split.validation + split.test) == names

    def test_each_part_has_small_and_large_tumours(self) -> None:
        names = [f"BraTS2021_{n:05}" for n in range(40)]
        split = split_by_patient(
            made_up(names, list(range(40))), TrainingSettings(fractions=(0.5, 0.25, 0.25))
        )
        for part in (split.validation, split.test):
            assert 2 <= sum(names.index(name) < 20 for name in part) <= 8

    def test_shares_that_are_0_get_nothing(self) -> None:
        names = [f"BraTS2021_{n:05}" for n in range(10)]
        split = split_by_patient(made_up(names), TrainingSettings(fractions=(0.8, 0.2, 0)))
        assert (len(split.train), len(split.validation), split.test) == (8, 2, ())

    def test_too_few_patients_for_a_part(self) -> None:
        with pytest.raises(TrainingError, match="E-FEWCASES"):
            split_by_patient(made_up(["a", "b"]), TrainingSettings(fractions=(0.6, 0.2, 0.2)))
