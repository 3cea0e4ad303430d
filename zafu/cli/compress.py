"""`zafu compress`: a finished model becomes smaller or faster, by a chain, with one table."""

from __future__ import annotations

import argparse
import json
import math
import re
from dataclasses import replace
from pathlib import Path

from zafu.compress.bank import RECOVER, TARGETS, Asked, Target
from zafu.errors import Fault, RecipeError

EXAMPLE = """\
  zafu compress runs/digits-… --how prune:0.5
  zafu compress runs/digits-… --how "prune:0.5 > distil:2epochs > int8"
  zafu compress runs/python-… --how "{kind: low-rank, keep: 0.8, ranks: uniform}"
  zafu compress runs/digits-… --within 1% --target size       tries chains, and takes the smallest
  zafu compress runs/digits-… --within 1% --target latency --budget 20min --recover 3epochs
  zafu compress runs/digits-… --sensitivity                   what rounding costs each layer alone
  zafu list compressions ; zafu list compressions prune"""
ONLY_SEARCH = ("within", "target", "recover", "budget")
ELSE = ("how", *ONLY_SEARCH, "runs")  # what says what to make, where nothing is made


def arguments(parser: argparse.ArgumentParser) -> None:
    """A run, the chain or what to search for, where it goes, and the form of the answer."""
    add = parser.add_argument
    add("run", type=Path, help="folder of a finished run")
    add("--how", metavar="CHAIN", help="links with > between them")
    add("--within", metavar="SHARE", help="instead of --how: search for the smallest model whose "
        "metric is worse by at most this share of its value, such as 1%%")  # fmt: skip
    add("--target", choices=list(TARGETS), help="what is to be small (with --within)")
    add("--recover", metavar="BUDGET",
        help=f"training behind each reshaping, with --within (default: {RECOVER})")  # fmt: skip
    add("--budget", help="with --within: time after which no chain is begun, such as 90s, 20min")
    add("--sensitivity", action="store_true",
        help="make nothing: print what 8 and 4 bits cost each layer alone")  # fmt: skip
    add("--runs", type=Path, help="where its folders go (default: beside the run)")
    add("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Make each link, or search for a chain, and print the table."""
    from zafu.compress.words import chain

    if arguments.sensitivity:
        return _looked(arguments)
    asked = _asked(arguments)
    links = () if asked else chain(arguments.how)
    from zafu.cli import show_compression as showing  # torch is loaded when the request is sound

    if asked:
        from zafu.shrink.search import search

        events, show = search(arguments.run, asked, runs=arguments.runs), showing.search
    else:
        from zafu.shrink.chain import compress

        events, show = compress(arguments.run, links, runs=arguments.runs), showing.chain
    shrunk = showing.carried(events, quiet=arguments.json)
    if arguments.json:
        print(json.dumps({"folder": str(shrunk.folder), **shrunk.found}, indent=1))
    else:
        show(shrunk)
    return 0


def _looked(arguments: argparse.Namespace) -> int:
    """Print what rounding costs each layer; raises RecipeError where more is asked for."""
    faults = [
        Fault("", "--sensitivity alone", f"--{name} beside it", "command line")
        for name in ELSE
        if getattr(arguments, name) is not None
    ]
    if faults:
        raise RecipeError(faults)
    from zafu.cli import show_compression as showing  # torch is loaded when the request is sound
    from zafu.shrink.sensitivity import look

    found = look(arguments.run)
    if arguments.json:
        print(json.dumps(found, indent=1))
    else:
        showing.layers(found)
    return 0


def _asked(arguments: argparse.Namespace) -> Asked | None:
    """What is searched for; None where a chain is given. Raises RecipeError with every fault."""
    from zafu.cli.tune import seconds

    faults: list[Fault] = []
    if arguments.how is not None:
        given = {name: getattr(arguments, name) for name in ONLY_SEARCH}
        faults += [
            Fault("", "--how, or --within with --target", f"--{name} beside --how", "command line")
            for name, value in given.items()
            if value is not None
        ]
        if faults:
            raise RecipeError(faults)
        return None
    within = share(arguments.within, faults)
    target: Target | None = arguments.target
    if target is None:
        expected = f"one of {', '.join(TARGETS)}"
        faults.append(Fault("", expected, "nothing", "--target", "what is to be small"))
    recover = arguments.recover or RECOVER
    faults += budget_faults(recover, "--recover")
    limit = seconds(arguments.budget, faults)
    if faults or target is None:
        raise RecipeError(faults)
    return Asked(within, target, recover, limit or math.inf)


def share(text: str | None, faults: list[Fault]) -> float:
    """The share that `1%` or `0.01` is, 0 to 1; a fault is added in place."""
    found = re.fullmatch(r"(\d+\.?\d*)\s*(%?)", (text or "").strip())
    value = float(found[1]) / (100 if found[2] else 1) if found else -1.0
    if not 0 <= value < 1:
        hint = "or --how CHAIN" if text is None else ""
        given = "nothing" if text is None else text
        faults.append(Fault("", "a share such as 1% or 0.01", given, "--within", hint))
    return value


def budget_faults(budget: str, option: str) -> list[Fault]:
    """Why a training budget cannot be read."""
    from zafu.compress.words import link

    try:
        link(f"distil:{budget}")
    except RecipeError as error:
        return [replace(fault, path="", where=option) for fault in error.faults]
    return []
