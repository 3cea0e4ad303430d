"""What a fused model is made of: its members beside it, what they cost, and how they differ."""

from __future__ import annotations

import math
from typing import Any

from zafu.report import tables
from zafu.report.element import Child, Element, h
from zafu.report.figures import whiskers
from zafu.report.folder import Folder, mapping, mappings, measurement, number, scores, words
from zafu.report.words import NARROW, bare, better_when_higher, label, short, unit
from zafu.units import Bytes

DRAWN = 4  # most metrics with a figure of their own
PAIRS = 20  # most members whose pairs are shown
SAID = {
    "better": "better than",
    "worse": "worse than",
    "not shown": "not shown to differ from",
}


def fusion(folder: Folder) -> Element | None:
    """Members and the fused model: scores with whiskers, costs, disagreement, and what was chosen.

    None for a run that was trained.
    """
    found, members = folder.fusion, mappings(folder.fusion.get("members"))
    if not members:
        return None
    notes = found.get("notes")
    said = [words(note) for note in notes] if isinstance(notes, list) else []
    return h(
        "section",
        h("h2", "Fusion"),
        h("p.lead", _verdict(found)),
        h("div.grid", _figures(found, members)),
        _members(found, members),
        _pairs(found, members),
        h("ul.aside", [h("li", f"{note[:1].upper()}{note[1:]}.") for note in said]),
    )


def _verdict(found: dict[str, Any]) -> list[Child]:
    """What was made, and whether it is better than the best of its members."""
    way, means = words(found.get("how")), words(found.get("means"))
    made: list[Child] = [h("strong", way), f": {means}. "]
    effect, metric = mapping(found.get("effect")), words(found.get("metric"))
    size, verdict = measurement(effect.get("size")), words(found.get("verdict"))
    if size is None or verdict not in SAID:
        return made
    percent = unit(metric, size) == "%"
    times, sign = (100, " points") if percent else (1, f" {size.unit}".rstrip())
    between = ""
    if size.low is not None and size.high is not None:
        between = f" [{_signed(size.low * times)}, {_signed(size.high * times)}]"
    gap = f"{_signed(size.value * times)}{sign}{between}"
    p = number(effect.get("p"))
    chance = f", p{NARROW}={NARROW}{p:.2g}" if math.isfinite(p) else ""
    best = words(found.get("best"))
    return [
        *made,
        "The fused model is ",
        h("strong", f"{SAID[verdict]} {best}"),
        f", its best member: {label(metric)} {gap}{chance} ({size.how}).",
    ]


def _figures(found: dict[str, Any], members: list[dict[str, Any]]) -> list[Element]:
    own = scores(mapping(found.get("fused")).get("scores"))
    first = words(found.get("metric"))
    names = [first, *(name for name in ("loss", "ece", "rmse", "accuracy") if name != first)]
    drawn = list[Element]()
    for name in [name for name in names if name in own][:DRAWN]:
        rows = [("fused", own[name])]
        for member in members:
            if (of := scores(member.get("scores")).get(name)) is not None:
                rows.append((words(member.get("name")), of))
        higher = better_when_higher(name)
        way = "" if higher is None else f"{'higher' if higher else 'lower'} is better"
        said = ", ".join(filter(None, [unit(name, own[name]), way]))
        caption = h("figcaption", h("strong", label(name)), h("span", said))
        drawn.append(h("figure", caption, whiskers(name, rows)))
    return drawn


def _members(found: dict[str, Any], members: list[dict[str, Any]]) -> Element:
    metric = words(found.get("metric"))
    rows = [_row(words(m.get("name")), m, metric, words(m.get("kind"))) for m in members]
    rows.append(_row("fused", mapping(found.get("fused")), metric, ""))
    heads = ["Model", "Share", label(metric).capitalize(), "Weights", "1 sample", "32 samples"]
    return tables.table(
        "Members and the fused model: bytes and number of weights, median time of a forward pass",
        heads,
        rows,
        numbers=5,
    )


def _row(name: str, of: dict[str, Any], metric: str, kind: str) -> list[Child]:
    cost = mapping(of.get("cost"))
    latency, weight = mapping(cost.get("latency")), number(of.get("weight"))
    score = scores(of.get("scores")).get(metric)
    parameters, size = number(cost.get("parameters")), number(cost.get("bytes"))
    return [
        h("span", name, h("small", f" {kind}") if kind else None),
        f"{weight:.3g}" if math.isfinite(weight) else "",
        _split(bare(metric, score)) if score else "–",
        h("span", str(Bytes(int(size))), h("small", f" {short(parameters)}"))
        if math.isfinite(size)
        else "–",
        _time(latency.get("1")),
        _time(latency.get("32")),
    ]


def _split(text: str) -> Element:
    """A value, and its interval in small letters."""
    value, bracket, rest = text.partition("[")
    return h("span", value, h("small", bracket + rest) if bracket else None)


def _time(value: object) -> Child:
    of = measurement(value)
    if of is None:
        return "–"
    bounds = None
    if of.low is not None and of.high is not None:
        bounds = h("small", f" [{of.low:.3g}, {of.high:.3g}]")
    return h("span", f"{of.value:.3g}{NARROW}{of.unit}", bounds)


def _pairs(found: dict[str, Any], members: list[dict[str, Any]]) -> Element | None:
    """How each two members differ."""
    said = mapping(found.get("diversity"))
    pairs, measure = said.get("pairs"), words(said.get("measure"))
    many = len(members)
    if not isinstance(pairs, list) or len(pairs) != many or many > PAIRS:
        return None
    percent = measure == "disagreement"
    rows: list[list[Child]] = []
    for index, (member, row) in enumerate(zip(members, pairs, strict=True)):
        cells = [number(x) for x in row] if isinstance(row, list) else []
        shown = [_share(x, percent) if at != index else "" for at, x in enumerate(cells)]
        rows.append([h("span", f"{index + 1}  {words(member.get('name'))}"), *shown])
    what = "share of samples that one of the two alone has right" if percent else "of two members"
    table = tables.table(
        f"{measure.capitalize()}: {what}",
        ["Member", *(str(n + 1) for n in range(many))],
        rows,
        numbers=many,
    )
    any_right = measurement(said.get("any_right"))
    note = None
    if any_right:
        note = f"At least one member is right on {bare('accuracy', any_right)} of the samples: "
        note += "a majority can do no better."
    return h("div", table, h("p.aside", note) if note else None)


def _share(value: float, percent: bool) -> str:
    if not math.isfinite(value):
        return "–"
    return f"{value * 100:.1f}{NARROW}%" if percent else f"{value:.2f}"


def _signed(value: float) -> str:
    return f"{value + 0.0:+.3g}".replace("-", "−") if value else "0"
