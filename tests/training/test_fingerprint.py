"""What a set of cases is like, against numbers that are known."""

from __future__ import annotations

from dataclasses import replace

from gliomaseg.training.cache import PreparedCase
from gliomaseg.training.fingerprint import take_fingerprint


def test_four_phantoms(prepared: list[PreparedCase]) -> None:
    found = take_fingerprint(prepared)
    assert (found.cases, found.patients) == (4, 4)
    assert found.sequences == ("t1n", "t1c", "t2w", "t2f")
    assert [(axis.least, axis.greatest) for axis in found.spacing_mm] == [(3, 3)] * 3
    assert [axis.median for axis in found.shape] == [80, 80, 52]
    volumes = [case.et_voxels * 27 / 1000 for case in prepared]  # voxels of 3 mm
    assert found.volumes_ml["et"].least == round(min(volumes), 4)
    assert found.volumes_ml["et"].greatest == round(max(volumes), 4)
    assert found.without == {"ncr": 0, "ed": 0, "et": 0}


def test_two_cases_of_a_patient_and_one_without_enhancing_tumour(prepared: list[PreparedCase]) -> None:
    one, two = prepared[:2]
    without = {**one.facts, "voxels": {**one.facts["voxels"], "et": 0}}
    found = take_fingerprint([replace(one, facts=without), replace(two, patient=one.patient)])
    assert (found.cases, found.patients, found.without["et"]) == (2, 1, 1)
    assert dict(found.rows())["cases"] == "2 of 1 patients, 1 without ET"
