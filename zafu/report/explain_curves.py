"""Curves of an explained model: dependence on columns, and what changed inputs and weights cost."""

from __future__ import annotations

from typing import Any

import numpy as np

from zafu.report.chart import Frame, framed, grid
from zafu.report.curves import Gap, Line, curves, differences
from zafu.report.element import Child, Element, h
from zafu.report.folder import mapping, mappings, measurement, number, words
from zafu.report.scale import Axis, linear
from zafu.report.words import bounds, label, quoted, scale, short

COLUMNS, LAYERS = 16, 16  # with a row of their own
LETTERS, NAMED = 7, 12  # of a category's name; categories up to which all are named


def importance(found: dict[str, Any]) -> Element | None:
    """By how much the metric is worse without each column."""
    said = mapping(mapping(found.get("overviews")).get("permutation"))
    metric, score = words(said.get("metric")), measurement(said.get("score"))
    rows: list[Gap] = []
    for row in mappings(said.get("columns")):
        if worse := measurement(row.get("worse")):
            rows.append(Gap(words(row.get("name")), 0, worse.value, *bounds(worse)))
    if not rows or score is None:
        return None
    rows.sort(key=lambda gap: -gap.value)
    text = (
        f"By how much {label(metric)} ({quoted(metric, score)}) is worse when a column is that of "
        "other rows. Of two columns that say the same each hides what the other is worth."
    )
    figure = h("figure", differences("permutation importance", rows[:COLUMNS], places=3))
    return h("section", h("h2", "Which columns the model needs"), h("p.lead", text), figure)


def dependence(found: dict[str, Any]) -> Element | None:
    """The mean answer along each column, with lines of single rows."""
    said = mapping(mapping(found.get("overviews")).get("partial-dependence"))
    shown = [drawn for row in mappings(said.get("columns")) if (drawn := _dependence(row))]
    if not shown:
        return None
    output = words(said.get("output"))
    classes = words(found.get("task")) == "classification"
    what = f"The probability of {output}" if classes else f"The predicted {output}"
    text = (
        f"{what} as one column changes and all others stay: the mean over "
        f"{short(number(said.get('rows')))} held-out rows with the 95 % band of its form, pale "
        "lines of single rows, and below how often values occur."
    )
    return h("section", h("h2", "How the answer depends on a column"), h("p.lead", text),
             h("div.trio", shown))  # fmt: skip


def _dependence(row: dict[str, Any]) -> Element | None:
    mean, lines = array(row.get("mean")), array(row.get("lines"), 2)
    low, high = array(row.get("low")), array(row.get("high"))
    labels = row.get("labels")
    names = [words(x) for x in labels] if isinstance(labels, list) else []
    places = np.arange(len(names), dtype=float) if names else array(row.get("places"))
    if len(mean) < 2 or not len(mean) == len(places) == len(low) == len(high):
        return None
    inner = lines if lines.shape[1] == len(mean) else mean[None]
    y = linear(np.concatenate([np.quantile(inner, [0.02, 0.98]), low, high]), 4)
    x = Axis(-0.5, len(names) - 0.5, ()) if names else _exact(places)
    frame = framed(x, y, width=300, height=190)
    inside: list[Child] = [grid(frame), _shares(frame, row, len(names))]
    for line in inner:
        inside.append(h("path.single", {"d": _path(frame, places, np.clip(line, y.low, y.high))}))
    inside += (
        _named(frame, names, mean, (low, high))
        if names
        else _curve(frame, places, mean, (low, high))
    )
    shape = {"viewBox": f"0 0 300 {frame.height + 8:g}", "role": "img"}
    name = words(row.get("name"))
    said = f"{name}: {short(float(mean.min()))} to {short(float(mean.max()))}"
    return h("figure", h("figcaption", h("strong.path", name)),
             h("svg.chart.dependence", shape, h("title", said), inside))  # fmt: skip


def _exact(places: np.ndarray) -> Axis:
    """From the first to the last place, with round ticks between."""
    low, high = float(places.min()), float(places.max())
    ticks = tuple(t for t in linear(places, 3).ticks if low <= t <= high)
    return Axis(low, high if high > low else low + 1, ticks)


def _curve(frame: Frame, x: np.ndarray, mean: np.ndarray, around: tuple[Any, Any]) -> list[Child]:
    ends = np.concatenate([x, x[::-1]]), np.concatenate([around[1], around[0][::-1]])
    band = h("path.band", {"d": _path(frame, *ends) + "Z"})
    return [band, h("path.line", {"d": _path(frame, x, mean)})]


