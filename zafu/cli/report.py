"""`zafu report`: one self-contained HTML page about a run."""

from __future__ import annotations

import argparse
from pathlib import Path

from zafu.report.page import write
from zafu.run import Run

EXAMPLE = """\
  zafu report runs/digits-3f2a9c1b"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """A run folder."""
    parser.add_argument("run", type=Path, help="a run folder")


def run(arguments: argparse.Namespace) -> int:
    """Write the page and print its path."""
    print(write(Run.open(arguments.run).folder))
    return 0
