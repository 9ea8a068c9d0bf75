"""A finished result as ``Result.save`` leaves it, without running a network."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from gliomaseg.storage import files
from gliomaseg.storage.result_folder import LABELS, MEASUREMENTS, RECORD, ResultFolder

MakeResult = Callable[..., ResultFolder]


def _make(
    output: Path, case_id: str = "A-1", *, more: Mapping[str, bytes] | None = None, **record: object
) -> ResultFolder:
    folder = output / case_id
    contents = {
        LABELS: gzip.compress(case_id.encode(errors="surrogateescape"), mtime=0),
        MEASUREMENTS: json.dumps({"quality": "review", "reasons": ["why"]}).encode(),
        **(more or {}),
    }
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    about: dict[str, object] = {
        "schema_version": 3,
        "gliomaseg": "0.2.0",
        "scheme": "brats2021",
        "model": {"name": "m", "sha256": "abc"},
        "settings": {"prepare": {"spacing_mm": 1.0}},
        "inputs": {m: {"sha256": f"of {m}"} for m in ("t1n", "t1c", "t2w", "t2f")},
    }
    outputs = {name: files.sha256_of(folder / name) for name in contents}
    files.write_json(folder / RECORD, {**about, **record, "outputs": outputs})
    return ResultFolder(folder)


@pytest.fixture
def make_result() -> MakeResult:
    """Return ``make_result(output, case_id="A-1", more={name: content}, **keys_of_run_json)``."""
    return _make
