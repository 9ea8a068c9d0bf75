"""The viewer draws a page when it is asked for, not before."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gliomaseg.report.pages import NOT_OPENED
from gliomaseg.report.serve import Viewer
from gliomaseg.report.sources import Source, find_sources


def test_no_page_is_drawn_for_the_table(
    phantom_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seg in phantom_folder.rglob("*_seg.nii.gz"):
        shutil.copy(seg, tmp_path)
    drawn: list[str] = []
    draw = Source.report
    monkeypatch.setattr(
        Source, "report", lambda self, *, limit: drawn.append(self.case_id) or draw(self, limit=limit)
    )
    with Viewer(find_sources(tmp_path, data=phantom_folder)) as viewer:
        assert [entry.quality for entry in viewer.entries()] == [NOT_OPENED] * 4
        assert drawn == []
        first = viewer.entries()[0]
        viewer.report(first.case_id)
        assert drawn == [first.case_id]
        measured = viewer.entries()[0]
        assert (measured.case_id, measured.page) == (first.case_id, first.page)
        assert measured.quality != NOT_OPENED
        assert measured.number("wt_volume_ml")
