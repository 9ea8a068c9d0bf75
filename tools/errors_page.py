"""Write docs/errors.md from the table of error codes: python tools/errors_page.py."""

from pathlib import Path

from gliomaseg.errors import CODES, NOTES

PAGE = Path(__file__).parents[1] / "docs" / "errors.md"


def text() -> str:
    """Return the page."""
    errors, warnings = (
        [f"| `{code}` | {meaning} |" for code, meaning in sorted(table.items())] for table in (CODES, NOTES)
    )
    head = [
        "# Errors",
        "",
        "Each error says what was given, what was expected and what to do next. Its code never changes its",
        "meaning; `--json` gives all four. One bad case of a folder does not stop the others.",
        "`gliomaseg explain CODE` says what leads to it, [bad inputs](bad-inputs.md) what each gets.",
        "Tracebacks are shown by `gliomaseg --debug ...` and kept by `gliomaseg --log FILE ...`.",
        "",
        "| code | meaning |",
        "|---|---|",
    ]
    more = [
        "",
        "# Warnings",
        "",
        "The work goes on. Warnings are shown at the end, and kept in `run.json`.",
        "",
        "| code | meaning |",
        "|---|---|",
    ]
    return "\n".join([*head, *errors, *more, *warnings, ""])


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
