"""`zafu train`: from a recipe to a finished model, or on from where it stopped."""

from __future__ import annotations

import argparse

from zafu.cli import options
from zafu.parallel import local
from zafu.run import Run

EXAMPLE = """\
  zafu train digits.yaml
  zafu train digits.yaml fit.optimizer.lr=1e-3 fit.batch=all fit.micro_batch=256
  torchrun --nnodes=1:4 --nproc-per-node=8 -m zafu train big.yaml layout.shard=8 --elastic
  the same command again goes on where it stopped, or says that it is finished"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """A recipe, overrides, the run's folder, whose number of processes, and whether to be quiet."""
    options.add_recipe(parser)
    parser.add_argument(
        "--elastic",
        action="store_true",
        help="as many replicas (layout.data) as the launcher has started processes for",
    )
    parser.add_argument("--quiet", action="store_true", help="print only the result")


def run(arguments: argparse.Namespace) -> int:
    """Train to the end, drawing progress."""
    run = options.run_of(arguments)
    if arguments.elastic:
        run = Run(run.folder, local.elastic(run.recipe))
    world = run.recipe.layout.world
    if world > 1 and not local.launched():
        words = ["train", *arguments.given]
        return local.run(world, words, logs=run.folder / "ranks")
    local.end_with_launcher()
    from zafu.cli.show import show  # torch is loaded when the recipe is known to be sound
    from zafu.pipeline import events

    if local.followers():
        for _ in events(run):
            pass
    else:
        show(events(run), quiet=arguments.quiet)
    return 0
