"""Count what docs/architecture.md claims: sizes, types, import cycles, and how straight the main paths are.

    python tools/house.py                    # this checkout
    python tools/house.py ../before          # another one, with its own .venv
    python tools/house.py --only train       # one of the main paths

For each main path (segment, evaluate, train and report on small phantoms) the package's functions are listed
in the order of their first call (sys.setprofile). Neighbours in one module count once; a return is an entry
whose module occurred before.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import groupby
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).parents[1]
#: What is weighed apart: the shipped model and its fold weights.
WEIGHTS = ("src/gliomaseg/assets/model/", "benchmarks/model/folds/")
#: Phantoms that both sides of every path can be made of.
PATIENTS = 4
#: The main paths; evaluate and report need what several writes.
PATHS = ("segment", "several", "evaluate", "train", "report")


def main() -> None:
    """Print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("checkout", type=Path, nargs="?", default=ROOT)
    parser.add_argument(
        "--path", nargs=argparse.REMAINDER, help=argparse.SUPPRESS
    )  # one command line, traced in this process
    parser.add_argument("--only", choices=PATHS, help="count the returns of this path alone")
    options = parser.parse_args()
    if options.path:
        print(json.dumps(trace(options.path)))
        return
    root = options.checkout.resolve()
    figures = paths(root, [options.only]) if options.only else {**sizes(root), **shape(root), **paths(root)}
    for name, value in figures.items():
        print(f"{name:<52}{value}")


def sizes(root: Path) -> dict[str, object]:
    """Return how much is tracked by git, in files and MB (10^6 bytes)."""
    listed = subprocess.run(
        ["/usr/bin/env", "git", "ls-files"], cwd=root, capture_output=True, text=True, check=True
    )
    files = [name for name in listed.stdout.splitlines() if (root / name).exists()]
    beside = [name for name in files if not name.startswith(WEIGHTS)]
    total, rest = (sum((root / name).stat().st_size for name in names) / 1e6 for names in (files, beside))
    return {
        "files in the repository": len(files),
        "MB in the repository": f"{total:.1f}",
        "MB beside the shipped model and its fold weights": f"{rest:.1f}",
    }


def shape(root: Path) -> dict[str, object]:
    """Return what the source looks like."""
    source = root / "src" / "gliomaseg"
    texts = {file: file.read_text(encoding="utf-8") for file in sorted(source.rglob("*.py"))}
    trees = {file: ast.parse(text) for file, text in texts.items()}
    functions = [(file, node) for file, tree in trees.items() for node in ast.walk(tree) if is_function(node)]
    lines = {file: len(text.splitlines()) for file, text in texts.items()}
    inner = [(length(node), node.name, file) for file, node in functions if not is_command_line(file, source)]
    typed = sum(is_typed(node) for _, node in functions)
    templates = [file for file in source.rglob("*.html") if file.is_file()]
    longest, (most, name, place) = max(lines, key=lines.__getitem__), max(inner)
    return {
        "modules at the root": len(list(source.glob("*.py"))),
        "modules": len(texts),
        "lines of Python": sum(lines.values()),
        "  without blank lines": sum(
            bool(line.strip()) for text in texts.values() for line in text.splitlines()
        ),
        "lines of templates": sum(len(file.read_text("utf-8").splitlines()) for file in templates),
        "longest file": f"{lines[longest]} ({longest.relative_to(source)})",
        "longest function outside the command line": f"{most} ({place.relative_to(source)}: {name})",
        "functions, typed": f"{len(functions)}, {100 * typed / len(functions):.1f} %",
        "import cycles": cycles(trees, source),
        "imports by string": sum(text.count("import_module(") for text in texts.values()),
    }


def is_function(node: ast.AST) -> bool:
    """Return whether this defines a function."""
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def is_command_line(file: Path, source: Path) -> bool:
    """Return whether a module belongs to the command line."""
    return file.relative_to(source).as_posix().startswith("cli")


def length(node: ast.FunctionDef) -> int:
    """Return the lines of a function."""
    return int(node.end_lineno or 0) - node.lineno + 1


def is_typed(node: ast.FunctionDef) -> bool:
    """Return whether all arguments and what is returned have types; self and cls need none."""
    given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    given += [a for a in (node.args.vararg, node.args.kwarg) if a]
    untyped = [a.arg for a in given if a.annotation is None and a.arg not in {"self", "cls"}]
    return node.returns is not None and not untyped


