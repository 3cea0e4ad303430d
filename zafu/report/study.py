"""The report of a study: one HTML page, under the same policy as that of a run.

It shows what was found and how sure that is, what the search cost, and where in the space good
values lie. Nothing that it is given is trusted.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zafu.measure import Measurement
from zafu.report import tables
from zafu.report.element import Child, Element, h
from zafu.report.folder import mapping, mappings, measurement, number, words
from zafu.report.page import document
from zafu.report.study_figures import by_setting, dots, setting_words, show, spending
from zafu.report.words import bare, digits, figure, label, scale, short
from zafu.units import Seconds

TOP = 12  # candidates in the table
WRONG = 50  # trials without a value that are listed
PARTS = ("search", "confirm")


def page(facts: dict[str, Any]) -> str:
    """The whole page as text, of a study's `study.json`; the same values give the same bytes."""
    sections = [
        _header(facts),
        _candidates(facts),
        _course(facts),
        _settings(facts),
        _schedule(facts),
        _spent(facts),
        _wrong(facts),
        _again(facts),
    ]
    name = words(facts.get("name"))
    return document(f"{name} – zafu", sections, h("footer", h("p", "Made by zafu.")))


def _header(facts: dict[str, Any]) -> Element:
    search = mapping(facts.get("search"))
    about = h("p.eyebrow", h("span", "search"), h("span.name", words(facts.get("name"))))
    said = facts.get("edges")
    edges = [h("li", words(edge)) for edge in said] if isinstance(said, list) else []
    warned = h("div.message", h("ul", edges)) if edges else None
    ledger = mapping(facts.get("ledger"))
    parts = [mapping(ledger.get(name)) for name in PARTS]

    def total(what: str) -> float:
        return sum(max(number(part.get(what)), 0.0) for part in parts if part)

    cells = [
        ("Search", words(search.get("kind"))),
        ("Trials", short(total("trials"))),
        ("Epochs", short(total("epochs"))),
        ("Gradient evaluations", short(total("updates"))),
        ("Time of training", str(Seconds(total("seconds")))),
        ("Diverged", short(total("diverged"))),
    ]
    facts_ = h("dl.facts", [h("div", h("dt", name), h("dd", value)) for name, value in cells])
    return h("header", about, h("h1", _headline(facts)), warned, facts_)


def _headline(facts: dict[str, Any]) -> str:
    """The sentence to quote."""
    winner, metric = mapping(facts.get("winner")), words(facts.get("metric"))
    tried = len({words(trial.get("settings")) for trial in mappings(facts.get("trials"))})
    test, value = measurement(winner.get("test")), measurement(winner.get("confirmed"))
    what = "schedule of a population" if _is_schedule(facts) else f"best of {tried} settings"
    if test or value:
        of = test or value
        where = "the test split" if test else "the validation split, with fresh seeds"
        return f"The {what} has {label(metric)} {bare(metric, of)} on {where}" if of else ""
    searched = _measured(winner.get("searched"))
    return f"The {what} had {label(metric)} {bare(metric, searched)} in the search, unconfirmed"


def _candidates(facts: dict[str, Any]) -> Element | None:
    """The best few, with what the search and fresh seeds said of them."""
    found = mappings(facts.get("confirmed"))[:TOP]
    metric = words(facts.get("metric"))
    if not found:
        return None
    paths = [words(one.get("path")) for one in mappings(facts.get("space"))]
    some = next((m for one in found if (m := measurement(one.get("confirmed")))), None)
    places = digits(metric, some) if some else 3
    heads = ["trial", "in the search", "fresh seeds", *(_short(path) for path in paths)]
    rows: list[list[Child]] = []
    for one in found:
        value, searched = measurement(one.get("confirmed")), _measured(one.get("searched"))
        bad = number(one.get("diverged"))
        note = h("small", f" {bad:.0f} diverged") if bad > 0 else None
        said = bare(metric, value, places) if value else "–"
        settings = mapping(one.get("settings"))
        rows.append(
            [
                words(one.get("trial")),
                bare(metric, searched, places),
                h("span", said, note),
                *(show(settings[path]) if path in settings else "–" for path in paths),
            ]
        )
    caption = f"{label(metric).capitalize()} on the validation split, the best first."
    return h(
        "section",
        h("h2", "The best settings" if not _is_schedule(facts) else "The best schedules"),
        h("p.lead", _optimism(facts)),
        tables.table(caption, heads, rows, numbers=2),
    )


