"""The provenance of a result: file names that identify nobody, and what the model knows of a case."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gliomaseg.cases.case import Case
from gliomaseg.inference.bundle import Bundle
from gliomaseg.inference.provenance import inputs_record, model_record, software_record
from gliomaseg.labels import Modality

T1C, T2F = Modality.T1C, Modality.T2F
CASE = Case("p7", {T1C: Path("data/p7_t1ce.nii"), T2F: Path("data/doe_john.nii")}, channels={T2F: 3})


@pytest.mark.parametrize("keep_names", [False, True])
def test_a_file_name_is_recorded_if_it_begins_with_the_id(keep_names: bool) -> None:
    found = inputs_record(CASE, {T1C: "a", T2F: "b"}, keep_names=keep_names)
    named = {"file": "doe_john.nii"} if keep_names else {}
    assert found == {
        "t1c": {"file": "p7_t1ce.nii", "sha256": "a"},
        "t2f": {**named, "channel": 3, "sha256": "b"},
    }


def test_what_the_model_knows_of_a_case() -> None:
    bundle = Bundle.load()
    bundle = replace(bundle, about={**bundle.about, "trained_on": ["p7"]})
    record = model_record(bundle, "p7", (T1C, T2F))
    assert record["missing"] == ["t1n", "t2w"]
    assert record["expected_dice"] == bundle.expected_dice((T1C, T2F))
    assert record["seen_in_training"]
    assert not model_record(bundle, "p8", (T1C, T2F))["seen_in_training"]
    assert set(record["settings"]) == {"prepare", "network", "inference", "segment"}


def test_versions_of_all_that_computes() -> None:
    assert {"numpy", "openvino"} <= software_record()["libraries"].keys()
