"""`zafu train`: from a recipe to a finished model, or on from where it stopped."""

from __future__ import annotations

import argparse
import shlex

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
        code = local.run(world, words, logs=run.folder / "ranks")
        return code or compressed(run, quiet=arguments.quiet)
    local.end_with_launcher()
    from zafu.cli.show import show  # torch is loaded when the recipe is known to be sound
    from zafu.pipeline import events

    if local.followers():
        for _ in events(run):
            pass
    else:
        show(events(run), quiet=arguments.quiet)
    return 0 if local.followers() else compressed(run, quiet=arguments.quiet)


def compressed(run: Run, *, quiet: bool) -> int:
    """Carry out the chain of a finished run's recipe, where it has one, and print its table.

    Processes of a launcher leave that to who has started them.
    """
    if not run.recipe.compress:
        return 0
    if local.launched():
        from zafu.compress.words import written

        how = shlex.quote(written(run.recipe.compress))
        text = "compress is left to one process when all have ended; by hand"
        options.note(f"{text}: zafu compress {run.folder} --how {how}")
        return 0
    from zafu.cli import show_compression as showing
    from zafu.shrink.chain import compress

    events = compress(run.folder, run.recipe.compress)
    showing.chain(showing.carried(events, quiet=quiet))
    return 0