def _optimism(facts: dict[str, Any]) -> str:
    """What became of the search's own first."""
    metric, first = words(facts.get("metric")), mapping(facts.get("first"))
    value, gap = measurement(first.get("confirmed")), measurement(facts.get("optimism"))
    if value is None or gap is None:
        return (
            "Nothing was confirmed: the value of the first is the best of many noisy ones, and so "
            "too good. --confirm 8x6 trains the best few again with fresh seeds."
        )
    factor, places = scale(metric, value), digits(metric, value)
    points = "points" if factor == 100 else ""
    bounds = (
        f" [{figure(gap.low * factor, places)}, {figure(gap.high * factor, places)}]"
        if gap.low is not None and gap.high is not None
        else ""
    )
    size = f"{figure(gap.value * factor, places)}{bounds} {points}".rstrip()
    surely = gap.low is not None and gap.low > 0
    so = f"So the search was too hopeful by {size}."
    if not surely:
        so = f"That it was too hopeful is not shown ({size})."
    searched = bare(metric, _measured(first.get("searched")), places)
    return (
        f"The search said {searched} of its first; with {value.n} fresh seeds it is "
        f"{bare(metric, value)}. {so} The winner has the best mean over fresh seeds; the test "
        "split was looked at once, for the winner alone."
    )


def _course(facts: dict[str, Any]) -> Element | None:
    found, metric = _dots(facts), words(facts.get("metric"))
    if not found or found[-1].spent <= 0:
        return None
    value = measurement(mapping(facts.get("winner")).get("confirmed"))
    level = value.value * scale(metric, value) if value else np.nan
    higher = facts.get("higher_is_better") is True
    drawn = spending(found, label(metric), higher=higher, confirmed=level)
    aside = "The line is the best so far of the trials that went furthest"
    dashed = "; dashed: the winner's mean over fresh seeds." if value else "."
    part = " Open dots are trials that were looked at before their end." if _partly(found) else ""
    return h(
        "section",
        h("h2", "What the epochs bought"),
        h("p.lead", f"{aside}{dashed}{part}"),
        h("figure.loss", drawn),
    )


def _settings(facts: dict[str, Any]) -> Element | None:
    found, metric = _dots(facts), words(facts.get("metric"))
    winner = mapping(mapping(facts.get("winner")).get("settings"))
    higher = facts.get("higher_is_better") is True
    drawn = [
        by_setting(one, found, label(metric), higher=higher, winner=winner)
        for one in mappings(facts.get("space"))
    ]
    figures = [one for one in drawn if one]
    if not figures:
        return None
    lead = (
        "Each dot is a trial, the large one the winner; open ones were looked at before their "
        "end. Marks on the axis are trials that are "
        "far below, or (red) diverged."
    )
    return h("section", h("h2", "Where good values lie"), h("p.lead", lead), h("div.grid", figures))


def _schedule(facts: dict[str, Any]) -> Element | None:
    plan = mapping(facts.get("winner")).get("schedule")
    if not _is_schedule(facts) or not isinstance(plan, list):
        return None
    rows: list[list[Child]] = []
    before = 0.0
    for part in plan:
        until, settings = number(part[0]), mapping(part[1])
        rows.append([f"{before:.0%} to {until:.0%}", setting_words(settings)])
        before = until
    lead = (
        "The settings that led to the winner's weights, which lie in winner/model. Its last "
        "settings alone, from the beginning, make another model."
    )
    table = tables.table("Settings by share of the budget.", ["budget", "settings"], rows)
    return h("section", h("h2", "The schedule"), h("p.lead", lead), table)


