"""Samples that were explained: pictures beside their maps, colored tokens, bars of columns."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from zafu.report import diverging
from zafu.report.element import Child, Element, h
from zafu.report.explain_curves import array
from zafu.report.folder import mapping, mappings, number, words
from zafu.report.words import short

SIDE = 100  # of a picture on the page
MOST = 12  # columns with a bar of their own
LEVELS = 5  # of color on each side of 0, for tokens
WIDTH, ROW, NAME, SIDES = 400.0, 22.0, 150.0, 62.0


def samples(found: dict[str, Any]) -> list[Element]:
    """A section for all samples."""
    rows = mappings(found.get("samples"))
    if not rows:
        return []
    methods = mapping(found.get("methods"))
    kind = words(found.get("kind"))
    if kind == "pixels":
        return [_pictures(rows, methods)]
    return [_text(row, methods) if kind == "tokens" else _row(row, methods) for row in rows]


def answer(row: dict[str, Any]) -> str:
    """What the model says of a sample, in words."""
    output = words(row.get("output"))
    if "probability" in row:
        return f"{output} ({number(row['probability']):.1%})"
    return f"{output} {short(number(row.get('number')))}"


def failed(methods: dict[str, Any], kind: str) -> bool:
    """Whether a method failed one of its checks."""
    failures = mapping(mapping(methods.get(kind)).get("checks")).get("failures")
    return bool(failures)


def head(methods: dict[str, Any], kind: str) -> list[Child]:
    """A method's name, marked where it failed."""
    name = kind.replace("-", " ")
    return [name, h("small.wrong", " failed its checks")] if failed(methods, kind) else [name]


def _pictures(rows: list[dict[str, Any]], methods: dict[str, Any]) -> Element:
    kinds = list(mapping(rows[0].get("maps")))
    heads = [h("th", {"scope": "col"}, "picture")]
    heads += [h("th", {"scope": "col"}, *head(methods, kind)) for kind in kinds]
    body = [_picture_row(row, kinds, methods) for row in rows]
    table = h("table.maps", h("thead", h("tr", heads)), h("tbody", body))
    return h(
        "section",
        h("h2", "What the answers rest on"),
        h("p.lead", "Each map has the full color at its own largest value. ", *_rule()),
        diverging.legend(),
        h("div.scroll", {"tabindex": "0", "role": "region", "aria-label": "maps"}, table),
    )


def _rule() -> list[Child]:
    return ["A map that failed its checks is shown and marked: do not rely on it."]


def _picture_row(row: dict[str, Any], kinds: list[str], methods: dict[str, Any]) -> Element:
    name, maps = words(row.get("name")), mapping(row.get("maps"))
    shape = {"width": SIDE, "height": SIDE}
    true = words(row.get("true"))
    wrong = true and true != words(row.get("output"))
    said: list[Child] = [h("strong", answer(row)), h("small", f" {name}")]
    if true:
        said.append(h("small.wrong" if wrong else "small", f", is {true}"))
    src = words(row.get("picture"))
    src = src if src.startswith("data:image/png;base64,") else "data:,"
    cells = [h("td", h("img", {"src": src, "alt": name, **shape}), h("div", said))]
    for kind in kinds:
        of = mapping(maps.get(kind))
        values = array(of.get("values"), 2)
        signed = mapping(methods.get(kind)).get("signed") is not False
        uri = diverging.drawn(values, signed=signed) if values.size else "data:,"
        alt = f"{kind} of {name}"
        img = h("img.failed" if failed(methods, kind) else "img", {"src": uri, "alt": alt, **shape})
        cells.append(h("td", img, h("div", h("small", words(of.get("how"))))))
    return h("tr", cells)


