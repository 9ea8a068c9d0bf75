"""Results, bundles and settings of 0.1.0 are read; those of a future version are refused in words."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gliomaseg.cases.case import Case
from gliomaseg.errors import CaseError, ModelError, OutputError
from gliomaseg.evaluation.evaluation import evaluate
from gliomaseg.inference.bundle import Bundle
from gliomaseg.segmenter import Segmenter
from gliomaseg.settings.loading import parse_settings
from gliomaseg.storage import files
from gliomaseg.storage.result_folder import RECORD, ResultFolder
from gliomaseg.storage.summary import Outcome

FIXTURES = Path(__file__).parent / "fixtures" / "0.1.0"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Return a copy of a folder of results of 0.1.0, with one case."""
    return Path(shutil.copytree(FIXTURES / "result", tmp_path / "results"))


def test_the_settings_of_a_run() -> None:
    settings = parse_settings(files.read_json(FIXTURES / "bundle" / "settings.json"))
    assert settings.segment.min_et_ml == 0.5  # least_et_voxels was 500
    assert settings.segment.min_component_fraction == 0  # least_part
    assert settings.prepare.bias_correction == 0  # even_out
    assert settings.augment.lesion_contrast == 0.1  # pale
    assert settings.augment.truncate_fov == 0.1  # cut


def test_a_bundle_is_loaded_and_segments(phantom_case: Case, tmp_path: Path) -> None:
    segmenter = Segmenter(Bundle.load(FIXTURES / "bundle"))
    assert segmenter.settings.segment.min_et_ml == 0.5
    result = segmenter.segment(phantom_case)
    assert result.segmentation.labels.shape == (80, 80, 52)
    record = ResultFolder(result.save(tmp_path, only="seg")).read()
    assert record["model"]["name"] == "run"
    assert record["settings"]["segment"]["min_et_ml"] == 0.5


def test_a_result_is_read_in_the_words_of_today(results: Path) -> None:
    folder = ResultFolder(results / "phantom-0")
    assert folder.is_whole()
    assert (folder.read()["gliomaseg"], folder.read()["schema_version"]) == ("0.1.0", 2)
    assert folder.measurements()["quality"] == "review"  # "check" under "verdict"
    outcome = Outcome.read(folder)
    assert [note.code for note in outcome.notes] == ["W-SPACING"]  # under "warnings"
    assert outcome.row()["quality"] == "review"
    assert outcome.row()["wt_volume_ml"] == 121.176  # 561 voxels of 216 mm3


def test_a_result_is_not_replaced_unless_asked(results: Path) -> None:
    wanted = {"schema_version": 3, "gliomaseg": "0.2.0"}
    with pytest.raises(OutputError, match="schema_version, gliomaseg"):
        ResultFolder(results / "phantom-0").same_as(lambda: wanted)


def test_report_and_view_show_it(results: Path, run: Run, tmp_path: Path) -> None:
    code, _, err = run("report", results, "-o", tmp_path / "page.html")
    assert code == 0, err
    table = (tmp_path / "page.csv").read_text()
    assert "phantom-0,review" in table
    code, _, err = run("view", results, "--static", tmp_path / "pages", "--no-browser")
    if code == 0:
        assert "phantom-0" in (tmp_path / "pages" / "phantom-0.html").read_text(encoding="utf-8")
    else:  # pages of another version are refused, with a way out
        assert "E-REPORT" in err
        assert "--data" in err


def test_evaluate_scores_it(results: Path, tmp_path: Path) -> None:
    (tmp_path / "references").mkdir()
    shutil.copy(results / "phantom-0" / "seg.nii.gz", tmp_path / "references" / "phantom-0_seg.nii.gz")
    scores = evaluate(results, tmp_path / "references").cases["phantom-0"]
    assert scores["dice_wt"] == 1


@pytest.mark.parametrize("version", [4, 99])
def test_a_result_of_a_future_version_is_refused_in_words(results: Path, version: int) -> None:
    folder = ResultFolder(results / "phantom-0")
    record = files.read_json(folder.path / RECORD) | {"schema_version": version}
    (folder.path / RECORD).write_text(json.dumps(record))
    with pytest.raises(CaseError, match=f"E-REPORT.*schema {version}") as caught:
        folder.read()
    assert "upgrade gliomaseg" in caught.value.remedy
    with pytest.raises(OutputError, match="E-EXISTS"), folder.write(overwrite=True):
        pass


def test_a_bundle_of_a_future_version_is_refused_in_words(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FIXTURES / "bundle", tmp_path / "bundle"))
    record = files.read_json(folder / "bundle.json") | {"format": 2}
    (folder / "bundle.json").write_text(json.dumps(record))
    with pytest.raises(ModelError, match="format 2") as caught:
        Bundle.load(folder)
    assert "upgrade gliomaseg" in caught.value.remedy
