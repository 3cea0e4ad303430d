"""How the model learned, and where the time went."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zafu.report import tables
from zafu.report.chart import Series, chart
from zafu.report.element import Child, Element, h
from zafu.report.figures import shares, swatch
from zafu.report.folder import Evaluation, Folder, mapping, number, words
from zafu.report.scale import smooth
from zafu.report.words import bare, contest, label, scale, short, unit
from zafu.units import Seconds

FEW = 40  # points from which a line is smoothed
SHOWN = 60  # most evaluations in the table


def learning(folder: Folder) -> Element | None:
    """Curves over steps: the loss large, the rest small; evaluations in numbers below."""
    columns = folder.columns
    if not len(columns["step"]) and not folder.evaluations:
        return None
    small = [_main(folder), *_small(folder)]
    return h(
        "section",
        h("h2", "Learning"),
        _loss(folder),
        h("div.grid", small),
        _evaluations(folder),
    )


def time(folder: Folder) -> Element | None:
    """A bar of what the run's seconds were spent on, and the same in numbers."""
    parts = _spent(folder)
    whole = sum(seconds for _, seconds in parts)
    if not whole:
        return None
    rows = [
        [h("span", swatch(at), name), str(Seconds(seconds)), f"{seconds / whole:.1%}"]
        for at, (name, seconds) in enumerate(parts)
        if seconds > 0
    ]
    return h(
        "section",
        h("h2", "Where the time went"),
        shares("Shares of the run's time", parts),
        tables.table(f"{Seconds(whole)} in all", ["Part", "Time", "Share"], rows, numbers=2),
    )


def _loss(folder: Folder) -> Element | None:
    columns = folder.columns
    x, y = columns["step"], columns["loss"]
    points = _points("validation", "loss", folder.evaluations)
    if not len(x) and not points:
        return None
    series = [*_lines("training loss", x, y), *points]
    unit = next((e.scores["loss"].unit for e in folder.evaluations if "loss" in e.scores), "")
    title = _said("Loss", y[np.isfinite(y)])
    keys = [("raw", "training"), ("line", "smoothed")] if len(x) >= FEW else [("line", "training")]
    if points:
        keys.append(("point", "validation"))
    note = _not_finite(x, y)
    if not points and not np.isfinite(y).any():
        return h("p.message.failed", note)
    wide = chart(title, series, width=820, height=290)
    narrow = chart(title, series, width=400, height=240)
    smoothing = number(mapping(folder.recipe.get("task")).get("label_smoothing"))
    aside = "Label smoothing raises the training loss, but not the validation loss."
    legend = [h("span.key", h(f"i.{kind}", {"aria-hidden": "true"}), name) for kind, name in keys]
    return h(
        "figure.loss",
        h("figcaption", h("strong", "Loss"), h("span", unit) if unit else None, legend),
        h("div.wide", wide),
        h("div.narrow", narrow),
        h("p.note", note) if note else None,
        h("p.aside", aside) if smoothing > 0 and points else None,
    )


def _not_finite(x: np.ndarray, y: np.ndarray) -> str:
    wrong = np.flatnonzero(~np.isfinite(y))
    if not len(wrong):
        return ""
    first = f"The loss is not a finite number at step {short(float(x[wrong[0]]))}"
    more = f", nor at {len(wrong) - 1:,} of the later ones" if len(wrong) > 1 else ""
    return f"{first}{more}."


def _main(folder: Folder) -> Element | None:
    """The main metric on the validation split, if it is not the loss."""
    names = [name for e in folder.evaluations for name in e.scores]
    if not names:
        return None
    final = contest(folder)
    wished = words(mapping(folder.recipe.get("evaluate")).get("metric"))
    metric = next(n for n in (wished, final.metric if final else "", names[0]) if n in names)
    points = _points("validation", metric, folder.evaluations)
    if metric == "loss" or not points:
        return None
    one = next(e.scores[metric] for e in folder.evaluations if metric in e.scores)
    factor = scale(metric, one)
    scaled = [
        Series(p.name, p.kind, p.x, *(v * factor for v in (p.y, p.low, p.high) if v is not None))
        for p in points
    ]
    line = Series("", "line", scaled[0].x, scaled[0].y)
    said = " ".join(filter(None, ["validation,", unit(metric, one)])).rstrip(",")
    return _figure(label(metric).capitalize(), said, [line, *scaled])


