"""What a chain of compression has saved and cost: the model before and after each of its links."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from zafu.measure import Measurement
from zafu.report import choice, tables
from zafu.report.element import Child, Element, h
from zafu.report.folder import Folder, mapping, mappings, measurement, number, scores, words
from zafu.report.pareto import Point, pareto
from zafu.report.scale import TINY
from zafu.report.spreads import Spread, spread, spreads, suffering
from zafu.report.words import NARROW, bare, better_when_higher, figure, gap, label, meet
from zafu.units import Bytes, Count

MOST = 24  # rows that are shown
TIMED = {"1": "1 sample", "32": "32 samples", "token": "a token"}
ALIKE = 1.05  # times up to which memory, of which no interval is known, is as it was
FAR, NEAR = 10.0, 2.0  # times the limit from which, and up to which, it says something
OPEN = "not shown"  # of a difference in time
Pace = tuple[str, str]  # words, and their class: right, wrong or none


class Row(NamedTuple):
    """A model of the chain."""

    name: str
    kind: str  # of its link
    settings: dict[str, Any]
    score: Measurement | None
    against: Measurement | None  # the metric less that before
    size: float  # bytes on disk; NaN where unknown, as all numbers
    peak: float
    times: dict[str, Measurement]  # milliseconds of what TIMED names
    weights: Spread | None
    sensitivity: Any


def compression(folder: Folder) -> Element | None:
    """The chain as a sentence, a table and pictures; None for a run that is the end of none."""
    found = folder.compression
    if found.get("question"):
        return choice.section(found)
    plain = mappings(found.get("rows"))[:MOST]
    if not plain:
        return None
    metric = _metric(found, plain)
    rows = [_row(row, metric) for row in plain]
    notes = found.get("notes")
    said = [words(note) for note in notes] if isinstance(notes, list) else []
    told = found.get("higher_is_better")
    higher = told if isinstance(told, bool) else better_when_higher(metric) is not False
    weights = [row.weights for row in rows if row.weights]
    return h(
        "section",
        h("h2", "Compression"),
        h("p.lead", _lead(rows, metric, higher=higher)),
        _table(rows, metric, words(found.get("split"))),
        h("ul.aside", [h("li", f"{note[:1].upper()}{note[1:]}.") for note in said]),
        _planes(rows, metric, higher=higher),
        _spread(weights),
        _suffering(rows),
        _limit(rows, number(found.get("bandwidth"))),
        _settings(rows),
    )


def _metric(found: dict[str, Any], plain: Sequence[dict[str, Any]]) -> str:
    """The metric that the file names, or the first that the last model has."""
    metric, own = words(found.get("metric")), scores(plain[-1].get("scores"))
    return metric if metric in own or not own else next(iter(own))


def _row(plain: dict[str, Any], metric: str) -> Row:
    link, name = mapping(plain.get("link")), words(plain.get("name"))
    latency = mapping(mapping(plain.get("cost")).get("latency"))
    timed = {size: measurement(latency.get(size)) for size in ("1", "32")}
    timed["token"] = measurement(plain.get("decoding"))
    against = [x for x in mappings(plain.get("against")) if words(x.get("metric")) == metric]
    return Row(
        name=name,
        kind=words(link.get("kind")) or name,
        settings={key: value for key, value in link.items() if key != "kind"},
        score=scores(plain.get("scores")).get(metric),
        against=measurement(against[0].get("difference")) if against else None,
        size=number(plain.get("bytes")),
        peak=number(mapping(plain.get("memory")).get("peak")),
        times={size: of for size, of in timed.items() if of and of.value > TINY},
        weights=spread(name, plain),
        sensitivity=plain.get("sensitivity"),
    )


def _lead(rows: Sequence[Row], metric: str, *, higher: bool) -> list[Child]:
    """What one would quote: how much smaller, how much faster, and what was lost."""
    first, last = rows[0], rows[-1]
    if len(rows) < 2:
        return ["Nothing was measured after the model before."]
    through = " > ".join(row.kind for row in rows[1:])
    said: list[Child] = [h("strong", through), " makes the model "]
    (much, _), to = _ratio(first.size, last.size, "smaller", "larger"), _bytes(last.size)
    parts: list[list[Child]] = []
    if much:
        parts.append([h("strong", _spelled(much)), f" on disk ({_bytes(first.size)} to {to})"])
    for size in TIMED:
        pace, kind = _pace(first, last, size)
        if pace:
            parts.append(
                [h(f"strong.{kind}" if kind else "strong", _spelled(pace)), f" for {TIMED[size]}"]
            )
    for index, part in enumerate(parts):
        said += [("" if not index else " and " if index == len(parts) - 1 else ", "), *part]
    said = [*said, ". "] if parts else []
    return [*said, *_lost(last, metric, higher=higher)]


def _spelled(pace: str) -> str:
    """What stands below a number of the table, as in a sentence."""
    if pace == OPEN:
        return "not shown to be faster or slower"
    return pace.replace(f"{NARROW}×", " times")


def _lost(last: Row, metric: str, *, higher: bool) -> list[Child]:
    if last.score is None:
        return []
    begin = f"Its {label(metric)} is {bare(metric, last.score)}"
    of = last.against
    if of is None:
        return [f"{begin}."]
    verdict, kind = _verdict(of, higher=higher)
    return [
        f"{begin}, ",
        h(f"strong.{kind}" if kind else "strong", f"{verdict} before"),
        f": {gap(metric, of)} ({of.how}).",
    ]


def _verdict(of: Measurement, *, higher: bool) -> Pace:
    if of.low is None or of.high is None or of.low <= 0 <= of.high:
        return "not shown to differ from", ""
    return ("better than", "right") if (of.value > 0) == higher else ("worse than", "wrong")


def _ratio(before: float, own: float, less: str, more: str) -> Pace:
    """How many times less or more, with its word; nothing where a number is missing."""
    if not (before > TINY and own > TINY):
        return "", ""
    times = max(before / own, own / before)
    if times < 1.005:
        return f"no {less}", ""
    said = f"{figure(times, 2 if times < 1.995 else 1 if times < 99.95 else 0)}{NARROW}×"
    return (f"{said} {less}", "right") if own < before else (f"{said} {more}", "wrong")


def _memory(before: float, own: float) -> Pace:
    if before > TINY and own > TINY and 1 / ALIKE < own / before < ALIKE:
        return "as before", ""
    return _ratio(before, own, "less", "more")


def _pace(first: Row, own: Row, size: str) -> Pace:
    """How many times faster or slower, where the intervals of the two medians do not meet."""
    before, after = first.times.get(size), own.times.get(size)
    if before is None or after is None:
        return "", ""
    if meet(before, after):
        return OPEN, ""
    return _ratio(before.value, after.value, "faster", "slower")


def _table(rows: Sequence[Row], metric: str, split: str) -> Element:
    """A row a model; under each number how it is beside that of the model before."""
    timed = [size for size in TIMED if any(size in row.times for row in rows)]
    heads = ["Model", label(metric).capitalize(), "Difference", "On disk", "Peak memory"]
    heads += [*(TIMED[size].capitalize() for size in timed), "Weights"]
    body = [list(_cells(row, rows[0], metric, timed)) for row in rows]
    caption = (
        f"On the {split or 'test'} split, with 95{NARROW}% intervals. Memory: by what a fresh "
        "process grows until it has answered. Times: medians of forward passes, taken in turn"
    )
    return h("div.chain", tables.table(caption, heads, body, numbers=len(heads) - 1))


def _cells(row: Row, first: Row, metric: str, timed: Sequence[str]) -> Iterator[Child]:
    yield row.name
    value, bracket, rest = bare(metric, row.score).partition("[") if row.score else ("–", "", "")
    yield _stack(value, bracket + rest)
    if row is first:
        yield ""
    else:
        less, bracket, rest = (
            gap(metric, row.against).partition("[") if row.against else ("–", "", "")
        )
        yield _stack(less, bracket + rest)
    size, peak = _ratio(first.size, row.size, "smaller", "larger"), _memory(first.peak, row.peak)
    yield _stack(_bytes(row.size), *(size if row is not first else ()))
    yield _stack(_bytes(row.peak), *(peak if row is not first else ()))
    for size in timed:
        of = row.times.get(size)
        said = f"{of.value:.3g}{NARROW}{of.unit}" if of else "–"
        yield _stack(said, *(_pace(first, row, size) if row is not first else ()))
    of = row.weights
    zeros = f"{of.zeros * 100:.2g}{NARROW}% zero" if of and of.zeros else ""
    yield _stack(str(Count(int(of.total))) if of else "–", zeros)


def _stack(said: str, below: str = "", kind: str = "") -> Element:
    """A value, and what is to be said of it in small letters below."""
    return h("span.stack", said.strip(), h(f"small.{kind}" if kind else "small", below))


def _bytes(value: float) -> str:
    return str(Bytes(int(value))) if value >= 0 else "–"


def _planes(rows: Sequence[Row], metric: str, *, higher: bool) -> Element | None:
    """The metric against what is paid for it, by size and by time."""
    paid = {("size", "bytes on disk"): [row.size for row in rows]}
    size = "token" if any("token" in row.times for row in rows) else "32"
    own = [row.times[size].value if size in row.times else math.nan for row in rows]
    paid["time", f"milliseconds for {TIMED[size]}"] = own
    way = f"{'upper' if higher else 'lower'} left is better"
    found = list[Child]()
    for (what, cost), values in paid.items():
        points = [
            Point(row.name, value, row.score, before=not index)
            for index, (row, value) in enumerate(zip(rows, values, strict=True))
            if row.score
        ]
        drawn = pareto(metric, points, cost, higher=higher)
        if drawn:
            head = h("strong", f"{label(metric)} and {what}")
            found.append(h("figure", h("figcaption", head, h("span", way)), drawn))
    said = (
        f"Whiskers are 95{NARROW}% intervals; the line is the Pareto front, the best value that "
        "is had for so much. The open circle is the model before. What costs the same is drawn "
        "side by side."
    )
    return h("div", h("div.grid", found), h("p.aside", said)) if found else None


def _spread(found: Sequence[Spread]) -> Element | None:
    drawn = spreads(found)
    if drawn is None:
        return None
    said = (
        "Share of weights by their value; the line is the model before. Weights that are 0 are "
        "counted and not drawn; what lies further out is in the last bins."
    )
    return h("div", h("h3", "Weights"), drawn, h("p.aside", said))


def _suffering(rows: Sequence[Row]) -> Element | None:
    found = [drawn for row in rows if (drawn := suffering(row.name, row.sensitivity))]
    return h("div", h("h3", "Layers"), h("div.grid", found)) if found else None


def _limit(rows: Sequence[Row], bandwidth: float) -> Element | None:
    """How long the weights take to be read, beside how long an answer takes."""
    size = "token" if any("token" in row.times for row in rows) else "1"
    body: list[list[Child]] = []
    last = math.nan
    for row in rows:
        of = row.times.get(size)
        if of is None or not (bandwidth > TINY and row.size > TINY):
            continue
        least = row.size / bandwidth * 1000
        last = of.value / least if least > TINY else math.nan
        times = f"{figure(last, 0 if last >= 10 else 1)} times"
        body.append([row.name, _bytes(row.size), _took(least), _took(of.value), times])
    if not body:
        return None
    what = TIMED[size]
    heads = ["Model", "Weights", "Read in", f"{what} takes".capitalize(), "That is"]
    caption = f"Reading the weights once at {_bytes(bandwidth)}/s, as memory was copied here"
    return h(
        "div",
        h("h3", "How fast it could be"),
        tables.table(caption, heads, body, numbers=4),
        h("p.aside", _reading(last, what)),
    )


def _reading(times: float, what: str) -> str:
    said = "No answer comes faster than its weights are read, unless a cache holds them. "
    if times >= FAR:
        return f"{said}Here {what} takes much longer: fewer bytes alone will not make it faster."
    if times <= NEAR:
        return f"{said}Here {what} is close to that: fewer bytes would make it faster."
    return said.strip()


def _took(milliseconds: float) -> str:
    if milliseconds < 0.1:
        return f"{figure(milliseconds * 1000, 2 if milliseconds < 0.01 else 1)}{NARROW}µs"
    return f"{milliseconds:.3g}{NARROW}ms"


def _settings(rows: Sequence[Row]) -> Element | None:
    """What each link was told, for who asks."""
    told: list[tuple[str, Child]] = [
        (row.name, ", ".join(f"{key} {words(value)}" for key, value in row.settings.items()))
        for row in rows
        if row.settings
    ]
    if not told:
        return None
    return h("details", h("summary", "Settings of the links"), tables.definitions(told))
