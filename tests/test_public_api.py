"""The public names, pinned: a change here is a change for users."""

import sys

import pytest

import gliomaseg
from gliomaseg.errors import SettingsError


def test_names() -> None:
    assert set(gliomaseg.__all__) == {
        "Bundle",
        "Case",
        "ExamOptions",
        "GliomasegError",
        "LabelScheme",
        "Modality",
        "Region",
        "Result",
        "Segmentation",
        "Segmenter",
        "Settings",
        "Tissue",
        "Volume",
        "check_cases",
        "evaluate",
        "export",
        "find_case",
        "find_cases",
        "load_settings",
        "prepare_cases",
        "segment_cases",
        "train",
        "write_bids",
        "write_scores",
    }
    assert len(gliomaseg.__all__) <= 24


def test_every_name_loads_and_has_a_docstring() -> None:
    for name in gliomaseg.__all__:
        assert getattr(gliomaseg, name).__doc__


def test_unknown_names_are_refused() -> None:
    try:
        gliomaseg.segment_everything  # noqa: B018
    except AttributeError as error:
        assert "segment_everything" in str(error)  # noqa: PT017
    else:
        raise AssertionError


@pytest.mark.parametrize(("name", "module"), [("train", "train"), ("export", "export")])
def test_training_without_pytorch_is_refused_in_words(
    name: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every name loads, so that ``from gliomaseg import *`` works; only the call is refused."""
    for loaded in (module, "loop"):
        monkeypatch.delitem(sys.modules, f"gliomaseg.training.{loaded}", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    function = getattr(gliomaseg, name)
    with pytest.raises(SettingsError, match=f"E-EXTRA: {name} needs torch") as caught:
        function([], "folder")
    assert "[train]" in caught.value.remedy
