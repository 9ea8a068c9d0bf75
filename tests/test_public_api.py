"""The public names, pinned: a change here is a change for users."""

import gliomaseg


def test_names() -> None:
    assert set(gliomaseg.__all__) == {
        "Bundle",
        "Case",
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
        "evaluate",
        "find_case",
        "find_cases",
        "load_settings",
        "write_scores",
    }
    assert len(gliomaseg.__all__) <= 17


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
