"""`zafu train`: from a recipe to a finished model, or on from where it stopped."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator, Sequence

from zafu.cli import options
from zafu.errors import Interrupted, ZafuError
from zafu.export.contract import Export
from zafu.parallel import local
from zafu.run import Run
from zafu.words import in_words

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
        return code or ended(run, quiet=arguments.quiet)
    local.end_with_launcher()
    from zafu.cli.show import show  # torch is loaded when the recipe is known to be sound
    from zafu.pipeline import events

    if local.followers():
        for _ in events(run):
            pass
    else:
        show(events(run), quiet=arguments.quiet)
    return 0 if local.followers() else ended(run, quiet=arguments.quiet)


def ended(run: Run, *, quiet: bool) -> int:
    """Carry out what a recipe wants of its finished model: the chain, then the exports.

    Processes of a launcher leave that to who has started them.
    """
    recipe = run.recipe
    if local.launched() and (recipe.compress or recipe.export):
        text = "compress and export are left to one process when all have ended"
        options.note(f"{text}; by hand: {'; '.join(_by_hand(run))}")
        return 0
    if recipe.compress:
        from zafu.cli import show_compression as showing
        from zafu.shrink.chain import compress

        events = compress(run.folder, recipe.compress)
        shrunk = showing.carried(events, quiet=quiet)
        showing.chain(shrunk)
        run = Run.open(shrunk.folder)
    if recipe.export:
        published(run, recipe.export)
    return 0


def published(run: Run, forms: Sequence[Export]) -> None:
    """Export a finished run in each form that is not there; raises when all have been tried."""
    from zafu.cli import show_export
    from zafu.deploy.gate import export, there

    refused = list[str]()
    for how in forms:
        if there(run, how):
            options.note(f"{run.folder / 'export' / how.kind} is there")
            continue
        try:
            show_export.shown(export(run, how, say=show_export.said))
        except Interrupted:
            raise
        except ZafuError as error:
            refused.append(f"{how.kind}: {error}")
    if refused:
        raise ZafuError("\n".join(refused))


def _by_hand(run: Run) -> Iterator[str]:
    if links := run.recipe.compress:
        from zafu.compress.words import written

        yield f"zafu compress {run.folder} --how {shlex.quote(written(links))}"
    folder = "its last folder" if run.recipe.compress else run.folder
    for how in run.recipe.export:
        yield f"zafu export {folder} --kind {shlex.quote(in_words(how))}"
