"""How an export is told of."""

from __future__ import annotations

import json
import sys

from zafu.deploy import card
from zafu.deploy.gate import Exported
from zafu.measure import Measurement
from zafu.units import Bytes


def said(text: str) -> None:
    """A note while it goes on."""
    print(text, file=sys.stderr)


def shown(exported: Exported) -> None:
    """Where it is, how its answers differ, and what they take."""
    found, kind = exported.found, exported.found["export"]["kind"]
    print(f"{exported.folder}: {Bytes(found['bytes'])}, opened and compared")
    print(
        f"logits of {found['samples']} held-out samples differ by {found['difference']:.1e} "
        f"of the largest"
    )
    for row in found["scores"]:
        gap = Measurement.parse(row["difference"])
        print(f"{row['metric']}: {row['other']:.6g} in torch, {row['this']:.6g} here ({gap} more)")
    for line in card.language(found):
        print(line)
    for size, row in found["latency"].items():
        before, after = (Measurement.parse(row[name]) for name in ("torch", kind))
        print(f"{size:>3} at a time: {before} in torch, {after} here")


def as_json(exported: Exported) -> None:
    """The same as data."""
    print(json.dumps({"folder": str(exported.folder), **exported.found}, indent=1))