def _small(folder: Folder) -> list[Element | None]:
    columns = folder.columns
    x, seconds = columns["step"], columns["seconds"]
    tokens = np.isfinite(columns["tokens"]).any()
    done = columns["tokens"] if tokens else columns["samples"]
    speed = np.where(seconds > 0, done / np.where(seconds > 0, seconds, 1), np.nan)
    of = "tokens" if tokens else "samples"
    return [
        _figure("Throughput", f"{of} a second", _lines("throughput", x, speed), zero=True),
        _figure("Learning rate", "", [Series("", "line", x, columns["lr"])], zero=True),
        _figure("Gradient norm", "before clipping", _lines("norm", x, columns["grad_norm"])),
        _weights(folder, ("norm", "weight_norm"), "Norm of the weights"),
        _weights(folder, ("zeros", "zero_share"), "Share of weights that are 0"),
    ]


def _weights(folder: Folder, names: Sequence[str], title: str) -> Element | None:
    found = [(e.step, e.weights[n]) for e in folder.evaluations for n in names if n in e.weights]
    x, y = np.array([s for s, _ in found], float), np.array([v for _, v in found], float)
    if len(found) < 2 or not np.nan_to_num(y).any():
        return None
    zero = "zeros" in names
    return _figure(title, "", [Series("", "line", x, y), Series("", "points", x, y)], zero=zero)


def _figure(
    name: str, said: str, series: Sequence[Series], *, zero: bool = False
) -> Element | None:
    if max(int(np.isfinite(s.y).sum()) for s in series) < 2:
        return None
    y = series[-1].y
    caption: list[Child] = [h("strong", name), h("span", said) if said else None]
    title = _said(name, y[np.isfinite(y)])
    return h("figure", h("figcaption", caption), chart(title, series, zero=zero))


def _said(name: str, y: np.ndarray) -> str:
    """A curve in words, for those who do not see it."""
    if not len(y):
        return f"{name}: no finite value"
    ends = f"from {short(float(y[0]))} to {short(float(y[-1]))}"
    return f"{name}: {ends}, lowest {short(float(y.min()))}, highest {short(float(y.max()))}"


def _lines(name: str, x: np.ndarray, y: np.ndarray) -> list[Series]:
    if len(x) < FEW:
        return [Series(name, "line", x, y)]
    return [Series(name, "raw", x, y), Series(f"{name}, smoothed", "line", x, smooth(y))]


def _points(split: str, metric: str, evaluations: Sequence[Evaluation]) -> list[Series]:
    found = [(e.step, e.scores[metric]) for e in evaluations if metric in e.scores]
    if not found:
        return []
    rows = [
        (s, m.value, m.value if m.low is None else m.low, m.value if m.high is None else m.high)
        for s, m in found
    ]
    x, y, low, high = np.array(rows, float).T
    return [Series(split, "points", x, y, low, high)]


def _evaluations(folder: Folder) -> Element | None:
    rated = [e for e in folder.evaluations if e.scores]
    if not rated:
        return None
    metrics = list(dict.fromkeys(name for e in rated for name in e.scores))
    every = -(-len(rated) // SHOWN)
    chosen = rated[::-1][::every][::-1]  # always with the last one
    rows = [
        [
            h("span", short(e.step)),
            *(bare(m, e.scores[m]) if m in e.scores else "–" for m in metrics),
        ]
        for e in chosen
    ]
    units = {m: e.scores[m].unit for e in rated for m in e.scores}
    heads = ["Step", *(", ".join(filter(None, (label(m), units[m]))) for m in metrics)]
    caption = f"Evaluations on the {rated[-1].split or 'validation'} split"
    inside = tables.table(caption, heads, rows, numbers=len(metrics))
    return h("details", h("summary", f"Evaluations in numbers ({len(rated)})"), inside)


def _spent(folder: Folder) -> list[tuple[str, float]]:
    """Seconds by part. What steps do beyond reading and updating is forward and backward."""
    total = {name: _sum(folder.columns[name]) for name in folder.columns}
    save = folder.spent["save"] + total["seconds_save"]
    evaluate = folder.spent["evaluate"] + total["seconds_evaluate"]
    named = total["seconds_data"] + total["seconds_update"]
    inside = total["seconds_save"] + total["seconds_evaluate"]
    compute = total["seconds_forward_backward"] or max(0.0, total["seconds"] - named - inside)
    parts = [
        ("reading data", total["seconds_data"]),
        ("forward and backward", compute),
        ("update", total["seconds_update"]),
        ("saving", save),
        ("evaluation", evaluate),
    ]
    whole = max(number(folder.status.get("seconds")), total["seconds"])
    return [*parts, ("other", max(0.0, whole - sum(seconds for _, seconds in parts)))]


def _sum(values: np.ndarray) -> float:
    return float(values[np.isfinite(values) & (values > 0)].sum())
