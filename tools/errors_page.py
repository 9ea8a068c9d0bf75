"""Write docs/errors.md from the table of error codes: python tools/errors_page.py."""

from pathlib import Path

from gliomaseg.errors import CODES

PAGE = Path(__file__).parents[1] / "docs" / "errors.md"


def text() -> str:
    """Return the page."""
    rows = [f"| `{code}` | {meaning} |" for code, meaning in sorted(CODES.items())]
    head = [
        "# Errors",
        "",
        "Each error says what was given, what was expected and what to do next. Its code never changes its",
        "meaning; `--json` gives all four. One bad case of a folder does not stop the others.",
        "",
        "| code | meaning |",
        "|---|---|",
    ]
    return "\n".join([*head, *rows, ""])


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
