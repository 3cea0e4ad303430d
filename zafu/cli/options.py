"""Arguments that several verbs share."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from zafu.recipe import Recipe
from zafu.run import Run
from zafu.source import read


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """Add a recipe file, `path=value` overrides and the output folder."""
    parser.add_argument("recipe", type=Path, help="a YAML file; see zafu init")
    parser.add_argument(
        "overrides", nargs="*", metavar="path=value", help="settings that replace the file's"
    )
    add_folders(parser)


def add_folders(parser: argparse.ArgumentParser) -> None:
    """Add where runs lie."""
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), help="folder of all runs (default: runs)"
    )
    parser.add_argument("--out", type=Path, help="this run's folder (default: named by the recipe)")


def run_of(arguments: argparse.Namespace) -> Run:
    """The run that the arguments of `add_recipe` name; raises RecipeError with every fault."""
    return run_named(arguments, arguments.recipe, *arguments.overrides)


def run_named(arguments: argparse.Namespace, file: Path | str, *overrides: str) -> Run:
    """The run of a recipe file and overrides, in the folders that the arguments name."""
    file = Path(file)
    source = read(file).override(overrides)
    for path in source.restarted:
        note(f"{path} starts from the defaults of its new kind; the file's settings are left out")
    recipe = Recipe.from_source(source)
    for plugin in recipe.plugins:
        note(f"plugin {plugin} was imported: its code runs with your rights")
    if arguments.out:
        return Run(arguments.out, recipe)
    return Run.named(recipe, file.stem, arguments.runs)


def note(text: str) -> None:
    """A sentence beside the output."""
    print(text, file=sys.stderr)
