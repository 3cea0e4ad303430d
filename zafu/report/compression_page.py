"""The page of methods of compression beside each other."""

from __future__ import annotations

from typing import Any

from zafu.report.choice import section
from zafu.report.element import h
from zafu.report.folder import mappings, words
from zafu.report.page import document
from zafu.report.words import label


def page(found: dict[str, Any], name: str) -> str:
    """The whole page as text."""
    count, metric = len(mappings(found.get("rows"))), label(words(found.get("metric")))
    head = h(
        "header",
        h("p.eyebrow", h("span.name", name)),
        h("h1", f"{count} models beside each other: {metric} for their size"),
    )
    sections = [head, section(found)]
    return document(f"{name} – zafu", sections, h("footer", h("p", "Made by zafu.")))
