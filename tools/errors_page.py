"""Write docs/errors.md from the table of error codes: python tools/errors_page.py."""

from pathlib import Path

from gliomaseg.errors import CODES, NOTES

PAGE = Path(__file__).parents[1] / "docs" / "errors.md"


def text() -> str:
    """Return the page."""
    errors, notes = (
        [f"| `{code}` | {meaning} |" for code, meaning in sorted(table.items())] for table in (CODES, NOTES)
    )
    head = [
        "# Errors",
        "",
        "Each error names what was given, what was expected and what to do. The meaning of a code never",
        "changes; `--json` gives all four. One bad case in a folder does not stop the others.",
        "`gliomaseg explain CODE` shows the meaning; [bad inputs](bad-inputs.md) lists inputs and codes.",
        "`gliomaseg --debug ...` shows tracebacks, and `gliomaseg --log FILE ...` keeps them.",
        "",
        "| code | meaning |",
        "|---|---|",
    ]
    more = [
        "",
        "# Notes",
        "",
        "The work goes on. Notes are shown at the end, and kept in `run.json`.",
        "",
        "| code | meaning |",
        "|---|---|",
    ]
    return "\n".join([*head, *errors, *more, *notes, ""])


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
