"""Elements: HTML and SVG as values, so that escaping cannot be forgotten.

A child is an element or a string, and a string is always text: there is no way to say that one is
already safe. Tags and attributes are words of this program; data only ever becomes text.
Characters that a page must not hold (controls, lone surrogates) or that would turn the reading
order of what follows (bidirectional overrides) are shown by their code instead.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Attributes = Mapping[str, str | float]
VOID = frozenset({"meta", "link", "br", "hr", "col", "img"})
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff"
    "\ufdd0-\ufdef\ufffe\uffff]"
)


@dataclass(frozen=True)
class Element:
    """A tag with attributes and what is inside it."""

    tag: str
    attributes: Attributes
    children: tuple[Child, ...]


Child = Element | str | None


def h(tag: str, *children: Child | Attributes | Sequence[Child]) -> Element:
    """An element: `h("p.note", {"lang": "en"}, "text", child)`; a mapping first is attributes."""
    name, *classes = tag.split(".")
    attributes: dict[str, str | float] = {"class": " ".join(classes)} if classes else {}
    inside: list[Child] = []
    for child in children:
        if isinstance(child, Mapping):
            attributes.update(child)
        elif child is None or isinstance(child, (str, Element)):
            inside.append(child)
        else:
            inside.extend(child)
    return Element(name, attributes, tuple(inside))


def render(child: Child) -> str:
    """The markup of an element or a text; the same element gives the same bytes."""
    if child is None:
        return ""
    if isinstance(child, str):
        return html.escape(visible(child), quote=False)
    attributes = "".join(f' {k}="{_attribute(v)}"' for k, v in child.attributes.items())
    if child.tag in VOID:
        return f"<{child.tag}{attributes}>"
    inside = "".join(map(render, child.children))
    return f"<{child.tag}{attributes}>{inside}</{child.tag}>"


def visible(text: str) -> str:
    """The text with each character that a page must not hold replaced by its code."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _HIDDEN.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text)


def _attribute(value: str | float) -> str:
    if isinstance(value, str):
        return html.escape(visible(value), quote=True)
    if not math.isfinite(value):
        raise ValueError(f"an attribute must be finite, found {value}")
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
