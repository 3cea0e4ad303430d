"""Compressions beside each other in a report: what each takes, and which was chosen."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from zafu.report import tables
from zafu.report.chart import framed, plane
from zafu.report.element import Child, Element, h
from zafu.report.folder import mapping, mappings, measurement, number, words
from zafu.report.scale import axis
from zafu.report.study_figures import value_axis
from zafu.report.words import NARROW, SHARES, figure, label
from zafu.units import Bytes

AXES = {
    "size": "bytes",
    "memory": "bytes of memory while it answers",
    "latency": "milliseconds",
}


def section(found: dict[str, Any]) -> Element | None:
    """Models that were tried, drawn and in a table; None where there are none."""
    rows = mappings(found.get("rows"))
    if not rows:
        return None
    notes = found.get("notes")
    said = [words(note) for note in notes] if isinstance(notes, list) else []
    return h(
        "section",
        h("h2", "Compression"),
        h("p.lead", verdict(found)),
        _drawn(found, rows),
        _table(found, rows),
        h("ul.aside", [h("li", note) for note in said]),
    )


def verdict(found: dict[str, Any]) -> str:
    """What a person would quote."""
    question, metric = found.get("question"), words(found.get("metric"))
    if question == "rivals":
        return (
            f"Methods beside each other at about equal size, each with the same further training "
            f"({words(found.get('recover'))}), judged by {label(metric)} on the "
            f"{words(found.get('split'))} split, paired with the model before."
        )
    if question != "search":
        return "The model before, and after each link of the chain."
    share, target = number(found.get("within")), words(found.get("target"))
    name = words(found.get("pick"))
    row = next((r for r in mappings(found.get("rows")) if r.get("name") == name), {})
    asked = f"by at most {share * 100:.3g}{NARROW}% of its {label(metric)} on the validation split"
    if name == "before":
        return f"No chain made the model better in {target} and worse {asked}: it stays as it is."
    text = (
        f"{name} is the best in {target} of those that are worse {asked}: "
        f"{_gap(metric, mapping(row.get('validation')))} there"
    )
    after = mapping(row.get("test"))
    if not after:
        return f"{text}. There is no test split: the value there, which chose it, is optimistic."
    return (
        f"{text}; {_gap(metric, after)} on the test split, looked at after the choice. "
        "The limit holds for the value: within its interval the loss may be larger."
    )


def _gap(metric: str, said: dict[str, Any]) -> str:
    """A difference with its sign and interval."""
    of = measurement(said.get("difference"))
    if of is None:
        return "–"
    factor, sign = (100, " points") if metric in SHARES else (1, f" {of.unit}".rstrip())
    between = ""
    if of.low is not None and of.high is not None:
        between = f" [{_signed(of.low * factor)}, {_signed(of.high * factor)}]"
    return f"{_signed(of.value * factor)}{sign}{between}"


def _signed(value: float) -> str:
    return f"{value + 0.0:+.3g}".replace("-", "−") if value else "0"


def _said(row: dict[str, Any]) -> dict[str, Any]:
    """The paired difference by which a row is drawn."""
    if "validation" in row:
        return mapping(row.get("validation"))
    against = row.get("against")
    first = mappings(against)[:1] if isinstance(against, list) else [mapping(against)]
    return first[0] if first else {}


def _cost(row: dict[str, Any], target: str) -> float:
    if target == "memory":
        return number(mapping(row.get("memory")).get("peak"))
    if target == "latency":
        latency = mapping(mapping(row.get("cost")).get("latency"))
        return number((mapping(row.get("decoding")) or mapping(latency.get("1"))).get("value"))
    return number(row.get("bytes"))


def _drawn(found: dict[str, Any], rows: list[dict[str, Any]]) -> Element | None:
    """The metric of each against what it takes."""
    target, metric = words(found.get("target")) or "size", words(found.get("metric"))
    factor = 100 if metric in SHARES else 1
    points = [(row, number(_said(row).get("this")) * factor, _cost(row, target)) for row in rows]
    points = [p for p in points if math.isfinite(p[1]) and math.isfinite(p[2])]
    if len(points) < 2:
        return None
    higher = found.get("higher_is_better") is True
    y = value_axis([value for _, value, _ in points], higher=higher)
    frame = framed(axis(np.array([cost for *_, cost in points])), y, width=820, height=300)
    inside: list[Child] = []
    for row, value, cost in points:
        if not y.low <= value <= y.high:
            continue  # it is in the table
        place = {
            "cx": float(frame.across(np.array(cost))),
            "cy": float(frame.down(np.array(value))),
        }
        strong, on = row.get("pick") is True, row.get("front", True) is True
        kind = "circle.chosen" if strong else "circle.sample" if on else "circle.part"
        title = h("title", f"{words(row.get('name'))}: {figure(value, 4)}")
        inside.append(h(kind, {**place, "r": 5.0 if strong else 3.4}, title))
    unit = f"{label(metric)}, %" if factor == 100 else label(metric)
    said = f"{label(metric)} against {AXES.get(target, target)}"
    key = ["large: the pick; full: no other is better in both; hollow: the others"]
    out = sum(not y.low <= value <= y.high for _, value, _ in points)
    keys = [*(key if "pick" in found else []), *([f"{out} far worse are not drawn"] if out else [])]
    caption = h("figcaption", h("strong", said), h("span", "; ".join(keys)))
    return h(
        "figure.loss",
        caption,
        plane(said, frame, inside, across=AXES.get(target, target), down=unit),
    )


def _table(found: dict[str, Any], rows: list[dict[str, Any]]) -> Element:
    metric, search = words(found.get("metric")), found.get("question") == "search"
    spoken = any(row.get("decoding") for row in rows)
    heads = ["Model", label(metric).capitalize(), "Less before", "Bytes", "Memory"]
    heads += ["1 sample", *([] if search else ["32 samples"]), *(["A token"] if spoken else [])]
    heads += ["On test", "Less before"] if search else []
    body = [_row(metric, row, search=search, spoken=spoken) for row in rows]
    caption = "Paired difference to the model before with its 95 % interval; median times"
    return tables.table(caption, heads, body, numbers=len(heads) - 1)


def _row(metric: str, row: dict[str, Any], *, search: bool, spoken: bool) -> list[Child]:
    own = _said(row)
    size, latency = number(row.get("bytes")), mapping(mapping(row.get("cost")).get("latency"))
    peak = number(mapping(row.get("memory")).get("peak"))
    mark = " pick" if row.get("pick") is True else " front" if row.get("front") is True else ""
    share = number(row.get("size"))
    about = f" about {share:.0%}" if math.isfinite(share) else ""
    cells: list[Child] = [
        h("span", words(row.get("name")), h("small", mark + about) if mark + about else None),
        _value(metric, own),
        _gap(metric, own) if row.get("name") != "before" else "",
        str(Bytes(int(size))) if math.isfinite(size) else "–",
        str(Bytes(int(peak))) if math.isfinite(peak) else "",
        _time(latency.get("1")),
        *([] if search else [_time(latency.get("32"))]),
        *([_time(row.get("decoding"))] if spoken else []),
    ]
    if search:
        test = mapping(row.get("test"))
        cells.append(_value(metric, test) if test else "")
        cells.append(_gap(metric, test) if test and row.get("name") != "before" else "")
    return cells


def _value(metric: str, said: dict[str, Any]) -> str:
    value = number(said.get("this"))
    return f"{value * 100:.2f}{NARROW}%" if metric in SHARES else figure(value, 4)


def _time(value: object) -> Child:
    of = measurement(value)
    return "" if of is None else f"{of.value:.3g}{NARROW}{of.unit}"