def _text(row: dict[str, Any], methods: dict[str, Any]) -> Element:
    tokens = row.get("tokens")
    texts = [words(t) for t in tokens] if isinstance(tokens, list) else []
    figures: list[Element] = []
    for kind, said in mapping(row.get("adds")).items():
        of = mapping(said)
        values = array(of.get("values"))
        caption = h(
            "figcaption", h("strong", *head(methods, kind)), h("span", words(of.get("how")))
        )
        figures.append(h("figure.loss", caption, colored(texts, values, answer(row))))
    return h(
        "section",
        h(
            "h2",
            "Next: ",
            h("code", words(row.get("output"))),
            f" {number(row.get('probability')):.1%}",
        ),
        h("p.lead", "What each token adds to the score of the next one. ", *_rule()),
        diverging.legend(),
        *figures,
        _attention(row, texts),
    )


def colored(texts: list[str], values: np.ndarray, after: str) -> Element:
    """Tokens on the color of what they add; line ends and spaces are to be seen."""
    most = float(np.abs(values).max(initial=0.0)) or 1.0
    parts: list[Child] = []
    for text, value in zip(texts, values.tolist(), strict=False):
        level = round(LEVELS * abs(value) / most)
        side = "push" if value > 0 else "pull"
        tag = f"span.token.{side}{level}" if level else "span.token"
        parts.append(h(tag, _visible(text), h("i.tip", _signed(value, most))))
        if text.endswith("\n"):
            parts.append("\n")
    parts.append(h("span.next", f" → {_visible(after)}"))
    return h("pre.tokens", h("code", parts))


def _visible(text: str) -> str:
    return text.replace("\n", "⏎").replace("\t", "⇥").replace(" ", "␣" if not text.strip() else " ")


def _attention(row: dict[str, Any], texts: list[str]) -> Element | None:
    layers = mapping(mapping(row.get("attention")).get("layers"))
    figures: list[Element] = []
    for name, values in layers.items():
        heads = array(values, 2)
        if heads.shape[1] != len(texts) + 1:
            continue
        shown = ["(start)", *texts]
        across, down = 26.0, 18.0
        inside: list[Child] = []
        for at, text in enumerate(shown):
            x = 60 + across * (at + 0.5)
            turn = {"x": x, "y": 76, "transform": f"rotate(-50 {x:g} 76)"}
            inside.append(h("text", turn, _visible(text)[:9]))
        for index, of in enumerate(heads):
            y = 84 + down * index
            inside.append(
                h("text", {"x": 52, "y": y + 13, "text-anchor": "end"}, f"head {index + 1}")
            )
            for at, value in enumerate(of.tolist()):
                place = {"x": 60 + across * at, "y": y, "width": across - 1, "height": down - 1}
                said = f"head {index + 1} at {shown[at]}: {value:.1%}"
                cell = h("rect.cell", place)
                share = max(0.0, min(1.0, value)) if np.isfinite(value) else 0.0
                ink = h("rect.heat", {**place, "fill-opacity": share})
                inside.append(h("g", h("title", said), cell, ink))
        box = f"0 0 {80 + across * len(shown):g} {88 + down * len(heads):g}"
        drawing = h(
            "svg.matrix", {"viewBox": box, "role": "img"}, h("title", f"layer {name}"), inside
        )
        caption = h("figcaption", h("strong", f"layer {name}"), h("span", "where it looks"))
        figures.append(h("figure", caption, drawing))
    if not figures:
        return None
    said = "Attention of the last token says what is read, not what is made of it."
    return h("div", h("h3", "Attention"), h("p.aside", said), h("div.grid", figures))


def _row(row: dict[str, Any], methods: dict[str, Any]) -> Element:
    columns = mappings(row.get("columns"))
    names = [f"{words(c.get('name'))} = {words(c.get('value'))}" for c in columns]
    figures: list[Element] = []
    for kind, said in mapping(row.get("adds")).items():
        of = mapping(said)
        caption = h(
            "figcaption", h("strong", *head(methods, kind)), h("span", words(of.get("how")))
        )
        values, spread = array(of.get("values")), array(of.get("spread"))
        figures.append(h("figure", caption, bars(names, values, spread)))
    true = words(row.get("true"))
    is_true = f", true {true}" if true else ""
    return h(
        "section",
        h("h2", f"{words(row.get('name'))}: {answer(row)}{is_true}"),
        h(
            "p.lead",
            "What each column adds, in the unit of the answer (of a class: to its score). ",
            *_rule(),
        ),
        h("div.grid", figures),
        what_if(row),
    )


