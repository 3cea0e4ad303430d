"""The page of an evaluation: a finished model on a file of one's own, or against another one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from zafu.artifact import write_text
from zafu.report import cards, parts, reliability, results, tables, trades
from zafu.report.element import Child, Element, h
from zafu.report.folder import Folder, mapping, mappings, measurement, number, read, words
from zafu.report.page import document
from zafu.report.words import bare, contest, digits, label, quoted, short


def write(run: Path, judged: dict[str, Any], path: Path) -> Path:
    """The path of the page about these findings of a run's model, replaced in one step."""
    write_text(path, page(read(run), judged))
    return path


def page(folder: Folder, judged: dict[str, Any]) -> str:
    """The whole page as text."""
    folder = replace(folder, judged=judged, samples=[])
    sections = [
        _header(folder),
        _against(folder),
        results.results(folder),
        cards.samples(folder),
        parts.parts(folder),
        reliability.reliability(folder),
        trades.thresholds(folder),
        trades.numbers(folder),
        _mistakes(folder),
    ]
    version = words(folder.environment.get("zafu"))
    footer = h("footer", h("p", f"Made by zafu {version}".strip() + "."))
    return document(f"{folder.name} on {place(folder)} – zafu", sections, footer)


def place(folder: Folder) -> str:
    """What was judged, in words: a file's name, or a split."""
    file = words(folder.judged.get("file"))
    return Path(file).name if file else f"the {words(folder.judged.get('split'))} split"


def _header(folder: Folder) -> Element:
    final = contest(folder)
    many = short(number(folder.judged.get("samples")))
    said = quoted(final.metric, final.model[final.metric]) if final else "No scores"
    return h(
        "header",
        h("p.eyebrow", h("span.name", folder.name)),
        h("h1", f"{said} on {place(folder)}"),
        h(
            "p.lead",
            f"{many} samples, encoded by what was fitted with the model; nothing refitted.",
        ),
    )


def _against(folder: Folder) -> Element | None:
    said = mapping(folder.judged.get("against"))
    rows = [row for row in map(_row, mappings(said.get("rows"))) if row]
    if not rows:
        return None
    other = Path(words(said.get("run"))).name
    heads = ["Metric", "This model", other, "Difference", "Verdict", "Interval by"]
    return h(
        "section",
        h("h2", f"Against {other}"),
        h(
            "p.lead",
            "Both answered the same samples, so the differences are paired. Not shown does not "
            "mean equal: the interval says how large a difference may still be.",
        ),
        tables.table("This model less the other", heads, rows, numbers=3),
    )


def _row(said: dict[str, Any]) -> list[Child] | None:
    metric, size = words(said.get("metric")), measurement(said.get("difference"))
    if size is None:
        return None
    places, names = digits(metric, size), ("this", "other")
    alone = [
        size.model_copy(update={"value": number(said.get(name)), "low": None, "high": None})
        for name in names
    ]
    verdict = words(said.get("verdict"))
    mark = {"better": "span.right", "worse": "span.wrong"}.get(verdict, "span")
    return [
        h("span", label(metric)),
        *(bare(metric, one, places) for one in alone),
        bare(metric, size, places),
        h(mark, verdict),
        size.how,
    ]


def _mistakes(folder: Folder) -> Element | None:
    rows = mappings(folder.judged.get("mistakes"))
    found = cards.examples(rows, "The answers that were furthest off")
    return h("section", h("h2", "The worst answers"), found) if found else None
