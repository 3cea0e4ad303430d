"""What a compression looks like in a terminal: the table of a chain, of a search, of rivals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from zafu.cli.show import show
from zafu.measure import Measurement
from zafu.shrink.chain import Shrunk
from zafu.units import Bytes

WIDTH = 160  # of the table, where a terminal is narrower
SHOWN = 3  # layers that are named of a link that rounds


def carried(events: Iterator[Any], *, quiet: bool = False) -> Shrunk:
    """Draw what happens, and give what comes at last."""
    found: list[Shrunk] = []

    def passing() -> Iterator[Any]:
        for event in events:
            if isinstance(event, Shrunk):
                found.append(event)
            else:
                yield event

    show(passing(), quiet=quiet)
    (shrunk,) = found
    return shrunk


def chain(shrunk: Shrunk) -> None:
    """What each link has cost and saved."""
    found, console = _begun(shrunk)
    rows = found["rows"]
    heads = ["", found["metric"], "less before", "bytes", "memory", "1 sample", "32 samples"]
    table = _table([*heads, *(["a token"] if _spoken(rows) else [])])
    for row in rows:
        score = _interval(row["scores"][found["metric"]])
        less = row["against"][0]["difference"]
        table.add_row(row["name"], score, *_cells(row, rows[0], less, spoken=_spoken(rows)))
    _print(console, table, shrunk)
    for row in rows:
        _suffering(console, row)


def _suffering(console: Console, row: dict[str, Any]) -> None:
    """The layers that lose most by being rounded."""
    known = row.get("sensitivity") or {}
    dearest = sorted(known, key=lambda name: -known[name]["moved"])[:SHOWN]
    said = "; ".join(f"{name} {_rise(known[name])}" for name in dearest)
    if said:
        console.print(f"{row['name']}: loss added by a layer alone: {escape(said)}")


def layers(found: dict[str, Any]) -> None:
    """What rounding costs each layer of a model alone."""
    console = Console(highlight=False, width=max(Console().width, WIDTH))
    table = _table(["", "numbers", "loss in 8 bits", "in 4 bits", "moved in 8 bits", "in 4 bits"])
    for name, row in found["layers"].items():
        own = [row.get(bits) for bits in ("8", "4")]
        cells = [_rise(of) if of else "" for of in own]
        cells += [f"{of['moved']:.2g}" if of else "" for of in own]
        table.add_row(name, f"{row['numbers']:,}", *cells)
    console.print(table)
    how = next(of["how"] for row in found["layers"].values() for of in row.values() if _is_row(of))
    console.print(f"each layer alone, on the {found['split']} split, {how}")
    console.print("moved: by how much the loss would rise if targets were as the model says")
    for note in found["notes"]:
        console.print(f"note    {escape(note)}")


def _is_row(value: object) -> bool:
    return isinstance(value, dict)


def _rise(of: dict[str, Any]) -> str:
    interval = "" if of["low"] is None else f" [{of['low']:+.2g}, {of['high']:+.2g}]"
    return f"{of['loss']:+.2g}{interval}"


def search(shrunk: Shrunk) -> None:
    """All that was tried: by the validation split, and what the test split says of the best."""
    found, console = _begun(shrunk)
    rows, again = found["rows"], f"distil:{found['recover']}"
    spoken, memory = _spoken(rows), found["target"] == "memory"
    heads = ["", "", found["metric"], "less before", "bytes", *(["memory"] if memory else [])]
    table = _table([*heads, "a token" if spoken else "1 sample", "less before, on test"], left=2)
    for row in rows:
        own, first = row["validation"], row is rows[0]
        cells = _cells(row, rows[0], own["difference"], spoken=spoken)
        kept = [*cells[:2], *([cells[2]] if memory else []), cells[-1 if spoken else 3]]
        test = _signed(row["test"]["difference"]) if row["test"] and not first else ""
        mark = "pick" if row["pick"] else "front" if row["front"] else ""
        name = row["name"].replace(again, "distil")
        table.add_row(mark, name, f"{own['this']:.4g}", *kept, test)
    _print(console, table, shrunk, _verdict(found))


def rivals(shrunk: Shrunk) -> None:
    """Methods beside each other, about as large."""
    found, console = _begun(shrunk)
    rows, metric = found["rows"], found["metric"]
    heads = ["", "about", metric, "less before", "bytes", "memory", "1 sample", "32 samples"]
    table = _table([*heads, *(["a token"] if _spoken(rows) else [])])
    for row in rows:
        less = row["against"]["difference"]
        cells = _cells(row, rows[0], less, spoken=_spoken(rows))
        about = f"{row['size']:.0%}" if row["size"] else ""
        score = f"{row['against']['this']:.4g}"
        table.add_row(row["name"], about, score, *cells)
    _print(console, table, shrunk)


def _begun(shrunk: Shrunk) -> tuple[dict[str, Any], Console]:
    console = Console(highlight=False, width=max(Console().width, WIDTH))
    if not shrunk.new:
        console.print(f"{shrunk.folder} is finished; this is what was measured")
    return shrunk.found, console


def _table(heads: list[str], *, left: int = 1) -> Table:
    """A table whose first columns name the rows."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for index, head in enumerate(heads):
        table.add_column(head, justify="left" if index < left else "right", no_wrap=True)
    return table


def _print(console: Console, table: Table, shrunk: Shrunk, verdict: str = "") -> None:
    console.print(table)
    if verdict:
        console.print(verdict)
    for note in shrunk.found["notes"]:
        console.print(f"note    {escape(note)}")
    if (shrunk.folder / "model").is_dir():
        console.print(f"model   {shrunk.folder / 'model'}")
    console.print(f"report  {shrunk.folder / 'report.html'}")


def _verdict(found: dict[str, Any]) -> str:
    from zafu.report.choice import verdict

    return escape(verdict(found))


def _spoken(rows: list[dict[str, Any]]) -> bool:
    return any(row["decoding"] for row in rows)


def _cells(
    row: dict[str, Any], first: dict[str, Any], less: dict[str, Any], *, spoken: bool
) -> list[str]:
    """What the difference is, and what a model takes, with the factor to the one before."""
    cells = ["" if row is first else _signed(less)]
    cells.append(f"{Bytes(row['bytes'])}{_times(first['bytes'], row['bytes'], row is first)}")
    cells.append(str(Bytes(row["memory"]["peak"])) if row["memory"] else "")
    pairs = [[r["cost"]["latency"][size] for r in (row, first)] for size in ("1", "32")]
    if spoken:
        pairs.append([r["decoding"] for r in (row, first)])
    for own, before in pairs:
        value, base = (x["value"] for x in (own, before))
        cells.append(f"{value:.3g} ms{_times(base, value, row is first)}")
    return cells


def _times(before: float, own: float, first: bool) -> str:
    return "" if first else f"  ÷{before / own:.2f}"


def _signed(plain: dict[str, Any]) -> str:
    of = Measurement.parse(plain)
    if of.low is None or of.high is None:
        return f"{of.value:+.3g}"
    return f"{of.value:+.3g} [{of.low:+.3g}, {of.high:+.3g}]"


def _interval(plain: dict[str, Any]) -> str:
    of = Measurement.parse(plain)
    return f"{of.value:.4g}" if of.low is None else f"{of.value:.4g} [{of.low:.4g}, {of.high:.4g}]"
