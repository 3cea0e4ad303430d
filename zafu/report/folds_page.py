"""The page of a cross-validation: what all folds say, each of them, and their answers together."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from zafu.artifact import read_json, write_text
from zafu.measure import Measurement
from zafu.report import cards, tables
from zafu.report.element import Child, Element, h
from zafu.report.figures import CELLS, confused, matrix
from zafu.report.folder import (
    Folder,
    mapping,
    mappings,
    measurement,
    number,
    read,
    scores,
    words,
)
from zafu.report.folds_figure import spread
from zafu.report.page import NAME, document
from zafu.report.words import NARROW, bare, digits, figure, label, quoted, scale, short
from zafu.units import Seconds

MOST = 4  # metrics with a column of their own in the table of folds


def write(folder: Path) -> Path:
    """The path of `report.html` in the folder of a cross-validation, replaced in one step."""
    path = folder / NAME
    said = mapping(read_json(folder / "folds.json"))
    write_text(path, page(read(folder), said))
    return path


def page(folder: Folder, said: dict[str, Any]) -> str:
    """The whole page as text."""
    version = words(folder.environment.get("zafu"))
    sections = [
        _header(folder, said),
        _results(said),
        _parts(said),
        _searched(said),
        _confusion(said),
        cards.again(folder),
    ]
    footer = h("footer", h("p", f"Made by zafu {version}."))
    return document(f"{folder.name} – zafu", sections, footer)


def times(said: dict[str, Any]) -> str:
    """`5 folds` or `5 folds, 3 times`."""
    folds, repeats = number(said.get("folds")), number(said.get("repeats"))
    often = {1: "", 2: ", twice"}.get(int(repeats), f", {short(repeats)} times")
    return f"{short(folds)} folds{often}"


def _header(folder: Folder, said: dict[str, Any]) -> Element:
    metric, mean = words(said.get("metric")), measurement(said.get("score"))
    head = f"{quoted(metric, mean)}, by {times(said)}" if mean else "No fold came to an answer"
    state = words(folder.status.get("state")) or "no status"
    notes = [h("li", words(note)) for note in said.get("notes", ())]
    return h(
        "header",
        h("p.eyebrow", h("span.name", folder.name), " ", h("span.state.finished", state)),
        h("h1", head),
        h("div.message", h("ul", notes)) if notes else None,
        _facts(folder, said),
    )


def _facts(folder: Folder, said: dict[str, Any]) -> Element:
    recipe, parts = folder.recipe, mappings(said.get("parts"))
    split = mapping(mapping(recipe.get("data")).get("split"))
    by = words(split.get("by")) + (", stratified" if split.get("stratify") is True else "")
    test = mapping(split.get("test"))
    by = words(test.get("splitter")) or ("a splitter of one's own" if test.get("indices") else by)
    seconds = sum(number(part.get("seconds")) for part in parts)
    sizes = [sum(number(p.get(x)) for p in parts) / max(len(parts), 1) for x in ("train", "test")]
    facts = [
        ("Task", _kind(recipe.get("task")).replace("-", " ")),
        ("Data", _kind(recipe.get("data"))),
        ("Model", _kind(recipe.get("model"))),
        ("Folds", times(said)),
        ("Dealt by", by),
        ("Trained on", f"{short(round(sizes[0]))} samples"),
        ("Judged on", f"{short(round(sizes[1]))} samples"),
        ("Trained for", str(Seconds(seconds)) if seconds > 0 else ""),
    ]
    return h("dl.facts", [h("div", h("dt", name), h("dd", fact)) for name, fact in facts if fact])


def _results(said: dict[str, Any]) -> Element | None:
    metric, means = words(said.get("metric")), scores(said.get("means"))
    pooled = scores(said.get("pooled"))
    if metric not in means:
        return None
    rows: list[list[Child]] = []
    for name, mean in means.items():
        places = digits(name, mean)
        whole = pooled.get(name)
        beside = bare(name, whole, places) if whole else "–"
        rows.append([h("span", label(name)), bare(name, mean, places), beside, mean.unit or "–"])
    heads = ["Metric", "Mean over folds", "All answers together", "Unit"]
    if not any(mean.unit for mean in means.values()):
        heads, rows = heads[:-1], [row[:-1] for row in rows]
    answers = pooled[metric].n if metric in pooled else 0
    return h(
        "section",
        h("h2", "Results"),
        h(
            "p.lead",
            f"The interval of the mean is at 95{NARROW}% and corrected for training samples that "
            "folds share (Nadeau & Bengio, 2003): it says how much the score of this recipe would "
            "vary with other data of this kind. The spread of the folds does not say that.",
        ),
        _figure(said, metric, means[metric]),
        tables.table("All metrics", heads, rows, numbers=2),
        h(
            "p.aside",
            f"All answers together: each of {answers:,} answers of the first repeat once, by a "
            "model that was trained without that sample. Its interval comes from drawing samples "
            "anew, with the trained models as they are: it leaves out that training would differ.",
        ),
    )


def _figure(said: dict[str, Any], metric: str, mean: Measurement) -> Element:
    rows = [
        (_name(part, said), one)
        for part in mappings(said.get("parts"))
        if (one := measurement(part.get("score")))
    ]
    key = "band: interval of the mean; whiskers: what a fold's own samples leave open"
    return h(
        "figure.loss",
        h("figcaption", h("strong", label(metric)), h("span", key)),
        spread(metric, mean, rows, mark=None),
    )


def _name(part: dict[str, Any], said: dict[str, Any]) -> str:
    fold = short(number(part.get("fold")))
    if number(said.get("repeats")) > 1:
        return f"repeat {short(number(part.get('repeat')))}, fold {fold}"
    return f"fold {fold}"


def _parts(said: dict[str, Any]) -> Element | None:
    parts = mappings(said.get("parts"))
    means = scores(said.get("means"))
    names = list(means)[:MOST]
    rows: list[list[Child]] = []
    for part in parts:
        own = mapping(part.get("scores"))
        diverged = words(part.get("diverged"))
        cells: list[Child] = [_value(name, own.get(name), means[name]) for name in names]
        if diverged:
            cells = [h("span.wrong", "diverged"), *["–"] * (len(names) - 1)]
        sizes = [short(number(part.get(key))) for key in ("train", "test")]
        seconds = number(part.get("seconds"))
        rows.append([h("span", _name(part, said)), *sizes, *cells, str(Seconds(seconds))])
    heads = ["Fold", "Trained on", "Judged on", *map(label, names), "Training"]
    if not rows:
        return None
    return h(
        "section",
        h("h2", "Folds"),
        tables.table("What each fold says", heads, rows, numbers=len(heads) - 1),
    )


def _value(name: str, value: object, mean: Measurement) -> str:
    found = number(value)
    if not math.isfinite(found):
        return "–"
    sign = f"{NARROW}%" if scale(name, mean) == 100 else ""
    return figure(found * scale(name, mean), digits(name, mean)) + sign


def _searched(said: dict[str, Any]) -> Element | None:
    """What a search inside of each fold chose, and how far it had been too hopeful."""
    parts = [part for part in mappings(said.get("parts")) if mapping(part.get("settings"))]
    gap = measurement(said.get("optimism"))
    if not parts or gap is None:
        return None
    metric = words(said.get("metric"))
    paths = list(dict.fromkeys(path for part in parts for path in part["settings"]))
    rows: list[list[Child]] = []
    for part in parts:
        settings = mapping(part.get("settings"))
        chosen = [words(settings.get(path)) or "–" for path in paths]
        inner, outer = part.get("searched"), mapping(part.get("scores")).get(metric)
        pair = [_value(metric, value, gap) for value in (inner, outer)]
        rows.append([h("span", _name(part, said)), *pair, *chosen])
    heads = ["Fold", "In the search", "On the fold", *paths]
    trials = sum(number(part.get("trials")) for part in parts)
    return h(
        "section",
        h("h2", "The search inside"),
        h(
            "p.lead",
            f"In each fold {short(trials / len(parts))} settings were tried on inner folds of its "
            "training samples; the best was trained on all of these and judged on the fold, which "
            "no choice has seen. The search said "
            f"{bare(metric, gap).replace('%', 'points')} too much of what it chose.",
        ),
        tables.table("What was chosen", heads, rows, numbers=2),
    )


def _confusion(said: dict[str, Any]) -> Element | None:
    names, counts = [words(x) for x in said.get("labels", ())], said.get("confusion")
    if not names or not counts:
        return None
    table = np.array(counts, float)
    pairs: list[list[Child]] = [[h("span", t), p, f"{n:,}"] for t, p, n in confused(names, table)]
    drawn = matrix(names, table) if len(names) <= CELLS else None
    heads = ["True", "Predicted", "Count"]
    title = h("figcaption", h("strong", "Confusion"), h("span", "out of fold"))
    return h(
        "section",
        h("h2", "Which classes are confused"),
        h("p.lead", "Each sample once, answered by the model that was trained without it."),
        h(
            "div.confusion",
            h("figure", title, drawn) if drawn else None,
            tables.table("Most often confused", heads, pairs, numbers=0) if pairs else None,
        ),
    )


def _kind(value: object) -> str:
    return value if isinstance(value, str) else words(mapping(value).get("kind"))
