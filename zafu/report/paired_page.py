"""The page of two recipes on the same folds: the verdict, the differences, and what was changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zafu.artifact import read_json, write_text
from zafu.report import tables
from zafu.report.element import Child, Element, h
from zafu.report.folder import mapping, measurement, number, words
from zafu.report.folds_figure import spread
from zafu.report.page import document
from zafu.report.words import NARROW, digits, figure, gap, label, scale, short, unit
from zafu.units import Seconds


def write(folder: Path, name: str) -> Path:
    """The page of what `NAME.json` in a folder says."""
    said = mapping(read_json(folder / f"{name}.json"))
    path = folder / f"{name}.html"
    write_text(path, page(said))
    return path


def page(said: dict[str, Any]) -> str:
    """The whole page as text."""
    sections = [_header(said), _differences(said), _changed(said)]
    title = f"{words(said.get('second'))} against {words(said.get('first'))} – zafu"
    return document(title, sections, h("footer", h("p", "Made by zafu.")))


def sentence(said: dict[str, Any]) -> str:
    """What a person would quote."""
    metric, effect = words(said.get("metric")), mapping(said.get("effect"))
    size = measurement(effect.get("size"))
    if size is None:
        return "Nothing could be compared"
    what = _what(said)
    much = gap(metric, size)
    p = f"p = {number(effect.get('p')):.2g}"
    if said.get("verdict") == "not shown":
        return f"{what}: no difference was shown in {label(metric)} ({much}, {p})"
    return f"{what} is {said.get('verdict')} in {label(metric)}: {much}, {p}"


def _what(said: dict[str, Any]) -> str:
    changed = mapping(said.get("changed"))
    if 0 < len(changed) <= 2:
        return ", ".join(f"{path} {pair[1]} instead of {pair[0]}" for path, pair in changed.items())
    kinds = [f"{p} {x[1]} instead of {x[0]}" for p, x in changed.items() if p.endswith(".kind")]
    return ", ".join(kinds[:2]) or "the second recipe"


def _header(said: dict[str, Any]) -> Element:
    metric, means = words(said.get("metric")), [number(x) for x in said.get("means", ())]
    size = measurement(mapping(said.get("effect")).get("size"))
    facts: list[tuple[str, str]] = []
    if size:
        sign = f"{NARROW}%" if unit(metric, size) == "%" else ""
        places, factor = digits(metric, size), scale(metric, size)
        for name, mean in zip(("First", "Second"), means, strict=True):
            facts.append((f"{name}, mean", figure(mean * factor, places) + sign))
    seconds = [number(x) for x in said.get("seconds") or ()]
    both = zip(("First", "Second"), seconds, strict=False)  # none where they cannot be compared
    facts += [(f"{name} trained for", str(Seconds(spent))) for name, spent in both]
    facts.append(("Pairs of folds", short(len(said.get("pairs", ())))))
    return h(
        "header",
        h("p.eyebrow", h("span.name", words(said.get("first"))), " ",
          h("span.state.finished", words(said.get("verdict")))),
        h("h1", sentence(said)),
        h("dl.facts", [h("div", h("dt", name), h("dd", fact)) for name, fact in facts]),
    )  # fmt: skip


def _differences(said: dict[str, Any]) -> Element | None:
    metric, size = words(said.get("metric")), measurement(mapping(said.get("effect")).get("size"))
    pairs = said.get("pairs")
    if size is None or not isinstance(pairs, list):
        return None
    rows = [
        (
            f"repeat {repeat}, fold {fold}",
            size.model_copy(update={"value": b - a, "low": None, "high": None}),
        )
        for repeat, fold, a, b in pairs
    ]
    places, factor = digits(metric, size), scale(metric, size)
    body: list[list[Child]] = [
        [h("span", name), *(figure(x * factor, places) for x in (a, b, b - a))]
        for (name, _), (_, _, a, b) in zip(rows, pairs, strict=True)
    ]
    way = "higher" if said.get("higher_is_better") is True else "lower"
    return h(
        "section",
        h("h2", "Differences"),
        h(
            "p.lead",
            "Both recipes were trained and judged on the same folds with the same seeds. Band: the "
            f"95{NARROW}% interval of the mean difference, corrected for training samples that "
            "folds share (Nadeau & Bengio, 2003). Where it holds 0, no difference was shown; that "
            "is not to say that there is none.",
        ),
        h(
            "figure.loss",
            h(
                "figcaption",
                h("strong", label(metric)),
                h("span", f"second less first; {way} is better"),
            ),
            spread(metric, size, rows, mark=0.0),
        ),
        tables.table("Each pair", ["Fold", "First", "Second", "Difference"], body, numbers=3),
        h("p.aside", f"Interval: {size.how}."),
    )


def _changed(said: dict[str, Any]) -> Element | None:
    rows: list[list[Child]] = [
        [h("span", path), words(pair[0]), words(pair[1])]
        for path, pair in mapping(said.get("changed")).items()
    ]
    if not rows:
        return None
    return h(
        "section",
        h("h2", "What was changed"),
        tables.table("Settings in which the recipes differ", ["Setting", "First", "Second"], rows),
    )
