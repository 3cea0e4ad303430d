"""The page of an explanation: why a model answers so, and which of the maps can be relied on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zafu.artifact import write_text
from zafu.report import explain_curves, explain_samples, tables
from zafu.report.element import Child, Element, h
from zafu.report.folder import mapping, mappings, measurement, number, words
from zafu.report.page import document
from zafu.report.words import short

SETTINGS = (
    "What settings of the training were worth is not in a finished model. A search over them says "
    "it: zafu tune RECIPE --over PATH=RANGE --search random, then zafu explain RUN --study FOLDER. "
    "zafu tune --search gradient follows the slope of the validation loss by settings, and zafu "
    "compare says whether a difference is more than chance."
)


def write(found: dict[str, Any], path: Path) -> Path:
    """The path of the page about what was found, replaced in one step."""
    write_text(path, page(found))
    return path


def page(found: dict[str, Any]) -> str:
    """The whole page as text; the same values give the same bytes."""
    sections: list[Child] = [
        _header(found),
        *explain_samples.samples(found),
        _methods(found),
        explain_curves.importance(found),
        explain_curves.dependence(found),
        explain_curves.inputs(found),
        explain_curves.layers(found),
        _settings(found),
    ]
    name = words(found.get("name"))
    return document(f"{name} explained – zafu", sections, h("footer", h("p", "Made by zafu.")))


def _header(found: dict[str, Any]) -> Element:
    methods = mapping(found.get("methods"))
    wrong = [kind for kind in methods if explain_samples.failed(methods, kind)]
    checks = [mapping(mapping(said).get("checks")) for said in methods.values()]
    good = sum(bool(check.get("tried")) and not check.get("failures") for check in checks)
    said = f"{good} of {len(methods)} methods passed their checks." if methods else ""
    facts = {
        "Model": words(found.get("model")),
        "Samples shown": short(float(len(mappings(found.get("samples"))))),
        "Samples of the checks": short(number(found.get("checked"))),
    }
    cells = [h("div", h("dt", name), h("dd", value)) for name, value in facts.items()]
    return h(
        "header",
        h("p.eyebrow", h("span", "explained"), h("span.name", words(found.get("name")))),
        h("h1", "Why it answers so"),
        h("p.lead", said, f" Failed: {', '.join(wrong)}." if wrong else ""),
        h("dl.facts", cells),
    )


def _methods(found: dict[str, Any]) -> Element | None:
    methods, refused = mapping(found.get("methods")), mapping(found.get("refused"))
    if not methods and not refused:
        return None
    rows = [_method(kind, mapping(said)) for kind, said in methods.items()]
    heads = (
        "method",
        "seconds",
        "lacks",
        "random weights",
        "taken away",
        "put in",
        "what it says, and does not",
    )
    caption = "Checks on held-out samples, with 95 % intervals"
    missing = [h("li", h("strong", kind), f": {words(why)}") for kind, why in refused.items()]
    return h(
        "section",
        h("h2", "Can the maps be relied on?"),
        h(
            "p.lead",
            "Random weights: rank correlation with the maps of models whose weights were shuffled; "
            "a map of the model is far from 1. Taken away, put in: how much more the answer falls "
            "or rises by the order of the map than by random orders, in the mean along the way; "
            "above 0 the map ranks what matters. Lacks: of what values should add up to.",
        ),
        tables.table(caption, heads, rows, numbers=5) if rows else None,
        h("div", h("h3", "Not shown"), h("ul", missing)) if missing else None,
    )


def _settings(found: dict[str, Any]) -> Element:
    said = mapping(found.get("settings"))
    title, rows = h("h2", "And the settings of the training?"), mappings(said.get("rows"))
    if not rows:
        return h("section", title, h("p", SETTINGS))
    told = [
        [
            words(row.get("name")),
            f"{number(row.get('share')):.0%}",
            f"{number(row.get('chance')):.0%}",
            "more than chance"
            if number(row.get("share")) > number(row.get("chance"))
            else "not shown",
        ]
        for row in rows
    ]
    text = (
        f"In the search {words(said.get('study'))} of {words(said.get('trials'))} trials: how "
        f"much of the order of {words(said.get('metric'))} each setting tells alone, and what it "
        "tells of shuffled values in 19 of 20 cases."
    )
    heads = ("setting", "tells alone", "by chance up to", "")
    return h("section", title, tables.table(text, heads, told, numbers=2))


def _method(kind: str, said: dict[str, Any]) -> list[Child]:
    checks = mapping(said.get("checks"))
    failures = checks.get("failures")
    wrong = [words(x) for x in failures] if isinstance(failures, list) else []
    lacks = number(checks.get("missing"))
    verdict = h("div.wrong", f"failed: {'; '.join(wrong)}") if wrong else None
    return [
        kind,
        f"{number(said.get('seconds')):.2g}",
        f"{lacks:.2%}" if lacks == lacks else "",
        *(_interval(checks.get(name)) for name in ("random", "deletion", "insertion")),
        h("div", verdict, words(said.get("says"))),
    ]


def _interval(value: object) -> Child:
    one = measurement(value)
    if one is None:
        return "not tried"
    ends = "" if one.low is None or one.high is None else f"{one.low:.2f} to {one.high:.2f}"
    return h("span.stack", f"{one.value:.2f}".replace("-", "−"), h("small", ends.replace("-", "−")))
