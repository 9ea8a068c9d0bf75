"""The house: one library, one door; files and functions stay small."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "gliomaseg"
FILES = sorted(SOURCE.rglob("*.py"))

#: Which files, or folders (with a slash), may import a library. nibabel's geometry helpers serve wherever
#: axes are turned.
DOORS = {
    "isal": {"imaging/gzipped.py"},
    "nibabel": {
        "evaluation/grids.py",
        "imaging/foreign.py",
        "imaging/header.py",
        "imaging/affine.py",
        "imaging/prepare.py",
        "imaging/resample.py",
        "imaging/planes.py",
    },
    "SimpleITK": {"imaging/foreign.py"},
    "openvino": {"inference/openvino_engine.py"},
    "jinja2": {"report/pages.py"},
    "nncf": {"training/quantise.py"},
    "pydantic": {"settings/schema.py", "settings/loading.py", "storage/record.py", "report/case_report.py"},
    "yaml": {"settings/loading.py"},
    "typer": {"cli/"},
    "rich": {"cli/console.py"},
    "PIL": {"report/picture.py", "report/closeup.py", "report/marks.py", "report/mosaic.py"},
    "monai": {"training/network.py", "training/loss.py"},
    "scipy": {"imaging/phantom.py", "imaging/phantom_tumour.py", "evaluation/morphology.py"},
    "accelerate": {
        "training/process.py",
        "training/state.py",
        "training/trackers.py",
        "training/train.py",
    },
    "matplotlib": {"training/curves.py", "training/patch_sheet.py"},
    "mlflow": {"training/trackers.py"},
    "safetensors": {"training/run.py"},
    "pickle": set(),
}


def _imports(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("library", DOORS)
def test_one_library_one_door(library: str) -> None:
    users = {
        file.relative_to(SOURCE).as_posix()
        for file in FILES
        if library in _imports(ast.parse(file.read_text(encoding="utf-8")))
    }
    assert all(user in DOORS[library] or f"{user.split('/')[0]}/" in DOORS[library] for user in users)


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.relative_to(SOURCE).as_posix())
def test_files_and_functions_are_small(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and file.parent.name != "cli":
            assert node.end_lineno - node.lineno < 40, node.name
            assert len(node.args.args) + len(node.args.kwonlyargs) <= 7, node.name  # six and self


def test_only_the_storage_knows_the_files_of_a_result() -> None:
    """Two readers of one folder can't disagree: everyone asks ``ResultFolder``."""
    names = {"run.json", "seg.nii.gz", "report.html", "measurements.json", "measurements.csv"}
    for file in FILES:
        if file.parent.name != "storage":
            tree = ast.parse(file.read_text(encoding="utf-8"))
            spelt = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)} & names
            assert not spelt, file
