"""`zafu fuse`: several finished models become one, judged beside them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zafu.fuse.fusion import Fused
    from zafu.measure import Measurement

HOWS = ("vote", "hard", "weighted", "stack", "soup", "uniform")
VERDICTS = {
    "not shown": "not shown to differ from",
    "better": "better than",
    "worse": "worse than",
}
EXAMPLE = """\
  zafu fuse runs/a runs/b runs/c --how vote      mean of probabilities; members of any architecture
  zafu fuse runs/a runs/b runs/c --how stack     weights learned on the validation split
  zafu fuse runs/a runs/b --how stack --out-of-fold runs/a-crossval-… runs/b-crossval-…
  zafu fuse runs/a runs/b runs/c --how soup      mean of weights, greedy; one architecture
  zafu fuse runs/a --how vote                    the checkpoints of one run (schedule: cyclic)"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Members, the way, the folder, and the form of the answer."""
    parser.add_argument("members", type=Path, nargs="+", help="run folders, or one; checkpoints")
    parser.add_argument(
        "--how",
        choices=HOWS,
        required=True,
        help="vote: mean of probabilities; hard: majority; weighted: a mean with learned weights; "
        "stack: learned weights by class; soup: mean of weights, greedy; uniform: of all",
    )
    parser.add_argument(
        "--out-of-fold",
        type=Path,
        nargs="+",
        default=[],
        metavar="CROSSVAL",
        help="finished cross-validations, one of each member's recipe: a stack learns from these",
    )
    parser.add_argument(
        "--runs", type=Path, help="where the folder goes (default: beside the first)"
    )
    parser.add_argument("--out", type=Path, help="the folder (default: named by the members)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print members and the fused model beside each other, and what that showed."""
    from zafu.fuse.fusion import fuse

    found = fuse(
        arguments.members,
        arguments.how,
        out_of_fold=arguments.out_of_fold,
        runs=arguments.runs,
        out=arguments.out,
    )
    if arguments.json:
        print(json.dumps({"folder": str(found.folder), **found.found}, indent=1))
    else:
        _show(found)
    return 0


def _show(fused: Fused) -> None:
    from rich.console import Console
    from rich.table import Table

    found, console = fused.found, Console(highlight=False)
    if not fused.new:
        console.print(f"{fused.folder} is finished; this is what was measured")
    metric = found["metric"]
    title = f"{metric} on the {found['split']} split, and the median time of a pass"
    table = Table(title=title, title_justify="left")
    for heading in ("", "share", metric, "95 % interval", "weights", "1 sample", "32 samples"):
        table.add_column(heading, justify="right" if heading else "left")
    for row in found["members"]:
        table.add_row(row["name"], f"{row['weight']:.3g}", *_cells(row, metric))
    table.add_section()
    table.add_row(f"fused ({found['how']})", "", *_cells(found["fused"], metric))
    console.print(table)
    console.print(_said(found))
    for note in found["notes"]:
        console.print(f"note    {note}")
    console.print(f"model   {fused.folder / 'model'}\nreport  {fused.folder / 'report.html'}")


def _cells(row: dict[str, Any], metric: str) -> list[str]:
    from zafu.units import Bytes

    score, latency = _measured(row["scores"][metric]), row["cost"]["latency"]
    bounds = "" if score.low is None else f"{score.low:.4g} to {score.high:.4g}"
    times = [_time(_measured(latency[size])) for size in ("1", "32")]
    return [f"{score.value:.4g}", bounds, str(Bytes(row["cost"]["bytes"])), *times]


def _time(of: Measurement) -> str:
    return f"{of.value:.3g} {of.unit} [{of.low:.3g}, {of.high:.3g}]"


def _said(found: dict[str, Any]) -> str:
    effect = found["effect"]
    size, metric = _measured(effect["size"]), found["metric"]
    verdict = VERDICTS[found["verdict"]]
    said = f"the fused model is {verdict} {found['best']}, the best member"
    value, low, high = (f"{x or 0:+.4g}" for x in (size.value, size.low, size.high))
    return f"{said}: {metric} {value} [{low}, {high}], p {effect['p']:.2g}"


def _measured(plain: dict[str, Any]) -> Measurement:
    from zafu.measure import Measurement

    return Measurement.parse(plain)
