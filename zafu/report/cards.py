"""Cards: what the model says, what it was given, what it is, and how to have it again."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np

from zafu.report import tables
from zafu.report.element import Child, Element, h
from zafu.report.figures import CELLS, confused, matrix
from zafu.report.folder import Folder, mapping, mappings, number, words
from zafu.report.tint import tinted
from zafu.report.words import short
from zafu.units import Bytes, Seconds

TEXTS, ROWS, LETTERS = 8, 16, 3000  # most samples, most example rows, most letters of a sample


def samples(folder: Folder) -> Element | None:
    """Continued prompts, or a confusion matrix and predictions beside the truth."""
    texts = [s for s in folder.samples if "text" in s]
    rows = [s for s in folder.samples if "text" not in s]
    rows = rows or mappings(folder.judged.get("examples"))
    caption = f"The first {min(len(rows), ROWS)} of the samples that were judged"
    parts = [_texts(texts), _confusion(folder), examples(rows, caption)]
    if not any(parts):
        return None
    return h("section", h("h2", "What the model says"), parts)


def data(folder: Folder) -> Element | None:
    """The splits, and what was removed before them and why."""
    said = folder.prepare
    if not said:
        return None
    facts = [("Prepared in", _seconds(said.get("seconds"))), ("Digest", _code(said.get("digest")))]
    known = [(name, fact) for name, fact in facts if fact]
    return h(
        "section",
        h("h2", "Data"),
        h("div.grid", _splits(said), _removed(said)),
        tables.definitions(known) if known else None,
    )


def model(folder: Folder) -> Element | None:
    """What the finished model is made of."""
    card = folder.card
    parameters, size = number(card.get("parameters")), number(card.get("bytes"))
    facts: list[tuple[str, Child]] = [
        ("Parameters", short(parameters) if math.isfinite(parameters) else None),
        ("Weights", str(Bytes(size)) if math.isfinite(size) else None),
        ("Step", short(number(card.get("step"))) if "step" in card else None),
        ("Digest", _code(card.get("digest"))),
    ]
    facts += [(f"Digest of {name}", _code(x)) for name, x in mapping(card.get("files")).items()]
    known = [(name, said) for name, said in facts if said]
    return h("section", h("h2", "Model"), tables.definitions(known)) if known else None


def again(folder: Folder) -> Element | None:
    """The command, the recipe and the environment: all that a repetition needs."""
    command = words(folder.status.get("command")) or words(folder.environment.get("command"))
    places = list(islice(_flat(folder.environment, ""), 60))
    git = mapping(folder.environment.get("git"))
    changed = "The checkout had changes that no commit holds." if git.get("dirty") is True else ""
    parts: list[Child] = []
    if command:
        parts += [h("h3", "Command"), h("pre.command", h("code", command))]
    if folder.text:
        parts += [h("h3", "Recipe"), h("pre.recipe", h("code", tinted(folder.text)))]
    if places:
        shown = [(name.replace(".", " "), said) for name, said in places if name != "command"]
        parts += [h("h3", "Environment"), tables.definitions(shown)]
    note = h("p.message", changed) if changed else None
    return h("section", h("h2", "To do it again"), note, parts) if parts else None


def _texts(found: list[dict[str, Any]]) -> Element | None:
    shown: list[Child] = []
    for sample in found[:TEXTS]:
        prompt, text = words(sample.get("prompt")), words(sample.get("text"))
        text = text.removeprefix(prompt) if prompt else text
        cut = h("span.cut", " … cut") if len(text) > LETTERS else None
        inside = h("code", h("b", prompt[:LETTERS]), text[:LETTERS], cut)
        shown.append(h("pre", inside))
    note = h("p.lead", "The opening in bold was given; the model wrote the rest.")
    return h("div", note, h("div.grid", shown)) if shown else None


def _confusion(folder: Folder) -> Element | None:
    said = mapping(folder.judged.get("confusion"))
    labels, counts = said.get("labels"), said.get("counts")
    if not isinstance(labels, list) or not isinstance(counts, list) or not labels:
        return None
    rows = [[number(x) for x in row] if isinstance(row, list) else [] for row in counts]
    if len(rows) != len(labels) or any(len(row) != len(labels) for row in rows):
        return None
    table = np.nan_to_num(np.array(rows, float)).clip(0, 1e12)
    names = [words(label) for label in labels]
    pairs = [[h("span", t), p, f"{n:,}"] for t, p, n in confused(names, table)]
    drawn = matrix(names, table) if len(names) <= CELLS else None
    heads = ["True", "Predicted", "Count"]
    beside = tables.table("Most often confused", heads, pairs) if pairs else None
    figure = h("figure", h("figcaption", h("strong", "Confusion")), drawn) if drawn else None
    return h("div.confusion", figure, beside)


def examples(rows: list[dict[str, Any]], caption: str) -> Element | None:
    """Answers beside the truth, with how they stand to it."""
    if not rows:
        return None
    heads = list(dict.fromkeys(key for row in rows[:ROWS] for key in row))[:6]
    pair = "predicted" in heads and "true" in heads
    numeric = pair and all(isinstance(r.get("true"), float) for r in rows[:ROWS])
    body: list[list[Child]] = []
    for row in rows[:ROWS]:
        first, *rest = [_shown(row.get(key)) for key in heads]
        cells: list[Child] = [h("span", first), *rest]
        if pair:
            cells.append(_verdict(row["predicted"], row["true"]) if _has(row) else "–")
        body.append(cells)
    last = ["Difference" if numeric else "Verdict"] if pair else []
    return tables.table(caption, [*(key.capitalize() for key in heads), *last], body)


def _has(row: dict[str, Any]) -> bool:
    return "predicted" in row and "true" in row


def _verdict(predicted: object, true: object) -> Element | str:
    if isinstance(true, float):
        gap = number(predicted) - number(true)
        return ("+" if gap > 0 else "") + short(gap)
    right = words(predicted) == words(true)
    return h("span.right", "✓ right") if right else h("span.wrong", "✗ wrong")


def _shown(value: object) -> str:
    text = short(value) if isinstance(value, float) else words(value)
    return text if len(text) <= 120 else text[:119] + "…"


def _splits(said: dict[str, Any]) -> Element | None:
    rows: list[list[Child]] = []
    units = False
    for name, size in mapping(said.get("splits")).items():
        own = size if isinstance(size, dict) else {"samples": size}
        units = units or "units" in own
        rows.append(
            [h("span", name), *(short(number(own.get(key))) for key in ("samples", "units"))]
        )
    heads = ["Split", "Samples", "Units"] if units else ["Split", "Samples"]
    body = [row[: len(heads)] for row in rows]
    return tables.table("Splits", heads, body, numbers=len(heads) - 1) if rows else None


def _removed(said: dict[str, Any]) -> Element | None:
    steps = mappings(said.get("steps"))
    rows: list[list[Child]] = []
    for step in steps:
        came, left = number(step.get("rows_in")), number(step.get("rows_out"))
        name = h("span", words(step.get("step")))
        rows.append([name, short(came), short(left), short(came - left), words(step.get("why"))])
    if rows:
        heads = ["Step", "In", "Out", "Removed", "Why"]
        return tables.table("What was done to the rows", heads, rows, numbers=3)
    for why, many in mapping(said.get("dropped")).items():
        rows.append([h("span", why), short(number(many))])
    came, left = number(said.get("in")), number(said.get("out"))
    if not math.isfinite(came):
        return None
    rows = [[h("span", "came in"), short(came)], *rows, [h("span", "kept"), short(left)]]
    return tables.table("What was left out and why", ["Samples", "Number"], rows, numbers=1)


def _flat(value: dict[str, Any], path: str) -> Iterator[tuple[str, str]]:
    for key, inner in value.items():
        name = f"{path}.{key}" if path else key
        if isinstance(inner, dict):
            yield from _flat(inner, name)
        else:
            yield name, words(inner)


def _seconds(value: object) -> str:
    seconds = number(value)
    return str(Seconds(seconds)) if seconds > 0 else ""


def _code(value: object) -> Element | None:
    return h("code", words(value)) if value else None
