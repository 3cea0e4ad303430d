"""`zafu crossval`: judge a recipe by folds, with an interval that a person may quote."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from zafu.cli import options
from zafu.data.fold import Fold
from zafu.errors import Fault, RecipeError
from zafu.recipe import Recipe
from zafu.source import parse_yaml

EXAMPLE = """\
  zafu crossval digits.yaml --folds 5 --repeats 3
  zafu crossval flights.yaml data.split.test='{fold: 0, of: 5, gap: 1000}'     by time, with a gap
  zafu crossval digits.yaml --splitter ShuffleSplit --setting test_size=0.2 --folds 10
  the same command again goes on where it stopped, or says what was found"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """A recipe, how many folds, and how they are dealt."""
    options.add_recipe(parser)
    add = parser.add_argument
    add("--folds", type=int, help="folds (default: 5, or the recipe's data.split.test.of)")
    add("--repeats", type=int, default=1, help="times that all samples are dealt anew (default: 1)")
    add("--splitter", help="a splitter of sklearn.model_selection that deals instead")
    add("--setting", action="append", default=[], metavar="NAME=VALUE", help="of the splitter")
    add("--engine", default="auto", help="auto, stacked, pool or sequential")
    add("--json", action="store_true", help="print the result as JSON")
    add("--quiet", action="store_true", help="print only the result")


def run(arguments: argparse.Namespace) -> int:
    """Judge all folds, a line for each."""
    run = options.run_of(arguments)
    recipe, folds = dealt(run.recipe, arguments)
    from zafu.cli.show_folds import show  # torch is loaded when the request is known to be sound
    from zafu.crossval import Crossval, events

    name, runs = arguments.recipe.stem, arguments.runs
    crossval = Crossval.named(recipe, name, runs, folds=folds, repeats=arguments.repeats)
    if arguments.out:
        crossval = Crossval(recipe, arguments.out, runs, folds, arguments.repeats)
    crossval = crossval.on(arguments.engine)
    found = show(events(crossval), quiet=arguments.quiet, silent=arguments.json)
    if arguments.json and found:
        json.dump(found.result.dump(), sys.stdout, indent=1)
        print()
    return 0


def dealt(recipe: Recipe, arguments: argparse.Namespace) -> tuple[Recipe, int]:
    """The recipe with the splitter that is asked for, and how many folds; raises RecipeError."""
    own = recipe.data.split.test
    folds = arguments.folds or (own.of if isinstance(own, Fold) else 5)
    settings: dict[str, Any] = {}
    for text in arguments.setting:
        name, sign, value = text.partition("=")
        if not sign or not arguments.splitter:
            fault = Fault("", "NAME=VALUE beside --splitter", repr(text), "--setting")
            raise RecipeError([fault])
        settings[name] = parse_yaml(value, "--setting").data
    if arguments.splitter:
        test = {"fold": 0, "of": folds, "splitter": arguments.splitter, "settings": settings}
        recipe = recipe.at("data.split.test", test)
    return recipe, folds
