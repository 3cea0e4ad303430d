"""The report of a run: one HTML page that needs nothing but itself; a function of the run folder.

It holds no script, loads nothing, and says so to the browser: the policy allows the one style
sheet, by its digest, and nothing else. The same folder gives the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from zafu.artifact import write_text
from zafu.report import (
    cards,
    compression,
    fusion,
    layout,
    learning,
    parts,
    reliability,
    results,
    trades,
)
from zafu.report.element import Child, Element, h, render
from zafu.report.folder import Folder, read, words

NAME = "report.html"


def write(run: Path) -> Path:
    """The path of `report.html` in the run folder, which was replaced in one step.

    Whatever else the folder holds or lacks, a page comes out; raises DiskFull if there is no room.
    """
    path = run / NAME
    write_text(path, page(read(run)))
    return path


def page(folder: Folder) -> str:
    """The whole page as text."""
    sections = [
        results.header(folder),
        results.results(folder),
        fusion.fusion(folder),
        compression.compression(folder),
        learning.learning(folder),
        cards.samples(folder),
        parts.parts(folder),
        reliability.reliability(folder),
        trades.thresholds(folder),
        trades.numbers(folder),
        learning.time(folder),
        layout.layout(folder),
        cards.data(folder),
        cards.model(folder),
        cards.again(folder),
    ]
    return document(f"{folder.name} – zafu", sections, _footer(folder))


def document(title: str, sections: Sequence[Child], footer: Element) -> str:
    """A whole page under the policy, as text."""
    body = h("body", h("main", sections), footer)
    return "<!doctype html>\n" + render(h("html", {"lang": "en"}, _head(title), body)) + "\n"


def policy(style: str) -> str:
    """The content security policy that allows this style sheet and nothing else."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    rules = ("default-src 'none'", f"style-src 'sha256-{digest}'", "img-src data:")
    return "; ".join((*rules, "base-uri 'none'", "form-action 'none'"))


def _head(title: str) -> Element:
    style = files("zafu.report").joinpath("style.css").read_text(encoding="utf-8")
    return h(
        "head",
        h("meta", {"charset": "utf-8"}),
        h("meta", {"http-equiv": "Content-Security-Policy", "content": policy(style)}),
        h("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        h("meta", {"name": "color-scheme", "content": "light dark"}),
        h("meta", {"name": "referrer", "content": "no-referrer"}),
        h("link", {"rel": "icon", "href": "data:,"}),
        h("title", title),
        h("style", style),
    )


def _footer(folder: Folder) -> Element:
    version = words(folder.environment.get("zafu"))
    said = f"Made by zafu {version}".strip()
    when = words(folder.environment.get("time"))
    return h("footer", h("p", f"{said}; the run began {when}." if when else f"{said}."))