def bars(names: list[str], values: np.ndarray, spread: np.ndarray) -> Element:
    """A bar for each of the largest values, to the left where it is below 0."""
    order = np.argsort(-np.abs(values), kind="stable")
    shown, rest = order[:MOST].tolist(), order[MOST:].tolist()
    rows = [(names[i] if i < len(names) else "", float(values[i]), _at(spread, i)) for i in shown]
    if rest:
        rows.append((f"{len(rest)} others", float(values[rest].sum()), 0.0))
    most = max((abs(v) + s for _, v, s in rows), default=1.0) or 1.0
    middle, half = NAME + (WIDTH - NAME - SIDES) / 2, (WIDTH - NAME - SIDES) / 2 - 4
    inside: list[Child] = []
    for index, (name, value, around) in enumerate(rows):
        y = ROW * index
        size = abs(value) / most * half
        place = {"x": middle if value >= 0 else middle - size, "y": y + 4, "width": max(size, 0.5)}
        side = "push" if value >= 0 else "pull"
        cut = name if len(name) <= 24 else name[:23] + "…"
        ends = [middle + (value + sign * around) / most * half for sign in (-1, 1)]
        line = {"x1": ends[0], "x2": ends[1], "y1": y + 11, "y2": y + 11}
        inside += [
            h(
                "text.name",
                {"x": NAME - 8, "y": y + 15, "text-anchor": "end"},
                h("title", name),
                cut,
            ),
            h(f"rect.{side}", {**place, "height": ROW - 8, "rx": 1.5}),
            h("line.whisker", line) if around else None,
            h("text.value", {"x": WIDTH, "y": y + 15, "text-anchor": "end"}, _signed(value, most)),
        ]
    zero = {"x1": middle, "x2": middle, "y1": 0.0, "y2": ROW * len(rows)}
    said = "; ".join(f"{name}: {_signed(value, most)}" for name, value, _ in rows)
    shape = {"viewBox": f"0 0 {WIDTH:g} {ROW * len(rows) + 2:g}", "role": "img"}
    return h("svg.bars", shape, h("title", said), inside, h("line.axis", zero))


def what_if(row: dict[str, Any]) -> Element | None:
    """The nearest changes that change the answer, in words."""
    found = mapping(row.get("counterfactual"))
    ways = mappings(found.get("ways"))
    if not found:
        return None
    if not ways:
        said = "No change of so few columns, within what training rows have, changes the answer."
        return h("div", h("h3", "What if"), h("p.aside", said))
    items = [h("li", _way(row, way)) for way in ways]
    by = short(number(found.get("move")))
    what = "change the answer" if "probability" in row else f"move the answer by {by} or more"
    said = f"The smallest changes found that {what}: what the model would say, no more."
    return h("div", h("h3", "What if"), h("ul.ways", items), h("p.aside", said))


def _way(row: dict[str, Any], way: dict[str, Any]) -> list[Child]:
    parts: list[Child] = ["If "]
    changes = mappings(way.get("changes"))
    for index, change in enumerate(changes):
        parts.append(" and " if index else "")
        parts.append(h("strong", words(change.get("name"))))
        parts.append(f" were {words(change.get('to'))} rather than {words(change.get('from'))}")
    output, value = words(way.get("output")), number(way.get("answer"))
    told = f"{output} ({value:.1%})" if "probability" in row else f"{output} {short(value)}"
    parts.append(f", the answer would be {told}.")
    return parts


def _at(values: np.ndarray, index: int) -> float:
    return float(values[index]) if index < values.size else 0.0


def _signed(value: float, most: float) -> str:
    """With a sign, and as many digits as the largest value beside it bears."""
    places = min(max(0, 2 - math.floor(math.log10(most))), 8) if most > 0 else 2
    said = f"{value:+.{places}f}".replace("-", "−")
    return said if float(f"{value:.{places}f}") else "0"
