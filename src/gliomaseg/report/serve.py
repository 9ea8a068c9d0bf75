"""The local viewer: the same pages, served to one browser on this machine. Door: http.server.

Only 127.0.0.1 is listened to. The address that is printed holds a token that works once and becomes a
cookie; every request must bear it, name this server as its host, and come from this server's own pages.
A path in a request is only looked up in the table of cases: it never reaches the disk.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from gliomaseg.errors import UsageError, as_coded
from gliomaseg.report.case_report import Report
from gliomaseg.report.cohort import Entry, ordered
from gliomaseg.report.pages import (
    CASE_SCRIPTS,
    COHORT_SCRIPTS,
    NOT_OPENED,
    cohort_page,
    content_policy,
    library,
    render,
)
from gliomaseg.report.sources import Source

_HTML, _BYTES, _SCRIPT = (
    "text/html; charset=utf-8",
    "application/octet-stream",
    "text/javascript; charset=utf-8",
)
_KEPT = 4  # reports in memory
_ASKED_FROM = ("same-origin", "none")


class Viewer(ThreadingHTTPServer):
    """A server of the reports of some cases; ``address`` is what to open, once."""

    daemon_threads = True

    def __init__(self, sources: Sequence[Source], *, port: int = 0) -> None:
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except OSError as error:
            raise UsageError(
                "E-USAGE",
                f"port {port} can't be used: {error.strerror}",
                expected="a port of this machine that nothing listens to, 1024 or above",
                remedy="give another --port, or leave it out to get a free one",
            ) from error
        self.sources = {source.case_id: source for source in sources}
        self.hosts = {f"{name}:{self.server_port}" for name in ("127.0.0.1", "localhost")}
        self.session = secrets.token_urlsafe(32)
        self._token: str | None = secrets.token_urlsafe(32)
        self._reports: dict[str, Report] = {}
        self._entries: dict[str, Entry] = {}
        self._lock = Lock()

    @property
    def address(self) -> str:
        """Return the address with the one-time token."""
        return f"http://127.0.0.1:{self.server_port}/?token={self._token or 'used'}"

    def redeem(self, token: str) -> bool:
        """Return whether this is the token, which then works no more."""
        with self._lock:
            is_right = self._token is not None and secrets.compare_digest(
                token.encode(), self._token.encode()
            )
            if is_right:
                self._token = None
        return is_right

    def report(self, case_id: str) -> Report:
        """Return the report of a case in the table, every voxel of it; raises GliomasegError."""
        with self._lock:
            if case_id not in self._reports:
                while len(self._reports) >= _KEPT:
                    self._reports.pop(next(iter(self._reports)))
                self._reports[case_id] = self.sources[case_id].report(limit=None)
                self._entries[case_id] = Entry.of(self._reports[case_id], _case_link(case_id))
            return self._reports[case_id]

    def entries(self) -> list[Entry]:
        """Return the table of cases by what their records say; a case that can't be read says why.

        A label map without a record is measured once its page is opened: no page is drawn for the table.
        """
        return [self._entries.get(case_id) or self._entry(source) for case_id, source in self.sources.items()]

    def _entry(self, source: Source) -> Entry:
        link = _case_link(source.case_id)
        try:
            if source.folder and (entry := Entry.read(source.folder, link)):
                self._entries[source.case_id] = entry
                return entry
            return Entry(source.case_id, NOT_OPENED, ("Measured once its page is opened.",), page=link)
        except Exception as error:  # noqa: BLE001 (the table shows what is wrong with each case)
            return Entry(source.case_id, "failed", (source.anonymous(as_coded(error).what),))


def _case_link(case_id: str) -> str:
    return f"/case/{quote(case_id, safe='', errors='surrogateescape')}/"


class _Handler(BaseHTTPRequestHandler):
    """One request: refused unless it is ours, then looked up."""

    server: Viewer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "gliomaseg", ""

    def do_GET(self) -> None:
        """Answer a request for a page, a volume or the library."""
        parts = urlsplit(self.path)
        if not self._is_ours():
            self._refuse(HTTPStatus.FORBIDDEN, "This viewer answers only its own pages on this machine.")
        elif "token" in parse_qs(parts.query):
            self._enter(parse_qs(parts.query)["token"][0])
        elif not self._has_session():
            self._refuse(HTTPStatus.FORBIDDEN, "Open the address that gliomaseg view printed; it works once.")
        else:
            self._answer(
                [unquote(part, errors="surrogateescape") for part in parts.path.strip("/").split("/")]
            )

    def do_HEAD(self) -> None:
        """Answer like a request for the same, without the content."""
        self.do_GET()

    def _is_ours(self) -> bool:
        origin = self.headers.get("Origin")
        return (
            self.headers.get("Host") in self.server.hosts
            and (origin is None or origin in {f"http://{host}" for host in self.server.hosts})
            and self.headers.get("Sec-Fetch-Site", "none") in _ASKED_FROM
        )

    def _has_session(self) -> bool:
        try:
            cookie = SimpleCookie(self.headers.get("Cookie", "")).get(self._cookie)
        except CookieError:
            return False
        return cookie is not None and secrets.compare_digest(
            cookie.value.encode(), self.server.session.encode()
        )

    @property
    def _cookie(self) -> str:
        return f"gliomaseg-{self.server.server_port}"  # cookies do not tell ports apart

    def _enter(self, token: str) -> None:
        if not self.server.redeem(token):
            self._refuse(HTTPStatus.FORBIDDEN, "This address was used already: start gliomaseg view again.")
            return
        cookie = f"{self._cookie}={self.server.session}; HttpOnly; SameSite=Strict; Path=/"
        self._send(HTTPStatus.SEE_OTHER, b"", _HTML, {"Set-Cookie": cookie, "Location": "/"})

    def _answer(self, path: list[str]) -> None:
        try:
            match path:
                case [""] if len(self.server.sources) == 1:
                    only = quote(next(iter(self.server.sources)), safe="", errors="surrogateescape")
                    self._send(HTTPStatus.SEE_OTHER, b"", _HTML, {"Location": f"/case/{only}/"})
                case [""]:
                    text = cohort_page(ordered(self.server.entries()), served=True)
                    self._page(text, COHORT_SCRIPTS)
                case ["case", name] if name in self.server.sources:
                    home = "/" if len(self.server.sources) > 1 else ""
                    text = self.server.report(name).page(served=True, home=home)
                    self._page(text, CASE_SCRIPTS)
                case ["case", name, "volume", volume] if name in self.server.sources:
                    self._volume(self.server.report(name), volume)
                case ["assets", "niivue.js"]:
                    self._send(HTTPStatus.OK, library(), _SCRIPT, {"Content-Encoding": "gzip"})
                case _:
                    self._refuse(HTTPStatus.NOT_FOUND, "There is no such case.")
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        except Exception as error:  # noqa: BLE001 (the page says what is wrong; the others still open)
            source = self.server.sources.get(path[-1] if len(path) < 3 else path[1])
            what = as_coded(error).what
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, source.anonymous(what) if source else what)

    def _volume(self, report: Report, name: str) -> None:
        if name in report.volumes:
            self._send(HTTPStatus.OK, report.volumes[name], _BYTES)
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "There is no such volume.")

    def _page(self, text: str, scripts: Sequence[str]) -> None:
        self._send(
            HTTPStatus.OK,
            text.encode("utf-8", errors="backslashreplace"),
            _HTML,
            {"Content-Security-Policy": _policy(scripts)},
        )

    def _refuse(self, status: HTTPStatus, words: str) -> None:
        text = render("message.html", served=True, message=words)
        self._send(
            status,
            text.encode("utf-8", errors="backslashreplace"),
            _HTML,
            {"Content-Security-Policy": _policy(())},
        )

    def _send(self, status: HTTPStatus, body: bytes, kind: str, more: dict[str, str] | None = None) -> None:
        self.send_response(status)
        headers = {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
            **(more or {}),
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the name is http.server's)
        """Say nothing of single requests."""


def _policy(scripts: Sequence[str]) -> str:
    return content_policy(scripts, served=True) + "; frame-ancestors 'none'"
