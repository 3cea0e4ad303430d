"""`zafu list`: what a recipe can choose from, with settings, defaults and ranges."""

from __future__ import annotations

import argparse
import inspect

from zafu.cli.families import FAMILIES
from zafu.errors import Refused
from zafu.spec import Family, did_you_mean, fields_of

EXAMPLE = """\
  zafu list
  zafu list optimizers
  zafu list optimizers muon"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """A family, and a kind of it."""
    parser.add_argument("family", nargs="?", help=f"one of {', '.join(FAMILIES)}")
    parser.add_argument("kind", nargs="?", help="a technique, to see its settings")


def run(arguments: argparse.Namespace) -> int:
    """Print families, the techniques of one, or the settings of one."""
    if arguments.family is None:
        for name, family in FAMILIES.items():
            print(f"{name:18}{', '.join(family.kinds())}")
        return 0
    kinds = _found(arguments.family, FAMILIES, "family").kinds()
    if arguments.kind is None:
        for kind, technique in kinds.items():
            print(f"{kind:22}{_first_line(technique)}")
        return 0
    technique: type[Family] = _found(arguments.kind, kinds, arguments.family)
    print(inspect.cleandoc(inspect.getmodule(technique).__doc__ or ""), end="\n\n")
    for name in fields_of(technique):
        field = technique.model_fields[name]
        default = "required" if field.is_required() else _plain(technique, name)
        text = " ".join((field.description or "").split())
        print(f"  {name:16}{default:16}{text}")
    return 0


def _found(name: str, known: dict[str, type[Family]], what: str) -> type[Family]:
    if name not in known:
        hint = did_you_mean(name, known) or f"known: {', '.join(known)}"
        raise Refused(f"there is no {what} {name!r}; {hint}")
    return known[name]


def _first_line(technique: type[Family]) -> str:
    return inspect.cleandoc(technique.__doc__ or "").partition("\n")[0]


def _plain(technique: type[Family], name: str) -> str:
    value = technique.model_fields[name].default
    return value.tag() if isinstance(value, Family) else str(value).replace("None", "none")
