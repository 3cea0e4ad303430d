"""The report of a recipe's data: one HTML page, under the same policy as that of a run.

It shows what was done to the data and why, what is left, what training knows of the held-out
samples, and samples as a model sees them. Nothing that it is given is trusted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from zafu.report import data_cards, data_distributions
from zafu.report.element import Child, Element, h
from zafu.report.folder import mapping, mappings, number
from zafu.report.page import document
from zafu.report.tint import tinted
from zafu.report.words import short


@dataclass(frozen=True)
class Row:
    """Pictures that belong together, as data URIs, each with a name."""

    title: str
    pictures: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Shown:
    """What the page is made of; whatever is absent is left out."""

    name: str
    recipe: str = ""  # as YAML
    digest: str = ""
    prepare: dict[str, Any] = field(default_factory=dict[str, Any])  # prepare.json
    removed: Sequence[dict[str, Any]] = ()  # lines of removed.jsonl, the first ones
    limits: dict[str, Any] = field(default_factory=dict[str, Any])  # data.leaks
    pictures: Sequence[Row] = ()
    texts: Sequence[Sequence[tuple[str, bool]]] = ()  # pieces, true where one was changed
    rows: Sequence[dict[str, Any]] = ()  # samples of a table


def page(shown: Shown) -> str:
    """The whole page as text; the same values give the same bytes."""
    said = shown.prepare
    sections = [
        _header(shown),
        data_cards.steps(mappings(said.get("steps")), shown.removed),
        data_cards.samples(shown.pictures, shown.texts, shown.rows),
        data_cards.leaks(mapping(said.get("leaks")), shown.limits),
        data_cards.suspects(mappings(said.get("suspects"))),
        data_distributions.columns(mapping(said.get("columns"))),
        data_distributions.pictures(said),
        data_distributions.tokens(mapping(said.get("tokens"))),
        _recipe(shown.recipe),
    ]
    return document(f"{shown.name} – data – zafu", sections, h("footer", h("p", "Made by zafu.")))


def _header(shown: Shown) -> Element:
    said = shown.prepare
    came, left = number(said.get("in")), number(said.get("out"))
    facts = [("Came in", short(came)), ("Kept", short(left))]
    if came > 0 and left >= 0:
        facts.append(("Removed", f"{1 - left / came:.2%}"))
    for split, size in mapping(said.get("splits")).items():
        facts.append((split.capitalize(), short(number(size))))
    cells: list[Child] = [h("div", h("dt", name), h("dd", value)) for name, value in facts]
    about = h("p.eyebrow", h("span", "data"), h("span.name", shown.digest))
    return h("header", about, h("h1", f"What {shown.name} learns from"), h("dl.facts", cells))


def _recipe(text: str) -> Element | None:
    if not text:
        return None
    inside = h("pre.recipe", h("code", tinted(text)))
    return h("section", h("h2", "The recipe"), h("details", h("summary", "show"), inside))
