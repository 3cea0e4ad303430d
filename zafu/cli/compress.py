"""`zafu compress`: a finished model becomes smaller or faster, by a chain, with one table."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zafu.measure import Measurement
    from zafu.shrink.chain import Shrunk

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

    from zafu.units import Bytes

    found, console = shrunk.found, Console(highlight=False)
    if not shrunk.new:
        console.print(f"{shrunk.folder} is finished; this is what was measured")
    metric, rows = found["metric"], found["rows"]
    spoken = any(row["decoding"] for row in rows)
    table = Table(title=f"{metric} on the {found['split']} split", title_justify="left")
    heads = ["", metric, "less before", "bytes", "x", "memory", "1 sample", "x", "32 samples", "x"]
    for head in [*heads, *(["a token", "x"] if spoken else [])]:
        table.add_column(head, justify="right" if head else "left")
    first = rows[0]
    for row in rows:
        score, less = _measured(row["scores"][metric]), row["against"][0]["difference"]
        cells = [row["name"], f"{score.value:.4g} [{score.low:.4g}, {score.high:.4g}]"]
        cells.append("" if row is first else _less(less))
        cells += [str(Bytes(row["bytes"])), f"{first['bytes'] / row['bytes']:.2f}"]
        cells.append(str(Bytes(max(0, row["memory"]["peak"]))))
        for size in ("1", "32"):
            own, before = (_measured(r["cost"]["latency"][size]) for r in (row, first))
            cells += [f"{own.value:.3g} ms", f"{before.value / own.value:.2f}"]
        if spoken:
            own, before = (_measured(r["decoding"]) for r in (row, first))
            cells += [f"{own.value:.3g} ms", f"{before.value / own.value:.2f}"]
        table.add_row(*cells)
    console.print(table)
    console.print(f"model   {shrunk.folder / 'model'}\nreport  {shrunk.folder / 'report.html'}")


def _less(plain: dict[str, Any]) -> str:
    of = _measured(plain)
    low, high = ("" if x is None else f"{x:+.3g}" for x in (of.low, of.high))
    return f"{of.value:+.3g} [{low}, {high}]"


def _measured(plain: dict[str, Any]) -> Measurement:
    from zafu.measure import Measurement

    return Measurement.parse(plain)
