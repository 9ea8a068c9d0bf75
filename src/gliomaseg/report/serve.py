"""The local viewer: the same pages, served to one browser on this machine.

The server listens on 127.0.0.1 alone. The address that is printed holds a token that works once and becomes
a cookie; every request must send the cookie, name this server as its host, and come from its own pages. A
path in a request is only looked up in the table of cases: it never reaches the disk.
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

_HTML, _SCRIPT = "text/html; charset=utf-8", "text/javascript; charset=utf-8"
_BYTES = "application/octet-stream"
_MOST_REPORTS = 4  # in memory
_ASKED_FROM = ("same-origin", "none")


class Viewer(ThreadingHTTPServer):
    """A server of the reports of some cases; ``address`` opens it, once."""

    daemon_threads = True

    def __init__(self, sources: Sequence[Source], *, port: int = 0) -> None:
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except OSError as error:
            raise UsageError(
                "E-USAGE",
                f"port {port} can't be used: {error.strerror}",
                expected="a free port of this machine, 1024 or above",
                remedy="give another --port, or leave it out for a free one",
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
        """Return whether this is the token, which is then used up."""
        with self._lock:
            is_right = self._token is not None and _same(token, self._token)
            if is_right:
                self._token = None
        return is_right

    def report(self, case_id: str) -> Report:
        """Return the report of a case in the table, every voxel of it; raises GliomasegError."""
        with self._lock:
            if case_id not in self._reports:
                while len(self._reports) >= _MOST_REPORTS:
                    self._reports.pop(next(iter(self._reports)))
                self._reports[case_id] = self.sources[case_id].report(limit=None)
                self._entries[case_id] = Entry.of(self._reports[case_id], _case_link(case_id))
            return self._reports[case_id]

    def entries(self) -> list[Entry]:
        """Return the table of cases from their records; an unreadable case is listed with its error.

        A label map without a record is measured when its page is opened, not for the table.
        """
        return [self._entries.get(case_id) or self._entry(source) for case_id, source in self.sources.items()]

    def _entry(self, source: Source) -> Entry:
        link = _case_link(source.case_id)
        try:
            if source.folder and (entry := Entry.read(source.folder, link)):
                self._entries[source.case_id] = entry
                return entry
            return Entry(source.case_id, NOT_OPENED, ("Measured when its page is opened.",), page=link)
        except Exception as error:  # noqa: BLE001 (listed; the other cases stay in the table)
            return Entry(source.case_id, "failed", (source.anonymous(as_coded(error).what),))


def _case_link(case_id: str) -> str:
    return f"/case/{quote(case_id, safe='', errors='surrogateescape')}/"


class _Handler(BaseHTTPRequestHandler):
    """One request: refused unless it comes from the viewer's own pages, then looked up."""

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
            words = parts.path.strip("/").split("/")
            self._answer([unquote(word, errors="surrogateescape") for word in words])

    def do_HEAD(self) -> None:
        """Answer as GET does, without the content."""
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
        return cookie is not None and _same(cookie.value, self.server.session)

    @property
    def _cookie(self) -> str:
        return f"gliomaseg-{self.server.server_port}"  # cookies are shared by all ports

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
        except Exception as error:  # noqa: BLE001 (shown on the page; the other pages still open)
            source = self.server.sources.get(path[-1] if len(path) < 3 else path[1])
            what = as_coded(error).what
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, source.anonymous(what) if source else what)

    def _volume(self, report: Report, name: str) -> None:
        if name in report.volumes:
            self._send(HTTPStatus.OK, report.volumes[name], _BYTES)
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "There is no such volume.")

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        self._page(render("message.html", served=True, message=message), status=status)

    def _page(self, text: str, scripts: Sequence[str] = (), *, status: HTTPStatus = HTTPStatus.OK) -> None:
        policy = content_policy(scripts, served=True) + "; frame-ancestors 'none'"
        content = text.encode("utf-8", errors="backslashreplace")
        self._send(status, content, _HTML, {"Content-Security-Policy": policy})

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
        """Log nothing: requests name cases."""


def _same(given: str, known: str) -> bool:
    """Compare two secrets in constant time."""
    return secrets.compare_digest(given.encode(), known.encode())
