"""Pieces of HTML: every text that comes from outside is escaped here. Ignorant of reports."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape

from gliomaseg.report.pages import base64_text, render


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
    """Return a whole page of pieces that are escaped already."""
    return render("page.html", scripts=scripts, served=served, title=title, body=body, blocks=blocks)
