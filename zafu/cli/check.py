"""`zafu check`: every fault at once, without reading the data or loading torch."""

from __future__ import annotations

import argparse

from zafu.cli import options
from zafu.compress.words import written
from zafu.costs import of_ranks
from zafu.errors import RecipeError
from zafu.recipe import Recipe
from zafu.run import checkpoint_bytes, foresee
from zafu.signature import Signature
from zafu.units import Bytes, Count
from zafu.words import in_words

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
    if signature:
        copy = Bytes(max(rank.copy for rank in of_ranks(recipe, signature, samples=1)))
        here = " of the process that writes most" if recipe.layout.world > 1 else ""
        print(f"  save   beside training, from a copy: {copy} of main memory{here}")
    if recipe.layout.world > 1 and signature:
        _layout(recipe, signature)
    if recipe.compress:
        print(f"  then   {written(recipe.compress)}")
    if recipe.export:
        print(f"  then   exported as {', '.join(map(in_words, recipe.export))}")
    print(f"  run    {run.folder}")
    return 0


def _layout(recipe: Recipe, signature: Signature) -> None:
    """What the layout will cost: state and messages of the rank that has most of either."""
    layout, batch = recipe.layout, recipe.fit.batch
    ranks = of_ranks(recipe, signature, samples=1 if batch == "all" else batch)
    state = max(ranks, key=lambda rank: rank.state.total).state
    parts = ", ".join(f"{name} {Bytes(size)}" for name, size in state._asdict().items())
    print(f"  layout {layout.world} processes, state of each {Bytes(state.total)} ({parts})")
    for axes in dict.fromkeys(axes for rank in ranks for axes in rank.traffic):
        found = max((r.traffic[axes] for r in ranks if axes in r.traffic), key=lambda t: t.bytes)
        many = "" if found.messages is None else f" in {found.messages} messages"
        if batch != "all":  # else they go with the split
            print(f"         {axes}: a rank sends {Bytes(found.bytes)}{many} a step")
    if layout.pipeline > 1:
        from zafu.parallel.schedules import bubble  # torch has the tables of schedules

        print(f"         pipeline: {bubble(layout):.1%} of the time idle")
