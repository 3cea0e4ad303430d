"""`zafu tune`: search over a recipe's settings, and confirm what was found."""

from __future__ import annotations

import argparse
import json
import re
import sys
from dataclasses import replace

from zafu.cli import options
from zafu.errors import Fault, RecipeError
from zafu.search.contract import Search
from zafu.source import parse_yaml
from zafu.space import Space
from zafu.spec import Spec

EXAMPLE = """\
  zafu tune digits.yaml --over fit.optimizer.lr=log:1e-4:0.3 --over model.width=32:512:32
  zafu tune digits.yaml --search halving --over fit.optimizer.lr=log:1e-4:0.3 --budget 20min
  zafu tune digits.yaml --search '{kind: bayes, sampler: gp}' --over … --trials 50 --confirm 4x10
  the same command again goes on where it stopped; several at once share the work"""
TRIALS = 50  # where neither they nor a budget are given
UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400}


class Searched(Spec):
    """As a study holds it."""

    search: Search


def arguments(parser: argparse.ArgumentParser) -> None:
    """A recipe, what to search over and how, and when to stop."""
    options.add_recipe(parser)
    add = parser.add_argument
    add("--over", action="append", default=[], metavar="PATH=SPEC",
        help="log:1e-4:0.3, 0:0.6, 32:512:32 or a,b,c; once for each path")  # fmt: skip
    add("--search", default="random", metavar="KIND",
        help="a kind (zafu list searches) or a YAML mapping (default: random)")  # fmt: skip
    add("--trials", type=int, help=f"settings that are tried (default: {TRIALS} without a budget)")
    add("--budget", help="time of all trials, such as 90s, 20min, 1.5h")
    add("--epochs", type=float, help="epochs of training of all trials together")
    add("--confirm", default="8x6", help="best few x fresh seeds, or none (default: 8x6)")
    add("--folds", type=int, default=0, help="judge each setting by so many folds")
    add("--seed", type=int, default=0, help="of the search (default: 0)")
    engines = ("auto", "stacked", "pool", "sequential")
    add("--engine", choices=engines, default="auto", help="who trains (default: auto)")
    add("--on", choices=("ray",), help="train trials as tasks of a Ray cluster")
    add("--storage", default="", metavar="URL", help="an SQL database (default: a file)")
    add("--json", action="store_true", help="print the result as JSON")
    add("--quiet", action="store_true", help="print only the result")


def run(arguments: argparse.Namespace) -> int:
    """Search to the end, drawing progress."""
    run = options.run_of(arguments)
    faults: list[Fault] = []
    search = space = None
    limited = arguments.budget is not None or arguments.epochs is not None
    try:
        search = searched(arguments.search, arguments.trials, limited=limited)
    except RecipeError as error:
        faults += error.faults
    try:
        space = Space.parse(arguments.over, run.recipe)
    except RecipeError as error:
        faults += error.faults
    found = seconds(arguments.budget, faults), confirms(arguments.confirm, faults)
    if faults or search is None or space is None:
        raise RecipeError(faults)
    from zafu.cli.show_study import show  # torch is loaded when the request is known to be sound
    from zafu.searching.confirm import Confirm
    from zafu.searching.tuning import Budget, Tuning, place
    from zafu.tune import events

    tuning = Tuning(
        run.recipe,
        space,
        search,
        folder=run.folder,
        runs=arguments.runs,
        budget=Budget(found[0], arguments.epochs),
        confirm=Confirm(*found[1]) if found[1] else None,
        seed=arguments.seed,
        folds=arguments.folds,
        storage=arguments.storage,
        engine=arguments.on or arguments.engine,
    )
    if not arguments.out:
        home = place(arguments.recipe.stem, arguments.runs, tuning.digest)
        tuning = replace(tuning, folder=home)
    result = show(events(tuning), quiet=arguments.quiet, silent=arguments.json)
    if arguments.json and result:
        json.dump(result.dump(), sys.stdout, indent=1)
        print()
    return 0


def searched(text: str, trials: int | None, *, limited: bool) -> Search:
    """The search that `--search` and `--trials` name; raises RecipeError."""
    value = parse_yaml(text, "--search").data
    if isinstance(value, str):
        value = {"kind": value}
    if isinstance(value, dict) and trials is not None:
        value = {**value, "trials": trials}
    try:
        found = Searched.parse({"search": value}).search
    except RecipeError as error:
        raise RecipeError([replace(f, where="--search") for f in error.faults]) from None
    if found.trials is None and not limited and not found.ends:
        found = found.at("trials", TRIALS)
    return found


def seconds(text: str | None, faults: list[Fault]) -> float | None:
    """Seconds of a duration such as 90s, 20min, 1.5h; a fault is added in place."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d+\.?\d*)\s*(s|min|h|d)", text.strip())
    if not found or not float(found[1]):
        faults.append(Fault("budget", "a time such as 90s, 20min or 1.5h", repr(text), "--budget"))
        return None
    return float(found[1]) * UNITS[found[2]]


def confirms(text: str, faults: list[Fault]) -> tuple[int, int] | None:
    """The best few and their seeds, of 8x6; None of none. A fault is added in place."""
    if text == "none":
        return None
    found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text.strip())
    if not found:
        expected = "settings x seeds such as 8x6, or none"
        faults.append(Fault("confirm", expected, repr(text), "--confirm"))
        return None
    return int(found[1]), int(found[2])
