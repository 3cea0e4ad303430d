"""The top of the page: what the run is, how it ended, and its scores beside the baselines."""

from __future__ import annotations

import math

from zafu.report import tables
from zafu.report.element import Element, h
from zafu.report.figures import whiskers
from zafu.report.folder import Folder, Scores, mapping, number, words
from zafu.report.words import (
    NARROW,
    Contest,
    better_when_higher,
    contest,
    digits,
    headline,
    interval,
    label,
    meet,
    short,
    unit,
    value,
)
from zafu.units import Count, Seconds

STATES = ("running", "interrupted", "failed", "finished")
OWN = "this model"
DRAWN = 4  # metrics that are drawn, beside those that the recipe asks for; the table has all


def header(folder: Folder) -> Element:
    """The name, the state, the sentence to quote, and the run in a few facts."""
    state = words(folder.status.get("state"))
    known = state if state in STATES else "unknown"
    return h(
        "header",
        h(
            "p.eyebrow",
            h("span.name", folder.name),
            " ",
            h(f"span.state.{known}", state or "no status"),
        ),
        h("h1", headline(folder)),
        _bar(folder) if state in ("running", "interrupted") else None,
        _message(folder),
        _faults(folder),
        _facts(folder),
    )


def results(folder: Folder) -> Element | None:
    """The metrics beside the baselines, the main ones drawn, all in numbers."""
    final = contest(folder)
    if not final:
        return None
    metrics = [final.metric, *(name for name in final.model if name != final.metric)]
    asked = [name for name in metrics[DRAWN:] if better_when_higher(name) is None]
    figures = [_figure(name, final) for name in [*metrics[:DRAWN], *asked]]
    file = words(folder.judged.get("file"))
    split = "held-out test" if final.split == "test" else final.split
    measured = f"on {file}" if file else f"on the {split} split"
    return h(
        "section",
        h("h2", "Results"),
        h(
            "p.lead",
            f"Measured {measured}; intervals are at 95{NARROW}%. ",
            "" if file else _judged(final),
        ),
        h("div.grid", figures),
        _table(metrics, final),
    )


def _figure(metric: str, final: Contest) -> Element:
    own, rivals = final.model[metric], final.rivals(metric)
    higher = final.higher.get(metric, better_when_higher(metric))
    higher = final.higher_is_better if metric == final.metric else higher
    way = "" if higher is None or not rivals else f"{'higher' if higher else 'lower'} is better"
    said = ", ".join(filter(None, [unit(metric, own), way]))
    rows = [(OWN, own), *sorted(rivals.items(), key=lambda item: item[1].value)]
    return h(
        "figure",
        h("figcaption", h("strong", label(metric)), h("span", said) if said else None),
        whiskers(metric, rows),
    )


def _table(metrics: list[str], final: Contest) -> Element:
    names = list(final.baselines)
    rows = [
        [
            h("span", label(metric)),
            _cell(metric, final, final.model),
            *(_cell(metric, final, final.baselines[name]) for name in names),
            final.model[metric].unit or "–",
            f"{final.model[metric].n:,}",
            final.model[metric].how,
        ]
        for metric in metrics
    ]
    heads = ["Metric", "This model", *names, "Unit", "n", "Interval by"]
    return tables.table("All scores with their intervals", heads, rows, numbers=len(names) + 1)


def _cell(metric: str, final: Contest, scores: Scores) -> Element:
    of = scores.get(metric)
    if of is None:
        return h("span", "–")
    places = digits(metric, final.model[metric])  # the same in a row
    sign = f"{NARROW}%" if unit(metric, of) == "%" else ""
    between = interval(metric, of, places)
    small = h("small", f" {between}") if between else None
    return h("span", f"{value(metric, of, places)}{sign}", small)


def _judged(final: Contest) -> str:
    rivals = final.rivals(final.metric)
    if not rivals:
        return "There is no baseline to compare with."
    own = final.model[final.metric]
    tied = [name for name, rival in rivals.items() if meet(own, rival)]
    sign = 1 if final.higher_is_better else -1
    won = [n for n, r in rivals.items() if n not in tied and sign * (own.value - r.value) > 0]
    lost = [name for name in rivals if name not in tied and name not in won]
    said = [
        f"better than {_listed(won)}" if won else "",
        f"not clearly different from {_listed(tied)}" if tied else "",
        f"worse than {_listed(lost)}" if lost else "",
    ]
    return f"By {label(final.metric)} the model is {'; '.join(filter(None, said))}."


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _bar(folder: Folder) -> Element | None:
    step, of = number(folder.status.get("step")), number(folder.status.get("of"))
    if not (of > 0 and 0 <= step <= of):
        return None
    said = f"step {short(step)} of {short(of)}"
    shape = {"viewBox": "0 0 800 6", "preserveAspectRatio": "none", "role": "img"}
    back = h("rect.back", {"width": 800, "height": 6, "rx": 3})
    done = h("rect.done", {"width": 800 * step / of, "height": 6, "rx": 3})
    return h("svg.progress", shape, h("title", said), back, done)


def _message(folder: Folder) -> Element | None:
    said = words(folder.status.get("message"))
    failed = folder.status.get("state") == "failed"
    return h("p.message.failed" if failed else "p.message", said) if said else None


def _faults(folder: Folder) -> Element | None:
    if not folder.faults:
        return None
    shown = [h("li", fault) for fault in folder.faults[:10]]
    more = len(folder.faults) - len(shown)
    rest = h("li", f"and {more} more") if more else None
    return h("div.message", h("p", "Parts of this run could not be read:"), h("ul", shown, rest))


def _facts(folder: Folder) -> Element | None:
    recipe, fit = folder.recipe, mapping(folder.recipe.get("fit"))
    parameters, step = number(folder.card.get("parameters")), number(folder.status.get("step"))
    seconds = number(folder.status.get("seconds"))
    facts = [
        ("Task", _kind(recipe.get("task")).replace("-", " ")),
        ("Data", _kind(recipe.get("data"))),
        ("Model", _kind(recipe.get("model"))),
        ("Parameters", str(Count(parameters)) if math.isfinite(parameters) else ""),
        ("Optimizer", _kind(fit.get("optimizer"))),
        ("Steps", short(step) if math.isfinite(step) else ""),
        ("Trained for", str(Seconds(seconds)) if seconds > 0 else ""),
        ("Device", words(folder.environment.get("device"))),
        ("Seed", words(recipe.get("seed"))),
    ]
    known = [h("div", h("dt", name), h("dd", said)) for name, said in facts if said]
    return h("dl.facts", known) if known else None


def _kind(value: object) -> str:
    return value if isinstance(value, str) else words(mapping(value).get("kind"))
