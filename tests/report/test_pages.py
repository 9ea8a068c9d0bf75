"""Every page is rendered from a template: escaped, with its own policy, and nothing left out in silence."""

from __future__ import annotations

import base64
import hashlib

import pytest
from jinja2 import UndefinedError
from pages import ODD, Page

from gliomaseg.report import pages
from gliomaseg.report.case_report import Report
from gliomaseg.report.pages import millilitres, render


def test_values_are_escaped_and_the_policy_names_the_style() -> None:
    text = render("message.html", message=ODD)
    page = Page(text)
    assert ODD in "".join(page.words)
    assert [tag for tag, _ in page.tags if tag in ("img", "script")] == []
    style = text.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = next(str(a["content"]) for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert f"style-src 'sha256-{digest}'" in policy
    assert "script-src 'none'" in policy


def test_a_value_that_was_forgotten_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="message"):
        render("message.html")


@pytest.mark.parametrize(
    ("volume", "text"), [(0, "0.0"), (0.0512, "0.051"), (0.5, "0.5"), (1, "1.0"), (31.44, "31.4")]
)
def test_volumes_are_written_alike_everywhere(volume: float, text: str) -> None:
    assert millilitres(volume) == text


def test_every_template_of_a_case_is_loaded_before(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = pages._environment()
    environment.cache.clear()  # type: ignore[union-attr]
    pages.load_templates()
    monkeypatch.setattr(environment.loader, "get_source", lambda *_: pytest.fail("a template was not loaded"))
    assert "<h2>Measurements</h2>" in report.page()
