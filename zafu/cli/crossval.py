"""`zafu crossval`: judge a recipe by folds, with an interval that a person may quote."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zafu.cli import options
from zafu.data.fold import Fold
from zafu.errors import Fault, RecipeError
from zafu.recipe import Recipe
from zafu.source import Source, parse_yaml

if TYPE_CHECKING:
    from zafu.crossval import Crossval

EXAMPLE = """\
  zafu crossval digits.yaml --folds 5 --repeats 3
  zafu crossval flights.yaml data.split.test='{fold: 0, of: 5, gap: 1000}'     by time, with a gap
  zafu crossval digits.yaml --splitter ShuffleSplit --setting test_size=0.2 --folds 10
  zafu crossval digits.yaml --against fit.optimizer.kind=sgd     which is better? on the same folds
  zafu crossval digits.yaml --nested --over fit.optimizer.lr=log:1e-4:0.3 --trials 20
  the same command again goes on where it stopped, or says what was found"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """A recipe, how many folds, and how they are dealt."""
    options.add_recipe(parser)
    add = parser.add_argument
    add("--folds", type=int, help="folds (default: 5, or the recipe's data.split.test.of)")
    add("--repeats", type=int, default=1, help="times that all samples are dealt anew (default: 1)")
    add("--splitter", help="a splitter of sklearn.model_selection that deals instead")
    add("--setting", action="append", default=[], metavar="NAME=VALUE", help="of the splitter")
    add(
        "--against",
        action="append",
        default=[],
        metavar="RECIPE|path=value",
        help="another recipe, or settings in which it differs: both are judged by the same folds",
    )
    add("--nested", action="store_true", help="search inside of each fold")
    add("--over", action="append", default=[], metavar="PATH=SPEC", help="as in zafu tune")
    add("--search", default="random", metavar="KIND", help="as in zafu tune (default: random)")
    add("--trials", type=int, default=20, help="settings tried inside of each fold (default: 20)")
    add("--inner", type=int, default=4, help="inner folds that judge a setting (default: 4)")
    add(
        "--engine",
        choices=("auto", "stacked", "pool", "sequential"),
        default="auto",
        help="who trains the folds (default: auto, which measures)",
    )
    add("--json", action="store_true", help="print the result as JSON")
    add("--quiet", action="store_true", help="print only the result")


def run(arguments: argparse.Namespace) -> int:
    """Judge all folds, a line for each."""
    refuse_alone(arguments)
    run = options.run_of(arguments)
    recipe, folds = dealt(run.recipe, arguments)
    if arguments.nested:
        return _nested(recipe, folds, arguments)
    from zafu.cli.show_folds import show  # torch is loaded when the request is known to be sound
    from zafu.crossval import events
    from zafu.paired import paired

    crossval = named(recipe, folds, arguments)
    if not arguments.against:
        return show(events(crossval), quiet=arguments.quiet, json=arguments.json)
    file, found = other(recipe, arguments)
    rival = named(found, folds, arguments, stem=file)
    return show(paired(crossval, rival), quiet=arguments.quiet, json=arguments.json)


def _nested(recipe: Recipe, folds: int, arguments: argparse.Namespace) -> int:
    from zafu.cli.tune import searched
    from zafu.space import Space

    search = searched(arguments.search, arguments.trials, limited=False)
    space = Space.parse(arguments.over, recipe)
    from zafu.cli.show_folds import show
    from zafu.nested import Inner, nested, of

    inner = Inner(space, search, arguments.inner)
    crossval = named(recipe, folds, arguments)
    crossval = of(crossval, inner)
    if not arguments.out:
        crossval = crossval.called(arguments.recipe.stem)
    return show(nested(crossval, inner), quiet=arguments.quiet, json=arguments.json)


def named(recipe: Recipe, folds: int, arguments: argparse.Namespace, stem: str = "") -> Crossval:
    """The cross-validation of a recipe, in the folder that the arguments name."""
    from zafu.crossval import Crossval

    repeats, runs = arguments.repeats, arguments.runs
    if arguments.out and not stem:
        return Crossval(recipe, arguments.out, runs, folds, repeats, arguments.engine)
    name = stem or arguments.recipe.stem
    return Crossval(recipe, runs, runs, folds, repeats, arguments.engine).called(name)


def other(recipe: Recipe, arguments: argparse.Namespace) -> tuple[str, Recipe]:
    """The name and the recipe to compare with: a file, or settings that replace the recipe's."""
    words = arguments.against
    if len(words) == 1 and "=" not in words[0]:
        file = Path(words[0])
        return file.stem, dealt(Recipe.load(file, arguments.overrides), arguments)[0]
    source = Source(recipe.dump(), str(arguments.recipe)).override(words)
    for path in source.restarted:
        options.note(f"{path} starts from the defaults of its new kind")
    return arguments.recipe.stem, Recipe.from_source(source)


def refuse_alone(arguments: argparse.Namespace) -> None:
    """Raise RecipeError for options that would have no effect."""
    faults: list[Fault] = []
    if arguments.nested and arguments.against:
        faults.append(Fault("", "one of them", "both", "--nested, --against"))
    if arguments.over and not arguments.nested:
        faults.append(Fault("", "--nested beside --over", "nothing", "command line"))
    if arguments.setting and not arguments.splitter:
        faults.append(Fault("", "--splitter beside --setting", "nothing", "command line"))
    if faults:
        raise RecipeError(faults)


def dealt(recipe: Recipe, arguments: argparse.Namespace) -> tuple[Recipe, int]:
    """The recipe with the splitter that is asked for, and how many folds; raises RecipeError."""
    own = recipe.data.split.test
    folds = arguments.folds or (own.of if isinstance(own, Fold) else 5)
    settings: dict[str, Any] = {}
    for text in arguments.setting:
        name, sign, value = text.partition("=")
        if not sign:
            fault = Fault("", "NAME=VALUE", repr(text), "--setting")
            raise RecipeError([fault])
        settings[name] = parse_yaml(value, "--setting").data
    if arguments.splitter:
        test = {"fold": 0, "of": folds, "splitter": arguments.splitter, "settings": settings}
        split = {**recipe.data.split.dump(), "stratify": False, "test": test}
        recipe = recipe.at("data.split", split)  # which decides about classes too
    return recipe, folds
