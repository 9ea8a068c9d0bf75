"""Write docs/bad-inputs.md from tests/bad_inputs.py: python tools/bad_inputs_page.py."""

import runpy
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "bad-inputs.md"
ROWS = runpy.run_path(str(ROOT / "tests" / "bad_inputs.py"))["ROWS"]


def text() -> str:
    """Return the page."""
    counts = Counter(row.answer for row in ROWS)
    head = [
        "# Bad inputs and the answer to each",
        "",
        "For each row except the open ones, a test builds the input from the synthetic exam and proves the",
        "answer ([test_bad_inputs.py](../tests/test_bad_inputs.py)): code, exit code, no traceback, inputs",
        "unchanged, nothing left behind, bounded memory. `gliomaseg explain E-TRUNCATED` explains a code.",
        "Rows 73 to 78 are reserved for DICOM.",
        "",
        f"{len(ROWS)} rows: "
        + ", ".join(f"{counts[a]} {a}" for a in ("refused", "warned", "repaired", "works", "open"))
        + ".",
        "*Open* inputs are not detected or handled yet.",
        "",
        "| # | input | answer | codes | note |",
        "|---|---|---|---|---|",
    ]
    rows = [
        f"| {r.number} | {r.given} | {r.answer} | {' '.join(f'`{c}`' for c in r.codes.split())} | {r.why} |"
        for r in ROWS
    ]
    return "\n".join([*head, *rows, ""])


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
