"""`zafu export`: a finished model in the form of another runtime, compared with it first."""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLE = """\
  zafu export runs/digits-3f2a9c1b --kind onnx
  zafu export runs/python-3f2a9c1b --kind hub
  zafu export runs/python-3f2a9c1b --kind hub --step 4000 --to shared/python
  zafu list exports ; zafu list exports onnx                    # forms ; settings of one"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """A run, the form, and where it goes."""
    add = parser.add_argument
    add("run", type=Path, help="a run folder")
    add("--kind", required=True, help="a form, with its settings: see zafu list exports")
    add("--step", type=int, help="of a checkpoint (default: the finished model)")
    add("--to", type=Path, help="the folder (default: RUN/export/KIND)")
    add("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Write the folder, open it where it belongs, and say how its answers differ."""
    from zafu.export.contract import Export
    from zafu.words import worded

    how = worded(Export, arguments.kind)
    from zafu.cli import show_export  # torch is loaded when the request is sound
    from zafu.deploy.gate import export
    from zafu.run import Run

    run, say = Run.open(arguments.run), show_export.said
    found = export(run, how, arguments.to, step=arguments.step, say=say)
    (show_export.as_json if arguments.json else show_export.shown)(found)
    return 0
