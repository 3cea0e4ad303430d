"""`zafu compare compression RUN`: methods that make a model smaller, beside each other."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

from zafu.cli.compress import budget_faults
from zafu.cli.tune import seconds
from zafu.compress.bank import RECOVER
from zafu.errors import Fault, RecipeError

NOT_HERE = ("vary", "arm", "over", "trials", "seeds", "target")


def run(arguments: argparse.Namespace) -> int:
    """Compare, drawing progress, and print the table and where the page is."""
    faults: list[Fault] = []
    folders: list[str] = arguments.words[1:]
    if len(folders) != 1:
        found = " ".join(folders) or "nothing"
        faults.append(Fault("", "one finished run behind compression", found, "command line"))
    given = [name for name in NOT_HERE if getattr(arguments, name) not in (None, [])]
    faults += [Fault("", "no such option with compression", "given", f"--{n}") for n in given]
    recover = arguments.recover or RECOVER
    faults += budget_faults(recover, "--recover")
    limit = seconds(arguments.budget, faults)
    if faults:
        raise RecipeError(faults)
    from zafu.cli import show_compression as showing  # torch is loaded when the request is sound
    from zafu.shrink.rivals import compare

    runs = arguments.runs if any(w.startswith("--runs") for w in arguments.given) else None
    events = compare(Path(folders[0]), recover=recover, seconds=limit or math.inf, runs=runs)
    shrunk = showing.carried(events, quiet=arguments.quiet or arguments.json)
    if arguments.json:
        print(json.dumps({"folder": str(shrunk.folder), **shrunk.found}, indent=1))
    else:
        showing.rivals(shrunk)
    return 0
