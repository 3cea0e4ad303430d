"""`zafu data`: fetch sets to start from; show what a recipe's data is and what was done to it."""

from __future__ import annotations

import argparse
from pathlib import Path

from zafu.cli import options
from zafu.cli.prepare import add_engine, prepared
from zafu.errors import Refused

EXAMPLE = """\
  zafu data get                    lists the sets, with licence and size
  zafu data get fashion-mnist      fetches one; recipes name its files get:fashion-mnist/*
  zafu data get hub:owner/name     by the datasets library, where a hub can be reached
  zafu data report corpus.yaml     one HTML page about a recipe's data"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """What to do, and with which set or recipe."""
    parser.add_argument("action", choices=("get", "report"))
    parser.add_argument("words", nargs="*", metavar="NAME | RECIPE path=value")
    options.add_folders(parser)
    add_engine(parser)


def run(arguments: argparse.Namespace) -> int:
    """Fetch a set, or write a report."""
    return _get(arguments.words) if arguments.action == "get" else _report(arguments)


def _get(names: list[str]) -> int:
    from zafu.sets.catalog import SETS
    from zafu.sets.fetch import get

    if not names:
        for name, known in SETS.items():
            print(f"{name:15}{known.about}\n{'':15}licence: {known.licence}")
            print(f"{'':15}zafu data get {name}; zafu init {known.recipe}")
        return 0
    for name in names:
        folder = get(name)
        files = sorted(p.name for p in folder.iterdir() if p.name != "card.json")
        print(f"{name} is in {folder}: {', '.join(files)}")
        if name in SETS:
            print(f"licence: {SETS[name].licence}\nnext: zafu init {SETS[name].recipe}")
    return 0


def _report(arguments: argparse.Namespace) -> int:
    if not arguments.words:
        raise Refused("zafu data report: expected a recipe; zafu init writes one")
    run = options.run_named(arguments, *arguments.words)
    folder = prepared(run.recipe, run.folder.parent, arguments)
    from zafu.data_report import write

    print(write(run.recipe, folder, name=Path(arguments.words[0]).stem))
    return 0
