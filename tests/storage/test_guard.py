"""Files of other programs are never replaced without --overwrite, by any verb that writes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from gliomaseg.errors import OutputError
from gliomaseg.report.scores_page import MARKS
from gliomaseg.storage.guard import PAGE, refuse_foreign, refuse_inputs


@pytest.mark.parametrize("name", ["scores.csv", "summary.json", "scores.html"])
def test_scores_replace_only_scores(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(OutputError, match="E-EXISTS"):
        refuse_foreign(tmp_path / name, [MARKS[name]], overwrite=False)
    refuse_foreign(tmp_path / name, [MARKS[name]], overwrite=True)


def test_what_is_no_file_is_foreign_and_does_not_hang(tmp_path: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("pipes of POSIX")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputError, match="E-EXISTS"):
        refuse_foreign(tmp_path / "pipe", [PAGE], overwrite=False)
    with pytest.raises(OutputError) as caught:
        refuse_foreign(tmp_path / "pipe", [PAGE], overwrite=None)
    assert "--overwrite" not in caught.value.remedy, "there is no such option"


def test_inputs_are_known_whatever_leads_to_them(tmp_path: Path) -> None:
    image = tmp_path / "data" / "A" / "t1.nii.gz"
    image.parent.mkdir(parents=True)
    image.write_bytes(b"x")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "data")
    for target in (
        image,
        image.parent,
        tmp_path / "data",
        tmp_path,
        tmp_path / "link",
        tmp_path / "link" / "A",
    ):
        with pytest.raises(OutputError, match="E-OUTPUT"):
            refuse_inputs(tmp_path / "out", [target], [image])
    for output in (image.parent, link / "A"):
        with pytest.raises(OutputError, match="E-OUTPUT"):
            refuse_inputs(output, [], [image])
    refuse_inputs(tmp_path / "data" / "out", [tmp_path / "data" / "out" / "A"], [image])
    refuse_inputs(tmp_path / "data", [tmp_path / "data" / "B"], [image])
