"""`zafu evaluate`: judge a finished model."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from zafu.data.contract import SPLITS

EXAMPLE = """\
  zafu evaluate runs/digits-3f2a9c1b
  zafu evaluate runs/digits-3f2a9c1b --split validation --json"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """A run, a split, and the form of the answer."""
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument("--split", choices=SPLITS, default="test", help="default: test")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print every metric with its interval."""
    from zafu.pipeline import evaluate

    scores = evaluate(arguments.run, arguments.split)
    if arguments.json:
        print(json.dumps({name: score.dump() for name, score in scores.items()}, indent=1))
        return 0
    for name, score in scores.items():
        print(f"{name:16}{score}   (n = {score.n:,}; {score.how})")
    return 0
