"""How values are distributed, before and after: columns, pictures, tokens."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import islice, pairwise
from typing import Any

import numpy as np

from zafu.report import tables
from zafu.report.element import Child, Element, h
from zafu.report.folder import mapping, mappings, number, words
from zafu.report.scale import Axis, axis, tick
from zafu.report.words import short

LISTED, COLUMNS = 60, 40  # most classes, most columns
WIDTH, PAD = 320, 10.0


def columns(said: Mapping[str, Any]) -> Element | None:
    """The columns of a table, before cleaning and after, as strips of quantiles or top values."""
    before = {words(c.get("name")): c for c in mappings(said.get("before"))}
    after = {words(c.get("name")): c for c in mappings(said.get("after"))}
    names = list(dict.fromkeys([*before, *after]))[:COLUMNS]
    cells: list[Child] = []
    for name in names:
        pair = [("before", before.get(name)), ("after", after.get(name))]
        known = [(when, column) for when, column in pair if column]
        strips = [(when, _numbers(column.get("quantiles"))) for when, column in known]
        drawn = strip_chart(name, strips) if any(len(values) for _, values in strips) else None
        lacking = [
            f"{when} {number(column.get('missing')):.3g} missing"
            for when, column in known
            if number(column.get("missing")) > 0
        ]
        tops = [] if drawn else [_top(when, column.get("top")) for when, column in known]
        gone = "" if name in after else "left out"
        about = "; ".join(filter(None, [gone, *lacking]))
        title = h("figcaption", h("strong", name), h("span", about))
        cells.append(h("figure", title, drawn, tops))
    if not cells:
        return None
    lead = h("p.lead", "Each strip runs from the least value to the greatest, cut at every tenth.")
    return h("section", h("h2", "Columns"), lead, h("div.grid", cells))


def pictures(said: Mapping[str, Any]) -> Element | None:
    """Sizes of the pictures in their files, classes in each split, channels before and after."""
    strips = [(k, _numbers(v)) for k, v in mapping(said.get("sizes")).items()]
    parts: list[Child] = []
    if any(len(values) for _, values in strips):
        title = h("figcaption", h("strong", "size in the files"), h("span", "pixels"))
        parts.append(h("figure", title, strip_chart("sizes", strips)))
    classes = mapping(said.get("classes"))
    if classes:
        splits = list(mapping(next(iter(classes.values()))))
        rows = [
            [h("span", label), *(short(number(mapping(counts).get(s))) for s in splits)]
            for label, counts in islice(classes.items(), LISTED)
        ]
        heads = ["Class", *(s.capitalize() for s in splits)]
        parts.append(tables.table("Classes", heads, rows, numbers=len(splits)))
    channels = mapping(said.get("channels"))
    rows = [
        [h("span", f"{when}: {what}"), ", ".join(f"{x:.4g}" for x in _numbers(values))]
        for when, found in channels.items()
        for what, values in mapping(found).items()
    ]
    if rows:
        parts.append(tables.table("Channels of the training pictures", ["", "Each channel"], rows))
    return h("section", h("h2", "Pictures"), h("div.grid", parts)) if parts else None


def tokens(said: Mapping[str, Any]) -> Element | None:
    """Documents, tokens, fertility and packing of each split."""
    if not said:
        return None
    keys = ("documents", "tokens", "bytes", "bytes_per_token", "padding", "cut")
    rows: list[list[Child]] = []
    for split, found in said.items():
        values = [number(mapping(found).get(key)) for key in keys]
        texts = [*map(short, values[:3]), f"{values[3]:.3f}", f"{values[4]:.2%}", short(values[5])]
        rows.append([h("span", split), *texts])
    heads = ["Split", "Documents", "Tokens", "Bytes", "Bytes a token", "Padding", "Cut documents"]
    strips = [(s, _numbers(mapping(f).get("tokens_per_document"))) for s, f in said.items()]
    title = h("figcaption", h("strong", "tokens of a document"), h("span", "every tenth"))
    drawn = h("figure", title, strip_chart("tokens of a document", strips))
    body = tables.table("Tokens", heads, rows, numbers=6)
    return h("section", h("h2", "Tokens"), body, drawn)


def strip_chart(title: str, strips: Sequence[tuple[str, np.ndarray]]) -> Element:
    """A row for each set of quantiles: a bar from least to greatest, darker in the middle."""
    known = [(name, values) for name, values in strips if len(values) > 1]
    together = np.concatenate([values for _, values in known] or [np.zeros(1)])
    across = axis(together, count=4)
    base = 26.0 * len(known) + 6
    inside: list[Child] = []
    for index, (name, values) in enumerate(known):
        inside += _strip(name, values, across, top=26.0 * index + 4)
    for at in across.ticks:
        where = _place(across, at)
        inside.append(h("line.tick", {"x1": where, "x2": where, "y1": base, "y2": base + 4}))
        anchor = "start" if where < 30 else "end" if where > WIDTH - 30 else "middle"
        spot = {"x": where, "y": base + 16, "text-anchor": anchor}
        inside.append(h("text", spot, tick(at, across)))
    shape = {"viewBox": f"0 0 {WIDTH} {base + 20:.0f}", "role": "img"}
    said = "; ".join(f"{n}: {v[0]:.4g} to {v[-1]:.4g}, middle {np.median(v):.4g}" for n, v in known)
    return h("svg.quantiles", shape, h("title", f"{title}: {said}"), inside)


def _strip(name: str, values: np.ndarray, across: Axis, *, top: float) -> list[Child]:
    inside: list[Child] = []
    middle = (len(values) - 2) / 2
    for place, (low, high) in enumerate(pairwise(values.tolist())):
        begin, end = _place(across, low), _place(across, high)
        share = 1 - 0.8 * abs(place - middle) / max(middle, 1)
        shape = {"x": begin, "y": top + 9, "width": max(0.6, end - begin - 0.6), "height": 9}
        inside.append(h("rect.tenth", {**shape, "fill-opacity": share}))
    return [h("text", {"x": PAD, "y": top + 6}, name), *inside]


def _place(across: Axis, value: float) -> float:
    return float(PAD + across.place(np.array(value)) * (WIDTH - 2 * PAD))


def _top(when: str, value: object) -> Element | None:
    listed = [[k, v] for k, v in value.items()] if isinstance(value, dict) else value
    found = listed if isinstance(listed, list) else []
    pairs = [pair for pair in found if isinstance(pair, list) and len(pair) == 2]
    rows = [[h("span", words(name)), short(number(count))] for name, count in pairs[:5]]
    title = f"{when}: most frequent"
    return tables.table(title, ["Value", "Rows"], rows, numbers=1) if rows else None


def _numbers(value: object) -> np.ndarray:
    found = [number(x) for x in value] if isinstance(value, list) else []
    return np.array([x for x in found if math.isfinite(x)])
