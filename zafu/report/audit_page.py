"""The page of an audit: suspected labels to look at, under the same policy as a run's report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from zafu.report.element import Child, Element, h
from zafu.report.page import document
from zafu.report.picture import uri
from zafu.report.tables import table

_MEANING = {
    "confidence": "1 minus the probability of its label by a model that did not see the sample",
    "weights": "1 minus the weight of the sample by which a model does best on other samples",
}


class Row(NamedTuple):
    """A suspect, with what it looks like."""

    id: str
    given: str
    suggested: str
    score: float
    picture: np.ndarray | None  # (channels, height, width) uint8
    text: str


class About(NamedTuple):
    """What the page is about."""

    title: str
    how: str
    samples: int
    suspected: int
    line: str  # what leaves the suspects out; "" where it can't be said


def page(about: About, rows: Sequence[Row]) -> str:
    """The whole page as text; the same values give the same bytes."""
    sections = [_header(about, len(rows)), _suspects(rows), _what_to_do(about.line)]
    return document(f"{about.title} – zafu", sections, h("footer", h("p", "Made by zafu.")))


def _header(about: About, shown: int) -> Element:
    counts = {"Training samples": about.samples, "Suspected": about.suspected, "Shown here": shown}
    cells = [h("div", h("dt", name), h("dd", f"{count:,}")) for name, count in counts.items()]
    said = f"Doubt is {_MEANING[about.how]}: 0 to 1. A suspicion is no proof: look at each."
    top = h("p.eyebrow", h("span", "audit"), h("span.name", about.how))
    return h("header", top, h("h1", about.title), h("p.lead", said), h("dl.facts", cells))


def _suspects(rows: Sequence[Row]) -> Element:
    if not rows:
        return h("section", h("h2", "Suspects"), h("p", "No label is suspected."))
    cells = [
        [row.id or str(at + 1), f"{row.score:.3f}", _look(row), row.given, row.suggested]
        for at, row in enumerate(rows)
    ]
    heads = ("sample", "doubt", "as the model sees it", "label", "likely")
    return h(
        "section", h("h2", "Suspects"), table("The most doubtful first", heads, cells, numbers=1)
    )


def _look(row: Row) -> Child:
    if row.picture is None:
        return row.text
    alt = f"labelled {row.given}, likely {row.suggested}"
    return h("img", {"src": uri(row.picture), "alt": alt, "width": 64, "height": 64})


def _what_to_do(line: str) -> Element | None:
    if not line:
        return None
    said = "To train without these, put this line under data: in the recipe, less what is right:"
    return h("section", h("h2", "What to do"), h("p", said), h("pre.recipe", h("code", line)))
