"""`zafu prepare`: clean, split and encode the data of a recipe, and say what was done to it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zafu.cli import options
from zafu.errors import Refused
from zafu.recipe import Recipe
from zafu.work import Engine, Inline, Pool

EXAMPLE = """\
  zafu prepare python.yaml
  zafu prepare corpus.yaml --workers 8
  zafu prepare corpus.yaml --on ray      over a cluster
  the same command again goes on where it was stopped, or finds what is prepared"""
ENGINES = ("inline", "pool", "ray")


def arguments(parser: argparse.ArgumentParser) -> None:
    """A recipe, overrides, and who does the pieces."""
    options.add_recipe(parser)
    add_engine(parser)


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Add where the pieces of a preparation are done; it changes nothing in them."""
    parser.add_argument("--on", choices=ENGINES, default="pool", help="who does it (default: pool)")
    parser.add_argument("--workers", type=int, help="processes of the pool (default: processors)")


def run(arguments: argparse.Namespace) -> int:
    """Prepare, drawing progress, and print each step."""
    run = options.run_of(arguments)
    folder = prepared(run.recipe, run.folder.parent, arguments)
    from zafu.artifact import read_json

    show(read_json(folder / "prepare.json"), folder)
    return 0


def prepared(recipe: Recipe, runs: Path, arguments: argparse.Namespace) -> Path:
    """The folder of the prepared data; progress is drawn meanwhile."""
    from rich.console import Console

    from zafu import run
    from zafu.signals import stoppable

    console = Console(stderr=True, highlight=False)
    with stoppable() as stop, console.status("reads the recipe's data") as status:
        return run.prepared(
            recipe,
            runs,
            engine=engine(arguments, recipe.plugins),
            say=status.update,
            stopped=lambda: stop.signal,
        )


def engine(arguments: argparse.Namespace, plugins: tuple[str, ...]) -> Engine:
    """The engine that the arguments of `add_engine` name."""
    if arguments.workers is not None and (arguments.on != "pool" or arguments.workers < 1):
        raise Refused("--workers: expected a number >= 1, and --on pool")
    if arguments.on == "ray":
        from zafu.work_on_ray import Ray

        return Ray(plugins)
    if arguments.on == "inline":
        return Inline()
    return Pool(arguments.workers, plugins) if arguments.workers else Pool(plugins=plugins)


def show(said: Mapping[str, Any], folder: Path) -> None:
    """Print the steps with their examples, the splits, the tokens and what leaks."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    table = Table(title="what was done", title_justify="left")
    table.add_column("step")
    for heading in ("in", "out", "changed"):
        table.add_column(heading, justify="right")
    table.add_column("removed, and why")
    for step in said.get("steps", ()):
        counts = (f"{step[key]:,}" for key in ("rows_in", "rows_out", "changed"))
        table.add_row(step["step"], *counts, step["why"])
    console.print(table)
    for step in said.get("steps", ()):
        for example in step["examples"][:1]:
            console.print(f"[dim]{_line(step['step'], example)}[/dim]", soft_wrap=True)
    sizes = ", ".join(f"{name} {size:,}" for name, size in said["splits"].items())
    console.print(f"splits   {sizes}")
    for split, found in said.get("tokens", {}).items():
        if found["tokens"]:
            ratio = f"{found['bytes_per_token']:.2f} bytes a token"
            console.print(f"tokens   {split} {found['tokens']:,}, {ratio}")
    for split, leak in said.get("leaks", {}).items():
        for what, share in leak.items():
            if isinstance(share, dict) and share.get("count"):
                console.print(f"leak     {split}: {what} {share['count']:,} ({share['share']:.2%})")
    console.print(f"data     {folder}")
    if any(said["dropped"].values()):
        console.print(f"removed  {folder / 'removed.jsonl'}")
        console.print("put back data.keep='[\"ID\"]'")


def _line(step: str, example: Mapping[str, str]) -> str:
    """An example of what a step did, on one line."""
    from rich.markup import escape

    before = " ".join(example.get("before", "").split())[:80]
    what = example.get("reason") or "changed"
    after = example.get("after")
    text = f"{before!r}" + (f" -> {' '.join(after.split())[:80]!r}" if after is not None else "")
    return escape(f"  {step}: {example['id']}: {what}" + (f": {text}" if before else ""))
