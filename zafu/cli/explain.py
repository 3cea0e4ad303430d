"""`zafu explain`: why a finished model answers as it does, with checks of every method."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

EXAMPLE = """\
  zafu explain runs/digits-3f2a9c1b --rows 5
  zafu explain runs/photos-9c1b3f2a --input picture.png --methods integrated-gradients,grad-cam
  zafu explain runs/weather-9c1b3f2a --rows 3 --move 5
  zafu explain runs/python-3f2a9c1b --prompt "def "
  zafu list explanations                                  # all methods, and what each says"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """A run, what of it is explained, and by what."""
    add = parser.add_argument
    add("run", type=Path, help="a run, or an exported folder")
    add("--input", type=Path, help="rows, a picture, or a folder of pictures")
    add("--rows", type=int, help="so many held-out samples (default: 4)")
    add("--prompt", help="a text whose next token is explained")
    add("--methods", type=_parted, default=(), help="kinds, by comma (default: all that suit)")
    add("--output", default="", help="the label to explain (default: the one that is said)")
    add("--move", type=float, help="by how much a what-if moves a predicted number")
    add("--samples", type=int, default=8, help="held-out samples of the checks (default: 8)")
    add("--study", type=Path, help="a folder of zafu tune: what settings were worth there")
    add("--to", type=Path, help="the page (default: RUN/explain.html)")
    add("--json", action="store_true", help="print all of it as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Write the page, and print what was found of each method."""
    from zafu.cli.options import note
    from zafu.explain.explain import Asked, explain
    from zafu.report.explain_page import write

    asked = Asked(
        arguments.input, arguments.rows, arguments.prompt, arguments.methods,
        arguments.samples, arguments.output, arguments.move, arguments.study,
    )  # fmt: skip
    found = explain(arguments.run, asked, note)
    page = write(found, arguments.to or arguments.run / "explain.html")
    if arguments.json:
        print(json.dumps(found, indent=1))
        return 0
    _tell(found)
    print(f"\npage  {page}")
    return 0


def _parted(text: str) -> tuple[str, ...]:
    """Kinds by comma; one that is a mapping in braces stands alone."""
    if text.startswith("{"):
        return (text,)
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _tell(found: dict[str, Any]) -> None:
    for sample in found["samples"]:
        sure = f"{sample['probability']:.1%}" if "probability" in sample else sample.get("number")
        print(f"{sample['name']:24.24}{sample['output']}  {sure}")
    print()
    for kind, method in found["methods"].items():
        failures, tried = method["checks"]["failures"], method["checks"]["tried"]
        passed = "checks passed" if tried else "not checked: too few samples"
        verdict = f"failed: {'; '.join(failures)}" if failures else passed
        print(f"{kind:22}{method['seconds']:8.2f} s a sample   {verdict}")
    for kind, reason in found["refused"].items():
        print(f"{kind:22}not shown: {reason}")
