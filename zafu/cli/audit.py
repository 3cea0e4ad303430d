"""`zafu audit`: training samples whose label is probably wrong, with a page to review them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from zafu.cli import options

EXAMPLE = """\
  zafu audit photos.yaml                    # by the recipe's model on parts that it did not see
  zafu audit photos.yaml --how weights      # by weights that are learned against other samples
  zafu audit photos.yaml --json"""
_LISTED = 10


def arguments(parser: argparse.ArgumentParser) -> None:
    """A recipe for classes, and how labels are doubted."""
    parser.add_argument("recipe", type=Path, help="a YAML file; see zafu init")
    parser.add_argument(
        "overrides", nargs="*", metavar="path=value", help="settings that replace the file's"
    )
    parser.add_argument(
        "--how",
        choices=("confidence", "weights"),
        default="confidence",
        help="what a label is doubted by (default: confidence)",
    )
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of all runs")
    parser.add_argument("--json", action="store_true", help="all suspects as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print the most doubtful labels and where the page is."""
    arguments.out = None
    wanted = options.run_of(arguments)
    from zafu.audit import audit

    name = Path(arguments.recipe).stem
    found = audit(wanted.recipe, name, runs=arguments.runs, how=arguments.how)
    if arguments.json:
        facts = {"folder": str(found.folder), "samples": found.samples, "without": found.line}
        print(json.dumps({**facts, "suspects": [s._asdict() for s in found.suspects]}, indent=1))
        return 0
    print(f"{len(found.suspects)} of {found.samples} training labels are suspected")
    for suspect in found.suspects[:_LISTED]:
        named = suspect.id or f"row {suspect.row}"
        print(
            f"  {suspect.score:.3f}  {named}: labelled {suspect.given}, likely {suspect.suggested}"
        )
    print(f"page:  {found.folder / 'report.html'}")
    print(f"table: {found.folder / 'suspects.csv'}")
    if found.line:
        print("the page has the line for data: that leaves them out of training")
    return 0
