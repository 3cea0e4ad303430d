"""`zafu compress`: a finished model becomes smaller or faster, by a chain, with one table."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zafu.measure import Measurement
    from zafu.shrink.chain import Shrunk

WIDTH = 140  # of the table, where a terminal is narrower
EXAMPLE = """\
  zafu compress runs/digits-… --how prune:0.5
  zafu compress runs/digits-… --how "prune:0.5 > distil:2epochs > int8"
  zafu compress runs/python-… --how "{kind: low-rank, keep: 0.8, ranks: uniform}"
  zafu list compressions ; zafu list compressions prune"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """A run, the chain, where it goes, and the form of the answer."""
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("--how", required=True, metavar="CHAIN", help="links with > between them")
    parser.add_argument("--runs", type=Path, help="where its folders go (default: beside the run)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Make each link, and print the table."""
    from zafu.compress.words import chain

    links = chain(arguments.how)
    from zafu.cli.show import show
    from zafu.shrink.chain import Shrunk, compress

    found: list[Shrunk] = []

    def passing() -> Any:
        for event in compress(arguments.run, links, runs=arguments.runs):
            if isinstance(event, Shrunk):
                found.append(event)
            else:
                yield event

    show(passing(), quiet=arguments.json)
    (shrunk,) = found
    if arguments.json:
        print(json.dumps({"folder": str(shrunk.folder), **shrunk.found}, indent=1))
    else:
        _show(shrunk)
    return 0


def _show(shrunk: Shrunk) -> None:
    from rich.console import Console
    from rich.table import Table

    found = shrunk.found
    console = Console(highlight=False, width=max(Console().width, WIDTH))
    if not shrunk.new:
        console.print(f"{shrunk.folder} is finished; this is what was measured")
    rows = found["rows"]
    spoken = any(row["decoding"] for row in rows)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    heads = ["", found["metric"], "less before", "bytes", "memory", "1 sample", "32 samples"]
    for head in [*heads, *(["a token"] if spoken else [])]:
        table.add_column(head, justify="right" if head else "left", no_wrap=True)
    for row in rows:
        table.add_row(*_cells(row, rows[0], found["metric"]))
    console.print(table)
    for note in found["notes"]:
        console.print(f"note    {note}")
    console.print(f"model   {shrunk.folder / 'model'}\nreport  {shrunk.folder / 'report.html'}")


def _cells(row: dict[str, Any], first: dict[str, Any], metric: str) -> list[str]:
    from zafu.units import Bytes

    score = _measured(row["scores"][metric])
    cells = [row["name"], f"{score.value:.4g} [{score.low:.4g}, {score.high:.4g}]"]
    cells.append("" if row is first else _less(row["against"][0]["difference"]))
    cells.append(f"{Bytes(row['bytes'])}{_times(first['bytes'], row['bytes'], row is first)}")
    cells.append(str(Bytes(row["memory"]["peak"])))
    pairs = [[r["cost"]["latency"][size] for r in (row, first)] for size in ("1", "32")]
    if row["decoding"]:
        pairs.append([r["decoding"] for r in (row, first)])
    for own, before in (map(_measured, pair) for pair in pairs):
        cells.append(f"{own.value:.3g} ms{_times(before.value, own.value, row is first)}")
    return cells


def _times(before: float, own: float, first: bool) -> str:
    return "" if first else f"  ÷{before / own:.2f}"


def _less(plain: dict[str, Any]) -> str:
    of = _measured(plain)
    low, high = ("" if x is None else f"{x:+.3g}" for x in (of.low, of.high))
    return f"{of.value:+.3g} [{low}, {high}]"


def _measured(plain: dict[str, Any]) -> Measurement:
    from zafu.measure import Measurement

    return Measurement.parse(plain)