def _named(
    frame: Frame, names: list[str], mean: np.ndarray, around: tuple[Any, Any]
) -> list[Child]:
    inside: list[Child] = []
    every = -(-len(names) // NAMED)
    for at, name in enumerate(names):
        a = float(frame.across(np.array(float(at))))
        ends = frame.down(np.array([around[0][at], around[1][at], mean[at]])).tolist()
        inside.append(h("line.whisker", {"x1": a, "x2": a, "y1": ends[0], "y2": ends[1]}))
        inside.append(h("circle.dot", {"cx": a, "cy": ends[2], "r": 3.2}, h("title", name)))
        if at % every == 0:
            cut = name if len(name) <= LETTERS else name[: LETTERS - 1] + "…"
            place = {"x": a, "y": frame.height - 6, "text-anchor": "middle"}
            inside.append(h("text", place, cut))
    return inside


def _shares(frame: Frame, row: dict[str, Any], many: int) -> Element | None:
    """How often values occur, as bars on the horizontal axis."""
    shares = array(row.get("shares"))
    edges = np.arange(many + 1) - 0.5 if many else array(row.get("edges"))
    if not len(shares) or len(edges) != len(shares) + 1:
        return None
    base, most = frame.height - 22, max(float(shares.max()), 1e-9)
    across = frame.across(edges)
    bars: list[Child] = []
    for at, share in enumerate(shares.tolist()):
        tall = 34 * max(share, 0) / most
        wide = max(float(across[at + 1] - across[at]) - 0.6, 0.4)
        place = {"x": float(across[at]) + 0.3, "width": wide, "y": base - tall, "height": tall}
        bars.append(h("rect.share", place))
    return h("g", bars)


def _path(frame: Frame, x: np.ndarray, y: np.ndarray) -> str:
    points = zip(frame.across(x).tolist(), frame.down(y).tolist(), strict=True)
    return "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in points)


def inputs(found: dict[str, Any]) -> Element | None:
    """The metric as samples are changed more and more."""
    said = mapping(mapping(found.get("overviews")).get("input-sensitivity"))
    metric = words(said.get("metric"))
    rows = [(row, _scores(row, metric)) for row in mappings(said.get("curves"))]
    rows = [(row, line) for row, line in rows if line is not None]
    if not rows:
        return None
    every = np.concatenate([v for _, line in rows for v in (line.y, line.low, line.high)])
    y = linear(every, 4)
    shown: list[Child] = []
    for row, line in rows:
        name = words(row.get("name"))
        caption = h(
            "figcaption",
            h("strong", name.replace("-", " ")),
            h("span", f"up to this {words(row.get('setting'))}"),
        )
        shown.append(
            h("figure", caption, curves(name, [line], _exact(line.x), y, mark=float(line.y[0])))
        )
    text = (
        f"The {label(metric)} on {short(number(said.get('samples')))} held-out samples as each is "
        "changed at random up to a strength, with its 95 % interval; dashed: as they are."
    )
    return h("section", h("h2", "How much change the answers bear"), h("p.lead", text),
             h("div.trio", shown))  # fmt: skip


def _scores(row: dict[str, Any], metric: str) -> Any:
    points = mappings(row.get("points"))
    found = [(number(p.get("strength")), measurement(p.get("score"))) for p in points]
    known = [(at, m) for at, m in found if m is not None and np.isfinite(at)]
    if len(known) < 2:
        return None
    factor = scale(metric, known[0][1])
    values = np.array([[m.value, *bounds(m)] for _, m in known]) * factor
    x = np.array([at for at, _ in known])
    return Line(words(row.get("name")), 0, x, values[:, 0], values[:, 1], values[:, 2], dots=True)


def layers(found: dict[str, Any]) -> Element | None:
    """How much the loss grows when the weights of one layer are changed."""
    said = mapping(mapping(found.get("overviews")).get("layer-sensitivity"))
    rows, start = mappings(said.get("layers")), measurement(said.get("loss"))
    if not rows or start is None:
        return None
    ways = {
        "noise": f"noise of {number(said.get('noise')):.0%} of the spread of its weights",
        "rounded": f"rounded to {words(said.get('bits'))} bits",
    }
    shown: list[Child] = []
    for hue, (way, text) in enumerate(ways.items()):
        gaps = [
            Gap(words(row.get("name")), hue, one.value, *bounds(one))
            for row in rows
            if (one := measurement(row.get(way)))
        ]
        gaps.sort(key=lambda gap: -gap.value)
        if gaps:
            figure = differences(way, gaps[:LAYERS], places=4)
            shown.append(h("figure", h("figcaption", h("strong", way), h("span", text)), figure))
    lead = (
        f"By how much the loss ({quoted('loss', start)} on held-out samples) grows when one layer "
        "alone is changed, with its 95 % interval; those that suffer most."
    )
    return h(
        "section", h("h2", "Which weights must be exact"), h("p.lead", lead), h("div.grid", shown)
    )


def array(value: Any, dims: int = 1) -> np.ndarray:
    """Numbers of plain data as an array of so many dims, nan as 0; empty where they are none."""
    try:
        found = np.nan_to_num(np.array(value, np.float64))
    except (TypeError, ValueError, OverflowError):
        found = np.zeros(())
    return found if found.ndim == dims and found.size else np.zeros((0,) * dims)
