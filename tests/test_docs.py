"""What the README and docs say is what the product does."""

import importlib.util
import re
import shlex
from pathlib import Path

import pytest

from gliomaseg.cli.app import app
from gliomaseg.settings.loading import preset_names

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def _commands(page: Path) -> list[str]:
    lines = re.findall(r"^    (gliomaseg .*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [line.split("  #")[0].strip() for line in lines]


COMMANDS = sorted({command for page in PAGES for command in _commands(page)})


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_parse(command: str) -> None:
    """Every documented command line is one that the parser accepts, up to its files."""
    import typer

    words = shlex.split(command)[1:]
    group = typer.main.get_command(app)
    verb = group.commands[words[0]]  # type: ignore[attr-defined]
    context = verb.make_context(words[0], words[1:], resilient_parsing=False)
    assert context.params


def test_there_are_commands() -> None:
    assert len(COMMANDS) >= 10


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert target.startswith("http") or (page.parent / target).exists(), target


@pytest.mark.parametrize("tool", ["errors_page", "bad_inputs_page"])
def test_a_generated_page_is_its_table(tool: str) -> None:
    spec = importlib.util.spec_from_file_location(tool, ROOT / "tools" / f"{tool}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text(encoding="utf-8") == module.text()


def test_the_first_screen_of_the_readme() -> None:
    first = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:24]
    text = "\n".join(first)
    for needed in (
        "make demo",
        "make test",
        "docs/overview.jpg",
        "not a medical device",
        "gliomaseg segment",
    ):
        assert needed in text


def test_every_preset_is_documented() -> None:
    text = (ROOT / "docs" / "concepts.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in preset_names())


def test_the_tests_that_hold_a_fault_exist() -> None:
    """docs/faults.md names a test for each row; it is there."""
    rows = [
        line
        for line in (ROOT / "docs" / "faults.md").read_text("utf-8").splitlines()
        if line.startswith("| F")
    ]
    assert [row.split(" | ")[0] for row in rows] == [f"| F{n}" for n in range(1, 40)]
    for row in rows:
        named, text = row.rsplit(" | ", 1)[1], ""
        for file, test in re.findall(r"((?:tests|tools)/[\w/]+\.py)?(?:::(?:\w+::)?(\w+))?", named):
            text = (ROOT / file).read_text("utf-8") if file else text
            assert not test or f"def {test}(" in text, (row, test)


def test_the_answers_of_the_architecture_quiz_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    answers = re.findall(r"^\| [^|]+\? \| `([^`]+)` \|$", text, re.MULTILINE)
    assert len(answers) == 16
    assert all((ROOT / "src" / "gliomaseg" / answer).is_file() for answer in answers)


def test_the_architecture_page_has_every_package() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    source = ROOT / "src" / "gliomaseg"
    packages = {f"{folder.parent.name}/" for folder in source.glob("*/__init__.py")}
    modules = {file.name for file in source.glob("*.py") if not file.name.startswith("__")}
    assert all(f"`{name}`" in text for name in packages | modules)
