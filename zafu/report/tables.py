"""Tables and lists: headed, scoped, and scrolling by themselves where a screen is narrow."""

from __future__ import annotations

from collections.abc import Sequence

from zafu.report.element import Child, Element, h


def table(
    caption: str, heads: Sequence[str], rows: Sequence[Sequence[Child]], *, numbers: int = 0
) -> Element:
    """A table whose first column names the rows; the next `numbers` columns are set right."""
    top = [h(_tag("th", at, numbers), {"scope": "col"}, head) for at, head in enumerate(heads)]
    body = [
        h(
            "tr",
            [
                h("td" if at else "th", _attributes(at, numbers), cell)
                for at, cell in enumerate(row)
            ],
        )
        for row in rows
    ]
    inside = h("table", h("caption", caption), h("thead", h("tr", top)), h("tbody", body))
    # a region that scrolls must be reachable by keyboard
    return h("div.scroll", {"tabindex": "0", "role": "region", "aria-label": "table"}, inside)


def definitions(items: Sequence[tuple[str, Child]]) -> Element:
    """Names with what they stand for."""
    return h("dl.card", [h("div", h("dt", name), h("dd", said)) for name, said in items])


def _tag(tag: str, at: int, numbers: int) -> str:
    return f"{tag}.number" if 0 < at <= numbers else tag


def _attributes(at: int, numbers: int) -> dict[str, str | float]:
    if not at:
        return {"scope": "row"}
    return {"class": "number"} if at <= numbers else {}
