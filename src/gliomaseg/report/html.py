"""Pieces of HTML: every text that comes from outside is escaped here. Ignorant of reports."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import cache
from html import escape
from importlib import resources
from string import Template

ASSETS = resources.files("gliomaseg") / "assets" / "report"


@cache
def asset(name: str) -> str:
    """Return the text of a file of the pages."""
    return (ASSETS / name).read_text(encoding="utf-8")


@cache
def library() -> bytes:
    """Return NiiVue as gzip bytes."""
    return (ASSETS / "niivue.js.gz").read_bytes()


def base64_text(data: bytes) -> str:
    """Return bytes as base64 text."""
    return base64.b64encode(data).decode("ascii")


def json_block(name: str, content: object) -> str:
    """Return a block of JSON that no text in it can end."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    safe = text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return f'<script type="application/json" id="{escape(name)}">{safe}</script>'


def data_block(name: str, data: bytes) -> str:
    """Return a block of bytes in base64, which is no script to the browser."""
    return f'<script type="application/octet-stream" id="{escape(name)}">{base64_text(data)}</script>'


def image(data: bytes, alt: str, *, name: str = "") -> str:
    """Return a picture within the page; ``name`` is its id."""
    kind = "png" if data.startswith(b"\x89PNG") else "jpeg"
    size = _size(data)
    mark = f' id="{escape(name)}"' if name else ""
    return f'<img{mark}{size} src="data:image/{kind};base64,{base64_text(data)}" alt="{escape(alt)}">'


def _size(data: bytes) -> str:
    if not data.startswith(b"\x89PNG"):
        return ""
    width, height = (int.from_bytes(data[start : start + 4], "big") for start in (16, 20))
    return f' width="{width}" height="{height}"'


def table(rows: Sequence[Sequence[str]], *, caption: str = "", heads: int = 1) -> str:
    """Return a table, first row and first ``heads`` columns the headers; cells are escaped text."""
    header, *body = rows
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    lines = []
    for row in body:
        first = "".join(f'<th scope="row">{escape(cell)}</th>' for cell in row[:heads])
        lines.append(f"<tr>{first}{''.join(f'<td>{escape(cell)}</td>' for cell in row[heads:])}</tr>")
    name = f"<caption>{escape(caption)}</caption>" if caption else ""
    inner = f"<table>{name}<thead><tr>{top}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    label = escape(caption or ", ".join(header))
    return f'<div class="wide" tabindex="0" role="region" aria-label="{label}">{inner}</div>'


def items(lines: Iterable[str]) -> str:
    """Return a list of escaped lines; nothing for none."""
    found = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<ul>{found}</ul>" if found else ""


def page(
    title: str, body: str, *, scripts: Sequence[str] = (), blocks: str = "", served: bool = False
) -> str:
    """Return a whole page with its style, its scripts (names of assets) and its own strict policy."""
    style = asset("page.css")
    inline = "\n".join(asset(name) for name in scripts)
    return Template(asset("page.html")).substitute(
        policy=policy(scripts, served=served),
        title=escape(title),
        style=style,
        body=body,
        blocks=blocks,
        script=f"<script>{inline}</script>" if inline else "",
    )


def policy(scripts: Sequence[str], *, served: bool) -> str:
    """Return the Content-Security-Policy of a page: only its own style and script, by their hash.

    A page in one file may also run what it unpacks (NiiVue) and ask nobody for anything; one that is
    ``served`` may ask its own server.
    """
    inline = "\n".join(asset(name) for name in scripts)
    source = "'self'" if served else "blob:"
    script = f"'sha256-{_digest(inline)}' {source}" if inline else "'none'"
    return "; ".join(
        (
            "default-src 'none'",
            "img-src data: blob:",
            f"style-src 'sha256-{_digest(asset('page.css'))}'",
            f"script-src {script}",
            "connect-src " + (source if served else "'none'"),
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def _digest(text: str) -> str:
    return base64_text(hashlib.sha256(text.encode("utf-8", errors="backslashreplace")).digest())
