"""One self-contained page of scores: opens from a file, without network, script or any other file.

Everything that comes from outside (ids, paths, messages) is escaped. Ignorant of how scores are made.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from urllib.parse import quote

from gliomaseg import RESEARCH_USE, __version__
from gliomaseg.errors import GliomasegError
from gliomaseg.evaluation import tables
from gliomaseg.evaluation.comparison import Comparison
from gliomaseg.evaluation.pairing import Pair
from gliomaseg.evaluation.scores import Evaluation
from gliomaseg.labels import REGION_TITLES, TISSUE_TITLES
from gliomaseg.report.charts import Strip, reliability_chart, strip_chart
from gliomaseg.report.disagreement import Panel, draw_disagreement, worst_region

#: So many of the worst cases get a picture; more would make the page heavy.
PICTURES = 20

REGION_WORDS: Mapping[str, str] = {
    part.value: title for titles in (TISSUE_TITLES, REGION_TITLES) for part, title in titles.items()
}


def scores_page(
    evaluation: Evaluation,
    folder: Path,
    *,
    comparison: Comparison | None = None,
) -> str:
    """Return the page as HTML; links are relative to ``folder``."""
    sections = [
        _section("Mean over cases", _summary(evaluation), evaluation),
        _section("Every case", _charts(evaluation), evaluation),
        _section("Worst cases", _worst(evaluation, folder), evaluation) if evaluation.cases else "",
        _section("Comparison", _comparison(comparison, evaluation), evaluation) if comparison else "",
        _section("Calibration", _calibration(evaluation), evaluation) if evaluation.reliability else "",
        _section("All cases", _all_cases(evaluation), evaluation) if evaluation.cases else "",
    ]
    template = resources.files("gliomaseg") / "assets" / "scores.html"
    return Template(template.read_text(encoding="utf-8")).substitute(
        title=escape(f"Scores of {evaluation.name}"),
        rules=escape(evaluation.rules),
        cases=f"{len(evaluation.cases)} cases",
        notes=_list(tables.notes(evaluation)),
        sections="\n".join(sections),
        notice=escape(RESEARCH_USE),
        version=escape(__version__),
    )


def _section(title: str, content: str, evaluation: Evaluation) -> str:
    rules = f'<span class="rules">rules {escape(evaluation.rules)}</span>'
    return f"<section><h2>{escape(title)} {rules}</h2>\n{content}</section>"


def _list(lines: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else ""


def _table(rows: Sequence[Sequence[str]], *, name: str = "") -> str:
    """Return a table of escaped cells; a bracket or new line in a cell becomes small print below."""
    header, *body = rows
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    lines = "".join(
        f'<tr><th scope="row">{_cell(row[0])}</th>{"".join(f"<td>{_cell(c)}</td>" for c in row[1:])}</tr>'
        for row in body
    )
    caption = f"<caption>{escape(name)}</caption>" if name else ""
    table = f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"
    return f'<div class="wide">{table}</div>'


def _cell(text: str) -> str:
    value, _, rest = text.replace(" [", "\n[").partition("\n")
    return escape(value) + (f"<small>{escape(rest)}</small>" if rest else "")


def _summary(evaluation: Evaluation) -> str:
    if not evaluation.cases:
        return "<p>No case could be scored: see above.</p>"
    rows = tables.summary_table(evaluation)
    words = [[_region_words(row[0]).replace(" ", "\n", 1), *row[1:]] for row in rows[1:]]
    legend = '<p class="legend">In brackets: 95 % bootstrap interval of the mean over cases.</p>'
    return _table([rows[0], *words]) + legend


def _region_words(region: str) -> str:
    word = REGION_WORDS.get(region.lower())
    return f"{region} {word}" if word else region


def _charts(evaluation: Evaluation) -> str:
    named = evaluation.worst(PICTURES)
    figures = []
    for metric in evaluation.shown:
        columns = [c for r in evaluation.regions if (c := evaluation.column(r, metric))]
        strips = [
            Strip(
                column.region.upper(),
                [(case, scores.get(column.name, float("nan"))) for case, scores in evaluation.cases.items()],
                evaluation.summaries[column.name],
                column.text,
            )
            for column in columns
            if column.name in evaluation.summaries
        ]
        if strips:
            title = columns[0].title
            chart = strip_chart(strips, title=title, is_error=columns[0].lower_is_better, named=named)
            better = "less is better" if columns[0].lower_is_better else "more is better"
            head = f"{escape(title)} <small>{better} · {escape(evaluation.rules)}</small>"
            figures.append(f"<figure><figcaption>{head}</figcaption>{chart}</figure>")
    words = (
        "A dot is a case (orange: the three worst; point at one of the worst for its name); the box holds "
        "the middle half of the cases, its line is the median; the diamond is the mean with its 95 % "
        "interval. Distances are on a logarithmic axis."
    )
    return f'<div class="charts">{"".join(figures)}</div><p class="legend">{words}</p>'


def _worst(evaluation: Evaluation, folder: Path) -> str:
    key = (
        '<p class="legend"><span class="swatch tp"></span> in both <span class="swatch fp"></span> only in '
        'the prediction (false positive) <span class="swatch fn"></span> only in the reference (false '
        "negative). Cut where the two disagree most. Radiological convention: the patient's right (R) is on "
        "your left.</p>"
    )
    worst = evaluation.worst(PICTURES)
    cards = [_card(evaluation, case, folder) for case in worst]
    return key + "".join(cards)


def _card(evaluation: Evaluation, case: str, folder: Path) -> str:
    pair, region = evaluation.pairs.get(case), worst_region(evaluation, case)
    values = "".join(
        f"<li><span>{escape(name)}</span> {escape(' · '.join(texts))}</li>"
        for name, texts in tables.case_values(evaluation, case).items()
    )
    head = " · ".join(tables.headline_titles(evaluation))
    note = " (no prediction)" if case in evaluation.missing else ""
    drawn = _pictures(pair, region) if pair else ""
    links = _links(pair, folder) if pair else ""
    shown = f"Shown: {_region_words(region.upper())}, the region with the lowest overlap. " if drawn else ""
    return (
        f"<article><h3>{escape(case + note)}</h3>"
        f'<ul class="values"><li><span>{escape(head)}</span></li>{values}</ul>'
        f'<div class="panels">{drawn}</div><p class="legend">{escape(shown)}{links}</p></article>'
    )


def _pictures(pair: Pair, region: str) -> str:
    try:
        return "".join(_panel(panel) for panel in draw_disagreement(pair, region))
    except GliomasegError as error:
        return f"<p>No picture: {escape(error.what)}</p>"


def _panel(panel: Panel) -> str:
    data = base64.b64encode(panel.png).decode("ascii")
    width, height = panel.size
    letters = "".join(
        f'<b class="{side}">{letter}</b>' for side, letter in zip("tblr", panel.letters, strict=True)
    )
    return (
        f'<figure class="panel"><div>{letters}<img src="data:image/png;base64,{data}" width="{width}" '
        f'height="{height}" alt="{escape(panel.title)}"></div>'
        f"<figcaption>{escape(panel.title)}</figcaption></figure>"
    )


def _links(pair: Pair, folder: Path) -> str:
    files = {"prediction": pair.prediction, "reference": pair.reference}
    found = [
        f'<a href="{escape(_relative(path, folder))}">{name}</a>' for name, path in files.items() if path
    ]
    return "Files: " + ", ".join(found)


def _relative(path: Path, folder: Path) -> str:
    try:
        return quote(Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix())
    except ValueError:  # another drive
        return path.resolve().as_uri()


def _comparison(comparison: Comparison, evaluation: Evaluation) -> str:
    ranking = _table(tables.ranking_table(comparison), name="Ranking the BraTS way, 1 is best.")
    differences = [
        f"<h3>{escape(title)}</h3>{_table(table)}"
        for title, table in tables.difference_tables(comparison, evaluation.shown).items()
    ]
    return ranking + "".join(differences) + _list(tables.comparison_notes(comparison))


def _calibration(evaluation: Evaluation) -> str:
    figures = []
    for region, found in evaluation.reliability.items():
        title = f"{region.upper()}: expected calibration error {found.ece:.4f}"
        chart = reliability_chart(found.curve(), title=title)
        figures.append(f"<figure><figcaption>{escape(title)}</figcaption>{chart}</figure>")
    words = (
        "Voxels inside the brain, in 15 bins of probability; on the dashed line a probability means what it "
        "says. A dot's size follows its number of voxels."
    )
    return f'<div class="charts">{"".join(figures)}</div><p class="legend">{words}</p>'


def _all_cases(evaluation: Evaluation) -> str:
    table = _table(tables.case_table(evaluation, evaluation.worst(len(evaluation.cases))))
    return f"<details><summary>{len(evaluation.cases)} cases, worst first</summary>{table}</details>"
