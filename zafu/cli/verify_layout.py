"""`zafu verify-layout`: proof that a layout computes what one process computes."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from zafu.cli import options
from zafu.layout import Layout
from zafu.parallel import local
from zafu.recipe import Recipe
from zafu.run import prepared

if TYPE_CHECKING:
    from zafu.verify import Difference

EXAMPLE = """\
  zafu verify-layout digits.yaml layout.data=2
  zafu verify-layout python.yaml layout.tensor=2 layout.shard=2"""
SHOWN = 12
LOGS = "verify-layout"  # of the processes, beside the runs
TRACES = "ZAFU_TRACES"  # tells the ranks where to write what they did


def arguments(parser: argparse.ArgumentParser) -> None:
    """A recipe and overrides; the layout is theirs."""
    options.add_recipe(parser)


def run(arguments: argparse.Namespace) -> int:
    """Compare every gradient and weight of a few steps, and print the worst; 1 if any is wrong."""
    recipe = options.run_of(arguments).recipe
    from zafu import verify
    from zafu.parallel.world import World

    recipe = verify.plain(recipe)
    if local.launched():
        local.end_with_launcher()
        data = prepared(recipe, arguments.runs)
        verify.rank_of(recipe, data, Path(os.environ[TRACES]), logs=arguments.runs / LOGS)
        return 0
    data = prepared(recipe, arguments.runs)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ[TRACES] = name
        words = ["verify-layout", *arguments.given]
        if code := local.run(recipe.layout.world, words, logs=arguments.runs / LOGS, restarts=0):
            return code
        alone = Recipe.parse({**recipe.dump(), "layout": Layout().dump()})
        reference = verify.traced(alone, data, World(Layout()))
        found = verify.compared(reference, folder, recipe.layout)
    return _shown(found, recipe.layout)


def _shown(found: list[Difference], layout: Layout) -> int:
    from zafu.verify import LIMITS, STEPS

    wrong = [d for d in found if d.beyond]
    usual = Layout().dump()
    given = [f"{name}={value}" for name, value in layout.dump().items() if value != usual[name]]
    told = f"{layout.world} processes ({', '.join(given)})"
    print(f"{told} against one: {STEPS} steps of SGD in fp32")
    print(f"{'':11}{'relative':>10}{'limit':>9}  step rank  name")
    for d in found[:SHOWN]:
        print(f"{d.what:11}{d.relative:10.1e}{LIMITS[d.what]:9.0e}{d.step:6}{d.rank:5}  {d.name}")
    verdict = f"{len(wrong)} of {len(found)} differ by more than rounding" if wrong else "the same"
    print(f"{len(found)} comparisons, worst first: {verdict}")
    if gradients := [d for d in wrong if d.what == "gradient"]:
        begun = min(d.step for d in gradients)  # later ones follow from these
        names = dict.fromkeys(d.name for d in gradients if d.step == begun)
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        print(f"from step {begun} on, gradients of {', '.join([*names][:SHOWN])}{more}")
    return 1 if wrong else 0
