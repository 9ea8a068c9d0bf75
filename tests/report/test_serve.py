"""The local viewer serves its pages to one browser, as they are requested, and refuses everything else."""

from __future__ import annotations

import http.client
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from gliomaseg.errors import UsageError
from gliomaseg.report.pages import NOT_OPENED
from gliomaseg.report.serve import Viewer
from gliomaseg.report.sources import Source, find_sources


@pytest.fixture
def viewer(results: Path) -> Iterator[Viewer]:
    with Viewer(find_sources(results)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(viewer: Viewer, path: str, **headers: str) -> tuple[int, bytes, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection("127.0.0.1", viewer.server_port, timeout=20)
    given = {"Host": f"127.0.0.1:{viewer.server_port}"} | {k.replace("_", "-"): v for k, v in headers.items()}
    connection.request("GET", path, headers=given)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body, answer.msg


def enter(viewer: Viewer) -> str:
    """Redeem the token and return the cookie."""
    status, _, headers = ask(viewer, viewer.address.partition(str(viewer.server_port))[2])
    assert status == 303
    assert headers["Location"] == "/"
    cookie, *flags = headers["Set-Cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Strict"} <= set(flags)
    return str(cookie)


def test_without_the_token_nothing_is_shown(viewer: Viewer) -> None:
    for path in ("/", "/case/case-1/", "/case/case-1/volume/seg", "/assets/niivue.js", "/?token=wrong"):
        status, body, _ = ask(viewer, path)
        assert status == 403
        assert b"case-1" not in body


def test_the_token_works_once(viewer: Viewer) -> None:
    address = viewer.address.partition(str(viewer.server_port))[2]
    cookie = enter(viewer)
    assert ask(viewer, address)[0] == 403
    assert ask(viewer, "/", Cookie=cookie)[0] == 200
    assert ask(viewer, "/", Cookie=cookie + "x")[0] == 403
    assert viewer.address.endswith("used")


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:80"},
        {"Host": "127.0.0.1"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_foreign_hosts_and_origins_are_refused(viewer: Viewer, headers: dict[str, str]) -> None:
    cookie = enter(viewer)
    assert ask(viewer, "/", Cookie=cookie, **headers)[0] == 403


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/case/../../../etc/passwd/",
        "/case/..%2f..%2fetc%2fpasswd/",
        "/case/case-1/volume/..%2f..%2frun.json",
        "/case/case-1/run.json",
        "/case/case-1/volume/../../run.json",
        "/assets/../pages.py",
        "/case/nobody/",
        "/etc/passwd",
        "/case/%00/",
        "//evil.example/",
    ],
)
def test_no_path_reaches_the_disk(viewer: Viewer, path: str) -> None:
    status, body, _ = ask(viewer, path, Cookie=enter(viewer))
    assert status == 404
    assert b"root:" not in body


def test_pages_volumes_and_their_headers(viewer: Viewer) -> None:
    cookie = enter(viewer)
    status, body, headers = ask(viewer, "/", Cookie=cookie)
    assert status == 200
    assert b"b &amp; &lt;b&gt;c&lt;b&gt;" in body
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert "Access-Control-Allow-Origin" not in headers
    odd = quote("b & <b>c<b>", safe="")
    status, body, _ = ask(viewer, f"/case/{odd}/", Cookie=cookie)
    assert status == 200
    assert b"volume-seg" not in body, "volumes are asked for, not in the page"
    status, body, _ = ask(viewer, f"/case/{odd}/volume/seg", Cookie=cookie)
    assert status == 200
    assert body[:2] == b"\x1f\x8b"


def test_only_this_machine_is_listened_to(viewer: Viewer) -> None:
    assert viewer.server_address[0] == "127.0.0.1"
    with socket.create_connection(("127.0.0.1", viewer.server_port)) as stream:
        stream.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        assert b"501" in stream.recv(200)


def test_a_case_that_can_not_be_read_does_not_end_the_viewer(viewer: Viewer, results: Path) -> None:
    cookie = enter(viewer)
    (viewer.sources["case-1"].seg.parent / "report.html").write_text("damaged", encoding="utf-8")
    status, body, _ = ask(viewer, "/case/case-1/", Cookie=cookie)
    assert status == 500
    assert str(results).encode() not in body
    assert ask(viewer, "/", Cookie=cookie)[0] == 200


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


def test_a_busy_port_is_named_with_a_way_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"port {port} can't be used") as caught:
            Viewer([], port=port)
    assert "--port" in caught.value.remedy
