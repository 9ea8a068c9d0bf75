"""The bench: every stage of the command is there, floors stand beside, and it can be read again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gliomaseg.bench import START, bench
from gliomaseg.cases.case import Case
from gliomaseg.errors import GliomasegError


def test_stages_add_up(phantom_case: Case) -> None:
    found = bench(phantom_case, runs=1)
    assert {START, "read", "prepare", "infer", "label", "write", "picture"} <= found.seconds.keys()
    assert sum(found.seconds.values()) == pytest.approx(found.total)
    assert 0 < found.seconds[START] < found.total
    assert found.floors.keys() == {"read", "infer"}
    assert all(seconds > 0 for seconds in found.floors.values())
    assert sum(found.machine["kernels"].values()) == 18
    assert [row[0] for row in found.table()] == ["stage", *found.seconds, "all"]
    assert json.loads(json.dumps(found.as_dict()))["case"] == phantom_case.id
    assert b'"gliomaseg"' in json.dumps(found.as_dict()).encode(), "known when it is to be replaced"


def test_figures_replace_only_figures(
    run: Callable[..., tuple[int, str, str]], phantom_case: Case, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(next(iter(phantom_case.images.values())).parent, tmp_path / "case"))
    for output in (next(folder.glob("*_t1ce.nii.gz")), tmp_path / "package.json"):
        output.touch()
        before = output.read_bytes()
        code, _, err = run("bench", folder, "-o", output, "--runs", "1")
        assert code == 1
        assert "E-EXISTS" in err
        assert output.read_bytes() == before


def test_a_command_that_fails_is_told(phantom_case: Case) -> None:
    with pytest.raises(GliomasegError, match="E-USAGE"):
        bench(phantom_case, runs=1, options=["--precision", "int7"])
