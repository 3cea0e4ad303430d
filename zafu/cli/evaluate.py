"""`zafu evaluate`: judge a finished model on a split or on a file of yours."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from zafu.data.contract import SPLITS

EXAMPLE = """\
  zafu evaluate runs/digits-3f2a9c1b
  zafu evaluate runs/digits-3f2a9c1b --split validation --json
  zafu evaluate runs/letter-9c1b3f2a --data test.csv --slices onpix --metrics roc_auc_score
  zafu evaluate runs/letter-9c1b3f2a --data test.csv --against runs/letter-0d4e5f6a"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """A run, a split or a file, and the form of the answer."""
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument("--split", choices=SPLITS, default="test", help="default: test")
    parser.add_argument("--data", type=Path, help="a file (or folder of pictures) with targets")
    parser.add_argument("--metrics", type=_names, default=(), help="further ones, by comma")
    parser.add_argument("--slices", type=_names, default=(), help="columns of a table, by comma")
    parser.add_argument("--against", type=Path, help="another run, on the same samples")
    page = "write an HTML page (default with --data: RUN/evaluation-NAME.html)"
    parser.add_argument("--report", type=Path, help=page)
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print every metric with its interval, and where the page is."""
    from zafu.examine import Asked, examine

    asked = Asked(arguments.data, arguments.split, arguments.metrics, arguments.slices)
    said = examine(arguments.run, asked, arguments.against)
    page = arguments.report or _place(arguments.run, arguments.data)
    if page:
        from zafu.report.judged_page import write

        write(arguments.run, said, page)
    if arguments.json:
        print(json.dumps(said, indent=1))
        return 0
    _tell(said)
    if page:
        print(f"report          {page}")
    return 0


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _place(run: Path, file: Path | None) -> Path | None:
    if file is None:
        return None
    folder = run if (run / "recipe.yaml").is_file() and (run / "model").is_dir() else run.parent
    return folder / f"evaluation-{file.name.split('.')[0] or file.name}.html"


def _tell(said: dict[str, Any]) -> None:
    from zafu.measure import Measurement

    wide = max(map(len, said["scores"])) + 2
    for name, plain in said["scores"].items():
        score = Measurement.parse(plain)
        print(f"{name:{wide}}{score}   (n = {score.n:,}; {score.how})")
    if "after" in said.get("calibration", {}):
        after = said["calibration"]["after"]["scores"]
        print(f"\nwith the temperature {said['calibration']['temperature']:.3g} of the model")
        for name, plain in after.items():
            print(f"{name:{wide}}{Measurement.parse(plain)}")
    if "slices" in said:
        print(f"\nshown to be worse: {', '.join(_worse(said['slices'])) or 'no part'}")
    if "against" in said:
        print(f"\nagainst {said['against']['run']}, on the same samples")
        for row in said["against"]["rows"]:
            size = Measurement.parse(row["difference"])
            values = f"{row['this']:.4g} and {row['other']:.4g}"
            print(f"{row['metric']:{wide}}{values}: {size}  {row['verdict']}   ({size.how})")


def _worse(slices: dict[str, Any]) -> list[str]:
    return [
        f"{column} {part['name']} ({said['metric']} {part['score']['value']:.4g})"
        for column, said in slices.items()
        for part in said["parts"]
        if part["worse"] == "shown"
    ]
