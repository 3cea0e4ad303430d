"""`zafu check`: every fault at once, without reading the data or loading torch."""

from __future__ import annotations

import argparse

from zafu.cli import options
from zafu.errors import RecipeError
from zafu.run import checkpoint_bytes, foresee
from zafu.units import Bytes, Count

EXAMPLE = """\
  zafu check digits.yaml
  zafu check digits.yaml fit.optimizer.lr=1e-3 fit.steps=500"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """A recipe and overrides."""
    options.add_recipe(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print what the recipe would do; exit code 2 with all faults if it has any."""
    run = options.run_of(arguments)
    if faults := foresee(run.recipe, run.folder):
        raise RecipeError(faults)
    recipe = run.recipe
    signature = recipe.data.foreseen(recipe.task.kind)
    print(f"{arguments.recipe} is sound")
    print(f"  task   {recipe.task.kind}, judged by {recipe.metric}")
    print(f"  data   {recipe.data.kind}")
    size = ""
    if signature:
        count = recipe.model.parameter_count(signature)
        size = f", {Count(count)} parameters"
        size += f", {Bytes(checkpoint_bytes(recipe, signature))} a checkpoint"
    print(f"  model  {recipe.model.kind}{size}")
    print(f"  fit    {recipe.fit.optimizer.kind}, batch {recipe.fit.batch}, {recipe.fit.goal()}")
    print(f"  run    {run.folder}")
    return 0