def cycles(trees: dict[Path, ast.Module], source: Path) -> int:
    """Return 1 if modules import each other in a circle, inside functions too; else 0. Types don't count."""
    graph = {module_of(file, source): set(imports(tree)) for file, tree in trees.items()}
    graph = {
        name: {n if n in graph else n.rpartition(".")[0] for n in found} & set(graph)
        for name, found in graph.items()
    }
    try:
        TopologicalSorter({name: found - {name, "gliomaseg"} for name, found in graph.items()}).prepare()
    except CycleError as error:
        print(" -> ".join(error.args[1]), file=sys.stderr)
        return 1
    return 0


def module_of(file: Path, source: Path) -> str:
    """Return the dotted name of a module."""
    return ".".join(file.relative_to(source.parent).with_suffix("").parts).removesuffix(".__init__")


def imports(tree: ast.Module) -> Iterator[str]:
    """Yield what a module imports from the package, as dotted names."""
    skipped = {id(n) for block in ast.walk(tree) if is_type_checking(block) for n in ast.walk(block)}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
            yield node.module


def is_type_checking(node: ast.AST) -> bool:
    """Return whether this is ``if TYPE_CHECKING:``."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def paths(root: Path, only: Sequence[str] = PATHS) -> dict[str, object]:
    """Return how often each main path of ``only`` returns to a module that it left."""
    python = str(root / ".venv" / "bin" / "python")
    with tempfile.TemporaryDirectory() as folder:
        data, out = f"{folder}/data", f"{folder}/out"
        subprocess.run([python, "-c", PHANTOMS, data, str(PATIENTS)], check=True)
        tiny = (
            "network.filters=[8,8,8]",
            "training.patch=[32,32,32]",
            "training.steps=4",
            "training.workers=0",
        )
        changes = [word for change in (*tiny, "training.warmup_steps=1") for word in ("--set", change)]
        commands = {
            "segment": ["segment", f"{data}/phantom-0", "-o", f"{folder}/one"],
            "several": ["segment", data, "-o", out],
            "evaluate": ["evaluate", out, data, "-o", f"{folder}/scores", "--jobs", "1"],
            "train": ["train", data, "-o", f"{folder}/run", "--preset", "unet3d", *changes],
            "report": ["report", out, "-o", f"{folder}/cohort.html"],
        }
        needed = {*only, "several"} if {"evaluate", "report"} & {*only} else {*only}
        found = {name: traced(python, commands[name]) for name in PATHS if name in needed}
        return {f"returns to a module, {name}": found[name] for name in only}


PHANTOMS = """
import sys
from pathlib import Path
from gliomaseg.imaging import phantom
from gliomaseg.imaging.phantom import make_phantom, write_phantom
for seed in range(int(sys.argv[2])):
    tumour = phantom.TumourSpec(seed=seed)
    made = make_phantom("small", seed=seed, tumour=tumour)
    write_phantom(made, Path(sys.argv[1]), case_id=f"phantom-{seed}")
"""


def traced(python: str, words: list[str]) -> str:
    """Return the returns and modules of one command line, traced in a process of its own."""
    command = [python, __file__, "--path", *words]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    if done.returncode:
        return f"failed: {done.stderr[-300:]}"
    order = json.loads(done.stdout.splitlines()[-1])
    return f"{len(order) - len(set(order))} of {len(order)} ({len(set(order))} modules)"


def trace(words: list[str]) -> list[str]:
    """Run ``gliomaseg`` with these words; returns modules in the order of their functions' first calls."""
    seen: dict[tuple[str, str], None] = {}

    def on_call(frame: FrameType, event: str, _argument: object) -> None:
        module = frame.f_globals.get("__name__", "")
        code = frame.f_code
        is_function = code.co_flags & inspect.CO_OPTIMIZED and not code.co_name.startswith("<")
        is_written = not code.co_filename.startswith("<")  # not made by @dataclass
        if event == "call" and is_function and is_written and module.startswith("gliomaseg"):
            seen.setdefault((module, frame.f_code.co_qualname))

    from gliomaseg.__main__ import main as command_line

    sys.argv = ["gliomaseg", *words]
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        sys.stdout, kept = nowhere, sys.stdout
        threading.setprofile(on_call)
        sys.setprofile(on_call)
        try:
            command_line()
        except SystemExit as end:
            if end.code:
                raise
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
            sys.stdout = kept
    return [module for module, _ in groupby(module for module, _ in seen)]


if __name__ == "__main__":
    main()
