"""gliomaseg doctor: what it finds sound is, what is broken it finds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from gliomaseg.cli import examine as doctor
from gliomaseg.inference import hardware
from gliomaseg.inference.bundle import Bundle
from gliomaseg.segmenter import Segmenter

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Let the self-test find what is stored, without segmenting; change the counts to let it fail."""
    stored = Path(doctor.__file__).parents[1] / "assets" / "self-test.json"
    counts: dict[str, int] = json.loads(stored.read_text())["voxels"]
    monkeypatch.setattr(doctor, "segment_phantom", lambda _: (counts, 2.0))
    return counts


def states(answers: list[doctor.Answer]) -> dict[str, str]:
    return {answer.name: answer.state for answer in answers}


def test_the_self_test_of_this_machine(tmp_path: Path) -> None:
    answers = doctor.examine(tmp_path)
    assert states(answers)["self-test"] == "ok", answers[-1]
    assert not list(tmp_path.iterdir())


def test_the_stored_counts_are_those_of_the_shipped_model(quick: dict[str, int]) -> None:
    """If this fails, the shipped model changed: run tools/self_test_counts.py."""
    stored = json.loads((Path(doctor.__file__).parents[1] / "assets" / "self-test.json").read_text())
    assert stored["model"] == Bundle.load().sha256
    assert set(stored["voxels"]) == set(quick)


def test_wrong_counts_are_a_failure(quick: dict[str, int], tmp_path: Path) -> None:
    quick.update(
        json.loads((Path(doctor.__file__).parents[1] / "assets" / "self-test.json").read_text())["voxels"]
    )
    assert states(doctor.examine(tmp_path))["self-test"] == "ok"
    quick["et"] += 10_000
    assert states(doctor.examine(tmp_path))["self-test"] == "fail"


def test_a_broken_model_a_failing_network_and_a_folder_that_can_not_be_written(
    quick: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert states(doctor.examine(tmp_path / "nowhere"))["writing"] == "fail"

    def fail(_: object) -> None:
        raise RuntimeError("odd")

    monkeypatch.setattr(doctor, "segment_phantom", fail)
    assert states(doctor.examine(tmp_path))["self-test"] == "fail"
    monkeypatch.setattr(Segmenter, "load", fail)
    monkeypatch.setattr(Segmenter, "load", lambda **_: fail(None))
    found = states(doctor.examine(tmp_path))
    assert found["model"] == "fail"
    assert "self-test" not in found


def test_a_model_without_stored_counts_and_a_poor_machine(
    quick: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = SimpleNamespace(loads=lambda _: {"model": "another", "voxels": {}})
    monkeypatch.setattr(doctor, "json", stored)
    monkeypatch.setattr(hardware, "cpu_flags", lambda: frozenset({"sse4_2"}))
    monkeypatch.setattr(hardware, "free_memory", lambda: 100_000_000)
    monkeypatch.setattr(doctor, "ROOM", 1 << 62)
    segmenter = Segmenter.load(precision="fp32")
    monkeypatch.setattr(Segmenter, "load", lambda **_: segmenter)
    found = states(doctor.examine(tmp_path))
    assert {n for n, s in found.items() if s == "warn"} == {"processor", "memory", "disk", "self-test"}
    monkeypatch.setattr(hardware, "free_memory", lambda: None)
    assert states(doctor.examine(tmp_path))["memory"] == "ok"


@pytest.mark.parametrize("json_wanted", [False, True])
def test_the_command(
    quick: dict[str, int],
    tmp_path: Path,
    run: Run,
    json_wanted: bool,
) -> None:
    for folder, code in ((tmp_path, 0), (tmp_path / "nowhere", 1)):
        options = ["--json"] if json_wanted else []
        found, out, err = run("doctor", "-o", folder, *options)
        assert found == code
        if json_wanted:
            assert json.loads(out)["ok"] == (code == 0)
        else:
            assert "self-test" in out
            assert ("writing: choose" in err) == (code == 1)
