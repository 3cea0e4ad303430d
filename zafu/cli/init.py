"""`zafu init`: write a commented recipe to start from."""

from __future__ import annotations

import argparse
from importlib.resources import files
from pathlib import Path

from zafu.errors import Refused
from zafu.spec import did_you_mean

EXAMPLE = """\
  zafu init                    lists the recipes
  zafu init digits             writes digits.yaml
  zafu init python --to my.yaml"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The recipe's name, and where to write it."""
    parser.add_argument("name", nargs="?", help="which recipe; none lists them")
    parser.add_argument("--to", type=Path, help="the file to write (default: NAME.yaml)")


def run(arguments: argparse.Namespace) -> int:
    """List the recipes, or write one; an existing file is never replaced."""
    folder = files("zafu") / "recipes"
    known = {Path(f.name).stem: f.read_text("utf-8") for f in folder.iterdir()}
    if arguments.name is None:
        for name in sorted(known):
            print(f"{name:12}{known[name].partition(chr(10))[0].lstrip('# ')}")
        return 0
    if arguments.name not in known:
        hint = did_you_mean(arguments.name, known) or f"known: {', '.join(sorted(known))}"
        raise Refused(f"there is no recipe {arguments.name!r}; {hint}")
    target = arguments.to or Path(f"{arguments.name}.yaml")
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(known[arguments.name])
    except OSError as error:
        raise Refused(f"{target}: {error.strerror}; choose another name with --to") from None
    print(f"{target} is written; now: zafu train {target}")
    return 0
