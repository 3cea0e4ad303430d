"""`zafu predict`: answer for the rows or pictures of a file."""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

EXAMPLE = """\
  zafu predict runs/table-3f2a9c1b rows.csv
  zafu predict runs/photos-9c1b3f2a picture.png > answers.csv"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """A run and a file."""
    parser.add_argument("run", type=Path, help="a run, or an exported folder")
    parser.add_argument("file", type=Path, help="rows, a picture, or a folder of pictures")


def run(arguments: argparse.Namespace) -> int:
    """Print one CSV line for each sample: its name, the answer and how sure it is."""
    from zafu.deploy.bundle import predict

    rows = predict(arguments.run, arguments.file)
    writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return 0
