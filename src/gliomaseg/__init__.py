"""gliomaseg outlines brain tumours in MRI. Research software, not a medical device.

    from gliomaseg import Segmenter, find_cases

    case = find_cases("BraTS2021_00005")[0]
    result = Segmenter.load().segment(case)
    result.save("out")
    print(result.volumes_ml())

Names are loaded when first used: importing gliomaseg does nothing else.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

__version__ = "0.2.0.dev0"

#: Shown wherever a result is shown.
RESEARCH_USE = "Research use only: not a medical device."

if TYPE_CHECKING:
    from collections.abc import Callable

    from gliomaseg.cases.case import Case
    from gliomaseg.cases.find import find_case, find_cases
    from gliomaseg.cohort import segment_cases
    from gliomaseg.errors import GliomasegError
    from gliomaseg.evaluation.evaluation import evaluate
    from gliomaseg.exams.check_cases import check_cases
    from gliomaseg.exams.prepared_case import prepare_cases
    from gliomaseg.exams.standardise import ExamOptions
    from gliomaseg.exchange.bids import write_bids
    from gliomaseg.imaging.volume import Segmentation, Volume
    from gliomaseg.inference.bundle import Bundle
    from gliomaseg.labels import LabelScheme, Modality, Region, Tissue
    from gliomaseg.report.scores_page import write_scores
    from gliomaseg.result import Result
    from gliomaseg.segmenter import Segmenter
    from gliomaseg.settings.loading import load_settings
    from gliomaseg.settings.schema import Settings
    from gliomaseg.training.export import export
    from gliomaseg.training.train import train

_HOME = {
    "Bundle": "inference.bundle",
    "Case": "cases.case",
    "ExamOptions": "exams.standardise",
    "GliomasegError": "errors",
    "LabelScheme": "labels",
    "Modality": "labels",
    "Region": "labels",
    "Result": "result",
    "Segmentation": "imaging.volume",
    "Segmenter": "segmenter",
    "Settings": "settings.schema",
    "Tissue": "labels",
    "Volume": "imaging.volume",
    "check_cases": "exams.check_cases",
    "evaluate": "evaluation.evaluation",
    "export": "training.export",
    "find_case": "cases.find",
    "find_cases": "cases.find",
    "load_settings": "settings.loading",
    "prepare_cases": "exams.prepared_case",
    "segment_cases": "cohort",
    "train": "training.train",
    "write_bids": "exchange.bids",
    "write_scores": "report.scores_page",
}

__all__ = [
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
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    except ModuleNotFoundError as error:
        if not _HOME[name].startswith("training."):
            raise
        return _unavailable(name, error)


def _unavailable(name: str, error: ModuleNotFoundError) -> Callable[..., NoReturn]:
    """Return a function that raises SettingsError (E-EXTRA): the extra [train] is not installed."""

    def unavailable(*_: object, **__: object) -> NoReturn:
        from gliomaseg.errors import missing_extra

        raise missing_extra(name, error) from error

    unavailable.__doc__ = _unavailable.__doc__
    return unavailable


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
