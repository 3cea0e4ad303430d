"""How a measurement under load is told of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from zafu.bench.measure import Phase
from zafu.bench.pick import Form
from zafu.measure import Measurement
from zafu.units import Bytes

HEADS = ("form", "load", "answers/s", "p50 ms", "p95 ms", "p99 ms", "refused", "failed")


def shown(folder: Path, rows: Sequence[Form], read: float) -> None:
    """A row for each form under each load."""
    texts = any("tokens" in phase.found for row in rows for phase in row.phases)
    more = ("first p50", "first p99", "tokens/s") if texts else ()
    table = Table(*HEADS, *more, title=f"{folder}", title_justify="left")
    for row in rows:
        for phase in row.phases:
            table.add_row(row.kind, phase.name, *_cells(phase, texts=texts))
    console = Console(width=None if Console().is_terminal else 180)
    console.print(table)
    for row in rows:
        least = 1000 * row.bytes / read
        what = "token of one text" if texts else "answer to one client"
        print(
            f"{row.kind}: {Bytes(row.bytes)} of weights at {Bytes(int(read))}/s: no {what} "
            f"before {least:.3g} ms"
        )
    print("load from another process of this machine; intervals at 95 %")


def _cells(phase: Phase, *, texts: bool) -> list[str]:
    names = ["answers", "p50", "p95", "p99"]
    cells = [_put(phase.found.get(name)) for name in names]
    cells += [str(phase.refused), str(phase.failed)]
    return cells + [_put(phase.found.get(n)) for n in ("first p50", "first p99", "tokens") if texts]


def _put(found: Measurement | None) -> str:
    if found is None:
        return "–"
    interval = "" if found.low is None else f" [{found.low:.3g}, {found.high:.3g}]"
    return f"{found.value:.3g}{interval}"


def as_json(folder: Path, rows: Sequence[Form], read: float) -> None:
    """The same as data."""
    forms = [row.dump(read) for row in rows]
    print(json.dumps({"folder": str(folder), "bandwidth": read, "forms": forms}, indent=1))
