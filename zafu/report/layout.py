"""What the layout cost: bytes, waiting and memory of one step, measured beside theory."""

from __future__ import annotations

import math
from typing import Any

from zafu.report import tables
from zafu.report.element import Child, Element, h
from zafu.report.folder import Folder, mapping, mappings, number
from zafu.report.words import short
from zafu.units import Bytes, Seconds

PARTS = ("parameters", "gradients", "optimizer")


def layout(folder: Folder) -> Element | None:
    """Tables of one step of the rank that sends or holds most; nothing if there was one process."""
    ranks = mappings(folder.costs.get("ranks"))
    if not ranks:
        return None
    degrees = mapping(folder.costs.get("layout"))
    axes = ("pipeline", "data", "context", "shard", "tensor")
    spread = [f"{axis} {short(number(degrees.get(axis)))}" for axis in axes if _many(degrees, axis)]
    said = f"{len(ranks)} processes ({', '.join(spread)}); counted in step {_step(folder)}."
    return h(
        "section",
        h("h2", "What the layout cost"),
        h("p.lead", said),
        _traffic(ranks),
        _slow(folder),
        h("div.grid", _memory(ranks), _time(folder, ranks)),
    )


def _traffic(ranks: list[dict[str, Any]]) -> Element | None:
    names = sorted({axes for rank in ranks for axes in mapping(rank.get("traffic"))})
    rows: list[list[Child]] = []
    for axes in names:
        rank = max(ranks, key=lambda rank: _of(rank, axes, "bytes"))
        if not _of(rank, axes, "messages"):
            continue
        theory = mapping(mapping(mapping(rank.get("theory")).get("traffic")).get(axes))
        sent, expected = _of(rank, axes, "bytes"), number(theory.get("bytes"))
        ratio = f"{sent / expected:.3f}" if expected > 0 else "–"
        messages = [short(_of(rank, axes, "messages")), _known(number(theory.get("messages")))]
        shown = [_bytes(sent), _bytes(expected), ratio, *messages, _waiting(ranks, axes)]
        rows.append([h("span", axes), *shown])
    heads = ["Along", "Sent", "Theory", "Ratio", "Messages", "Theory", "Waiting"]
    caption = "What one rank sends in one step; waiting is the mean share of the step"
    return tables.table(caption, heads, rows, numbers=6) if rows else None


def _slow(folder: Folder) -> Element | None:
    """Who took longer than the others for the same work, and when that was first and last seen."""
    rows: list[list[Child]] = []
    ranks = {number(there.get("rank")) for _, there in folder.slow}
    for rank in sorted(filter(math.isfinite, ranks)):
        found = [(step, there) for step, there in folder.slow if there.get("rank") == rank]
        times, data = (
            max(number(there.get(key)) for _, there in found) for key in ("times", "data")
        )
        seen = [short(found[0][0]), short(found[-1][0])]
        rows.append([h("span", f"rank {short(rank)}"), f"{times:.2f}", f"{data:.0%}", *seen])
    heads = ["Behind the others", "Times as long", "For samples", "First step", "Last step"]
    caption = "Processes that take longer than others for the same work, at the worst"
    return tables.table(caption, heads, rows, numbers=4) if rows else None


def _memory(ranks: list[dict[str, Any]]) -> Element:
    rank = max(ranks, key=lambda rank: sum(_held(rank)))
    theory = mapping(mapping(rank.get("theory")).get("state"))
    rows: list[list[Child]] = []
    for name, own in zip(PARTS, _held(rank), strict=True):
        rows.append([h("span", name), _bytes(own), _bytes(number(theory.get(name)))])
    expected = sum(number(theory.get(name)) for name in PARTS)
    rows.append([h("span", "together"), _bytes(sum(_held(rank))), _bytes(expected)])
    peak = max(number(rank.get("peak")) for rank in ranks)
    rows.append([h("span", "most in use, with all else"), _bytes(peak), "–"])
    return tables.table(
        "Memory of the rank that holds most", ["", "Held", "Theory"], rows, numbers=2
    )


def _time(folder: Folder, ranks: list[dict[str, Any]]) -> Element:
    seconds = sum(number(rank.get("seconds")) for rank in ranks) / len(ranks)
    rows: list[list[Child]] = [[h("span", "one step"), _time_of(seconds), ""]]
    known = all(rank.get("waits_known") is True for rank in ranks)
    names = {axes for rank in ranks for axes in mapping(rank.get("traffic"))}
    if known:
        whole = sum(_share(ranks, axes) for axes in names)
        rows.append([h("span", "waiting for others"), f"{whole:.1%}", ""])
    idle = number(folder.costs.get("idle"))
    if idle > 0:
        found = sum(_share(ranks, axes) for axes in names if axes.startswith("pipeline"))
        shown = f"{found:.1%}" if known else "–"
        rows.append([h("span", "idle in the pipeline"), shown, f"{idle:.1%}"])
    return tables.table("Time", ["", "Measured", "Theory"], rows, numbers=2)


def _held(rank: dict[str, Any]) -> list[float]:
    state = mapping(rank.get("state"))
    return [number(state.get(name)) for name in PARTS]


def _of(rank: dict[str, Any], axes: str, what: str) -> float:
    found = number(mapping(mapping(rank.get("traffic")).get(axes)).get(what))
    return found if found > 0 else 0.0


def _share(ranks: list[dict[str, Any]], axes: str) -> float:
    shares = [_of(rank, axes, "seconds") / number(rank.get("seconds")) for rank in ranks]
    return sum(shares) / len(shares)


def _waiting(ranks: list[dict[str, Any]], axes: str) -> str:
    known = all(rank.get("waits_known") is True for rank in ranks)
    return f"{_share(ranks, axes):.1%}" if known else "–"


def _many(degrees: dict[str, Any], axis: str) -> bool:
    return number(degrees.get(axis)) > 1


def _step(folder: Folder) -> str:
    return short(number(folder.costs.get("step")))


def _bytes(value: float) -> str:
    return str(Bytes(value)) if math.isfinite(value) else "–"


def _known(value: float) -> str:
    return short(value) if math.isfinite(value) else "–"


def _time_of(seconds: float) -> str:
    return str(Seconds(seconds)) if seconds > 0 else "–"
