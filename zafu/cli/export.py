"""`zafu export`: a finished model in the form of another system, compared with it first."""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLE = """\
  zafu export runs/python-3f2a9c1b --kind hub
  zafu export runs/python-3f2a9c1b --kind hub --step 4000 --to shared/python"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """A run, the form, and where it goes."""
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument("--kind", choices=["hub"], required=True, help="hub: for transformers")
    parser.add_argument("--step", type=int, help="of a checkpoint (default: the finished model)")
    parser.add_argument("--to", type=Path, help="the folder (default: RUN/export/KIND)")


def run(arguments: argparse.Namespace) -> int:
    """Write the folder, load it where it belongs, and say how its answers differ."""
    from zafu.export import hub
    from zafu.run import Run

    to = arguments.to or arguments.run / "export" / arguments.kind
    found = hub.export(Run.open(arguments.run), to, step=arguments.step)
    files = f"{found.files} file{'s' if found.files > 1 else ''} of weights"
    print(f"{found.folder}: {files}, loaded by transformers")
    print(
        f"logits of {found.samples} held-out samples differ by {found.difference:.1e} "
        f"of the largest (limit {hub.TOLERANCE:.0e})"
    )
    return 0
