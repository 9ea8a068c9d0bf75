"""Names as file systems allow them: bytes of another century, and more than one line."""

from __future__ import annotations

import csv
import http.client
import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from gliomaseg.report.serve import Viewer
from gliomaseg.report.sources import find_sources

CopyCase = Callable[..., Path]
Run = Callable[..., tuple[int, str, str]]


def viewed(out: Path) -> list[int]:
    """Return how the viewer of one case answers: to its address, to the page, and to where that leads."""
    with Viewer(find_sources(out)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        path, cookie, found = server.address.partition(str(server.server_port))[2], "", list[int]()
        while path and len(found) < 3:
            connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
            connection.request("GET", path, headers={"Cookie": cookie})
            answer = connection.getresponse()
            answer.read()
            connection.close()
            found.append(answer.status)
            cookie = cookie or (answer.msg["Set-Cookie"] or "").partition(";")[0]
            path = answer.msg["Location"] or ""
        server.shutdown()
        thread.join()
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes")
@pytest.mark.parametrize("case_id", [os.fsdecode(b"M\xfcller"), "two\nlines", "tab\there", "-o", "%s {x}"])
def test_every_verb_takes_any_name(run: Run, copy_case: CopyCase, tmp_path: Path, case_id: str) -> None:
    copy_case(case_id, tmp_path / "data")
    out = tmp_path / "out"
    assert run("check", tmp_path / "data")[0] == 0
    code, _, words = run("segment", tmp_path / "data", "-o", out, "--json")
    assert code == 0, words
    record = json.loads((out / case_id / "run.json").read_text(encoding="utf-8"))
    assert record["case"] == case_id
    assert json.loads(run("segment", tmp_path / "data", "-o", out, "--json")[1])[0]["state"] == "unchanged"
    assert run("report", out, "-o", tmp_path / "cohort.html")[0] == 0
    assert viewed(out) == [303, 303, 200]
    assert run("evaluate", out, tmp_path / "data", "-o", tmp_path / "scores")[0] == 0
    with (tmp_path / "scores" / "scores.csv").open(encoding="utf-8", newline="") as stream:
        found = {row["case"] for row in csv.DictReader(stream)}
    plain = case_id.encode("unicode_escape").decode()
    assert {name.removeprefix("'") for name in found} == {plain}
