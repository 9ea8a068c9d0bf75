"""Empty folders for predictions and references, two scored methods; tests can import ``label_maps``."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gliomaseg.evaluation.scores import Evaluation

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    folder = tmp_path / "predictions"
    folder.mkdir()
    return folder


@pytest.fixture
def references(tmp_path: Path) -> Path:
    folder = tmp_path / "references"
    folder.mkdir()
    return folder


@pytest.fixture
def ours(evaluation_of: Callable[..., Evaluation]) -> Evaluation:
    return evaluation_of("ours", A=0.9, B=0.8, C=0.7)


@pytest.fixture
def theirs(evaluation_of: Callable[..., Evaluation]) -> Evaluation:
    return evaluation_of("theirs", A=0.8, B=0.6, C=0.4, D=0.1)
