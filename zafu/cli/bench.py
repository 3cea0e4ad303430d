"""`zafu bench`: a model as it would be shipped, under load."""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLE = """\
  zafu bench runs/digits-3f2a9c1b                    # torch, and every export that is there
  zafu bench runs/digits-3f2a9c1b --kind onnx --clients 64 --seconds 20
  zafu bench runs/digits-3f2a9c1b --pick             # exports all forms, and names the best
  zafu serve runs/digits-3f2a9c1b --kind pick        # serves it"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Models and the load."""
    add = parser.add_argument
    add("run", type=Path, nargs="+", help="runs, or exported folders")
    add("--kind", action="append", default=[], help="only this form (default: all that are there)")
    add("--clients", type=int, default=32, help="clients at once (default: 32)")
    add("--seconds", type=float, help="of each load (default: 10; 3 to pick)")
    add("--pick", action="store_true", help="measure all forms that can be had; keep the best")
    add("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Start a server for each form in turn, load it from another process, and say what it did."""
    from zafu.errors import Refused
    from zafu.serve import needs

    needs.require()
    seconds = arguments.seconds or (3.0 if arguments.pick else 10.0)
    if arguments.clients < 2 or not 0.5 <= seconds <= 3600:
        raise Refused("expected --clients >= 2 and --seconds from 0.5 to 3600")
    if arguments.pick and (len(arguments.run) > 1 or arguments.kind):
        raise Refused("--pick: expected one run, and no --kind")
    from zafu.bench import pick
    from zafu.cli import show_bench
    from zafu.cli.options import note

    for folder in arguments.run:
        if arguments.pick:
            found, measured = pick.all_forms(folder, note), pick.compared
        else:
            found, measured = pick.forms(folder, arguments.kind), pick.measured
        rows, read = measured(found, clients=arguments.clients, seconds=seconds, say=note)
        (show_bench.as_json if arguments.json else show_bench.shown)(folder, rows, read)
        if arguments.pick:
            chosen = pick.best(rows)
            file = pick.write(folder, rows, chosen, read)
            note(f"one client is answered soonest by {chosen['one']}, many by {chosen['many']}")
            note(f"{file}: zafu serve {folder} --kind pick takes {chosen['many']}")
    return 0
