"""`zafu replay`: compute a logged step again, and say whether the same bits come out."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from zafu.cli import options
from zafu.errors import Refused
from zafu.parallel import local
from zafu.run import Run
from zafu.source import parse_yaml

if TYPE_CHECKING:
    from zafu.replay import Plan

EXAMPLE = """\
  zafu replay runs/digits-3f2a9c1b --step 120
  zafu replay runs/python-0a1b2c3d --step 120 layout.data=1    # by how much another layout differs
  exit code 0: the same bits; 1: other ones"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """A run, a step, and another layout than the run's."""
    parser.add_argument("run", type=Path, help="a run folder; nothing is written into it")
    parser.add_argument("--step", type=int, required=True, help="a logged step")
    parser.add_argument(
        "--from-start", action="store_true", help="begin from the seed, not from a checkpoint"
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="layout.…=value", help="another layout than the run's"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print logged and found values; 1 where they differ."""
    run = Run.open(arguments.run)
    recipe = run.recipe
    for assignment in arguments.overrides:
        path, _, value = assignment.partition("=")
        if not path.startswith("layout."):
            raise Refused(f"{path}: expected layout.…: another recipe computes other numbers")
        recipe = recipe.at(path, parse_yaml(value).data)
    run = Run(run.folder, recipe)
    from zafu import replay

    plan = replay.planned(run, arguments.step, from_start=arguments.from_start)
    if recipe.layout.world > 1 and not local.launched():
        with tempfile.TemporaryDirectory() as logs:
            words = ["replay", *arguments.given]
            return local.run(recipe.layout.world, words, logs=Path(logs), restarts=0)
    local.end_with_launcher()
    if not local.followers():
        for text in replay.changed(run):
            options.note(f"the environment is not that of the run: {text}")
    found = replay.here(run, plan)
    return 0 if local.followers() else _shown(plan, found)


def _shown(plan: Plan, found: dict[str, float]) -> int:
    from zafu.replay import COMPARED

    source = plan.source.name if plan.source else "the seed"
    last = plan.row["step"]
    span = f"step {last}" if plan.first == last else f"the means of steps {plan.first} to {last}"
    print(f"{span}, computed again from {source}")
    print(f"{'':11}{'logged':>24}{'now':>24}")
    equal = True
    for name in COMPARED:
        logged, now = float(plan.row[name]), found[name]
        same = logged.hex() == now.hex()
        gap = "the same bits" if same else f"off by {abs(now - logged) / (abs(logged) or 1):.1e}"
        print(f"{name:11}{logged!r:>24}{now!r:>24}  {gap}")
        equal &= same
    return 0 if equal else 1
