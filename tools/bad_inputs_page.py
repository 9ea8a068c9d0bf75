"""Write docs/bad-inputs.md from the table of bad inputs: python tools/bad_inputs_page.py."""

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
        "# Bad inputs, and what each gets",
        "",
        "Each row but the open ones is built from the synthetic exam and proven by a test",
        "([test_bad_inputs.py](../tests/test_bad_inputs.py)): the code, the exit code, no traceback, inputs",
        "untouched, nothing left behind, bounded memory. `gliomaseg explain E-TRUNCATED` prints what is",
        "known of one code. Rows about DICOM (73 to 78) come with DICOM.",
        "",
        f"{len(ROWS)} rows: "
        + ", ".join(f"{counts[a]} {a}" for a in ("refused", "warned", "repaired", "works", "open"))
        + ".",
        "*Open* is what is not detected or handled.",
        "",
        "| # | given | answer | codes | remark |",
        "|---|---|---|---|---|",
    ]
    rows = [
        f"| {r.number} | {r.given} | {r.answer} | {' '.join(f'`{c}`' for c in r.codes.split())} | {r.why} |"
        for r in ROWS
    ]
    return "\n".join([*head, *rows, ""])


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
