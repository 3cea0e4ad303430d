"""`zafu train`: from a recipe to a finished model, or on from where it stopped."""

from __future__ import annotations

import argparse

from zafu.cli import options

EXAMPLE = """\
  zafu train digits.yaml
  zafu train digits.yaml fit.optimizer.lr=1e-3 fit.batch=all fit.micro_batch=256
  the same command again goes on where it stopped, or says that it is finished"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """A recipe, overrides, the run's folder, and whether to be quiet."""
    options.add_recipe(parser)
    parser.add_argument("--quiet", action="store_true", help="print only the result")


def run(arguments: argparse.Namespace) -> int:
    """Train to the end, drawing progress."""
    run = options.run_of(arguments)
    from zafu.cli.show import show  # torch is loaded when the recipe is known to be sound
    from zafu.pipeline import events

    show(events(run), quiet=arguments.quiet)
    return 0
