"""Read back what a report.html holds: its words and numbers, volumes and pictures. Trusts nothing in it."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

from gliomaseg.errors import CaseError
from gliomaseg.report.content import REPORT_SCHEMA, Report
from gliomaseg.storage.record import renamed
from gliomaseg.storage.result_folder import REPORT, ResultFolder

_ABOUT = re.compile(r'<script type="application/json" id="report">(.*?)</script>', re.DOTALL)
_VOLUME = re.compile(
    r'<script type="application/octet-stream" id="volume-([\w-]+)">([\w+/=]*)</script>', re.ASCII
)
_PICTURE = re.compile(
    r'<img(?: id="([\w-]+)")?[^>]*? src="data:image/(?:png|jpeg);base64,([\w+/=]*)"', re.ASCII
)


def read_report(folder: ResultFolder) -> Report:
    """Return the report in a folder, its page proven and of this version; raises CaseError (E-REPORT)."""
    path = folder.path / REPORT
    try:
        text = folder.bytes_of(REPORT).decode("utf-8")
        about = renamed(json.loads(_ABOUT.findall(text)[0]))
        known = about["schema_version"] == REPORT_SCHEMA and isinstance(about["case"], str)
        volumes = {name: base64.b64decode(data) for name, data in _VOLUME.findall(text)}
        drawn = [base64.b64decode(data) for _, data in _PICTURE.findall(text)]
    except (ValueError, LookupError, TypeError, RecursionError):
        known = False
    if not known or not set(about["maps"]) <= set(volumes):
        raise CaseError(
            "E-REPORT",
            f"{path} is not a report of this version of gliomaseg",
            expected="a report.html of gliomaseg segment or gliomaseg report",
            remedy="segment the case again, or draw it anew from its images: --data",
        )
    return Report(about, volumes, _pictures(about, drawn))


def _pictures(about: dict[str, Any], drawn: list[bytes]) -> dict[str, bytes]:
    """Name the pictures by the order in which a page shows them: lesions first, then the overview."""
    names = [name for name in about["pictures"] if name.startswith("lesion-")]
    names += [name for name in ("overview",) if name in about["pictures"]]
    return dict(zip(names, drawn, strict=False))