def _spent(facts: dict[str, Any]) -> Element:
    heads = ["", "trials", "epochs", "samples", "gradient evaluations", "time", "diverged"]
    rows: list[list[Child]] = []
    for name in PARTS:
        part = mapping(mapping(facts.get("ledger")).get(name))
        if number(part.get("trials")) > 0:
            counts = [short(number(part.get(key))) for key in ("trials", "epochs", "samples")]
            time = str(Seconds(max(number(part.get("seconds")), 0.0)))
            ends = [short(number(part.get("updates"))), time, short(number(part.get("diverged")))]
            rows.append([name, *counts, *ends])
    caption = "Time is of training alone, added up over trials and processes."
    return h("section", h("h2", "What it cost"), tables.table(caption, heads, rows, numbers=6))


def _wrong(facts: dict[str, Any]) -> Element | None:
    found = [t for t in mappings(facts.get("trials")) if t.get("state") in ("diverged", "failed")]
    if not found:
        return None
    states = {"diverged": "diverged", "failed": "refused"}
    rows: list[list[Child]] = [
        [
            words(trial.get("number")),
            states[words(trial.get("state"))],
            setting_words(mapping(trial.get("settings"))),
            words(trial.get("reason")),
        ]
        for trial in found[:WRONG]
    ]
    caption = f"{len(found)} trials without a value; each counts as the worst."
    table = tables.table(caption, ["trial", "", "settings", "why"], rows)
    return h("section", h("h2", "What went wrong"), table)


def _again(facts: dict[str, Any]) -> Element:
    name = words(facts.get("name"))
    lines = [f"zafu train runs/{name}/best.yaml"]
    if _is_schedule(facts):
        lines = [f"zafu evaluate runs/{name}/winner"]
    space: list[tuple[str, Child]] = [
        (words(one.get("path")), _values(one)) for one in mappings(facts.get("space"))
    ]
    return h(
        "section",
        h("h2", "The space, and what comes next"),
        tables.definitions(space),
        h("pre", h("code", "\n".join(lines))),
    )


def _values(one: dict[str, Any]) -> str:
    values, given = one.get("values"), mapping(one.get("given"))
    if isinstance(values, list):
        said = ", ".join(map(show, values))
    else:
        low, high = (show(number(one.get(end))) for end in ("low", "high"))
        said = f"{low} to {high}"
        said += ", by ratio" if one.get("log") is True else ""
        said += f", in steps of {show(number(one.get('step')))}" if one.get("step") else ""
    if given:
        choices = " or ".join(map(show, given.get("values") or ()))
        said += f"; where {words(given.get('path'))} is {choices}"
    return said


def _dots(facts: dict[str, Any]) -> list[Any]:
    metric = words(facts.get("metric"))
    ledger = mapping(mapping(facts.get("ledger")).get("search"))
    samples, epochs = number(ledger.get("samples")), number(ledger.get("epochs"))
    epoch = samples / epochs if epochs > 0 and samples > 0 else 1.0
    factor = scale(metric, _measured(0.0))
    return dots(facts.get("trials"), factor=factor, epoch=epoch)


def _partly(found: list[Any]) -> bool:
    return any(dot.until < 1 for dot in found)


def _is_schedule(facts: dict[str, Any]) -> bool:
    return mapping(facts.get("search")).get("kind") == "population"


def _measured(value: object) -> Measurement:
    found = number(value)
    return Measurement(value=found if np.isfinite(found) else 0.0, n=1, how="one trial")


def _short(path: str) -> str:
    """The last two words of a path."""
    return ".".join(path.split(".")[-2:])
