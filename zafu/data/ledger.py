"""The ledger of a preparation: what each step was given, changed and removed, and why.

`prepare.json` holds the sums and a few examples; `removed.jsonl` every removed item, with the id
by which `data.keep` puts it back.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

REMOVED = "removed.jsonl"
EXAMPLES = 5  # of each step
LETTERS = 400  # of an example


class Removed(NamedTuple):
    """An item that a step took out."""

    id: str
    reason: str  # one of a few, so that they can be counted
    content: str = ""  # text or a row as JSON; empty for pictures, whose id is their file
    twin: str = ""  # the id of the item that it repeats


@dataclass
class Entry:
    """What one step did."""

    came: int = 0
    changed: int = 0
    reasons: Counter[str] = field(default_factory=Counter[str])
    examples: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    seconds: float = 0.0


class Ledger:
    """What was done, step by step, in the order in which steps are first named."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._removed: list[str] = []  # lines of removed.jsonl

    def came(self, step: str, count: int, *, seconds: float = 0.0) -> None:
        """Note that a step was given so many items, and how long it took."""
        entry = self._entries.setdefault(step, Entry())
        entry.came += count
        entry.seconds += seconds

    def changed(self, step: str, count: int, examples: Iterable[tuple[str, str, str]] = ()) -> None:
        """Note that a step changed so many items; examples are id, before and after."""
        entry = self._entries.setdefault(step, Entry())
        entry.changed += count
        for name, before, after in examples:
            shown = {"id": name, "before": before[:LETTERS], "after": after[:LETTERS]}
            _show(entry, shown)

    def removed(self, step: str, items: Iterable[Removed]) -> None:
        """Note each item that a step took out."""
        entry = self._entries.setdefault(step, Entry())
        for item in items:
            entry.reasons[item.reason] += 1
            line = {"id": item.id, "step": step, "reason": item.reason}
            line |= {"twin": item.twin} if item.twin else {}
            line |= {"content": item.content} if item.content else {}
            self._removed.append(json.dumps(line, ensure_ascii=False))
            shown = {"id": item.id, "reason": item.reason, "before": item.content[:LETTERS]}
            _show(entry, shown | ({"twin": item.twin} if item.twin else {}))

    def add(self, folder: Path) -> None:
        """Add what a piece's ledger, saved in its folder, says."""
        for plain in json.loads((folder / "ledger.json").read_text(encoding="utf-8")):
            entry = self._entries.setdefault(plain["step"], Entry())
            entry.came += plain["rows_in"]
            entry.changed += plain["changed"]
            entry.reasons.update(plain["reasons"])
            entry.seconds += plain["seconds"]
            for example in plain["examples"]:
                _show(entry, example)
        removed = (folder / REMOVED).read_text(encoding="utf-8")
        self._removed.extend(removed.split("\n")[:-1])

    def save(self, folder: Path) -> None:
        """Write `ledger.json` and `removed.jsonl` into a piece's folder."""
        text = json.dumps(self.steps(timed=True), ensure_ascii=False)
        (folder / "ledger.json").write_text(text, encoding="utf-8")
        self.write_removed(folder)

    def steps(self, *, timed: bool = False) -> list[dict[str, Any]]:
        """The steps as `prepare.json` lists them; with seconds, which differ from time to time."""
        return [
            {
                "step": name,
                "rows_in": entry.came,
                "rows_out": entry.came - entry.reasons.total(),
                "changed": entry.changed,
                "reasons": dict(sorted(entry.reasons.items())),
                "why": ", ".join(f"{why} {n:,}" for why, n in entry.reasons.most_common(3)),
                "examples": entry.examples,
                **({"seconds": entry.seconds} if timed else {}),
            }
            for name, entry in self._entries.items()
        ]

    def dropped(self) -> dict[str, int]:
        """How many items were removed, by step."""
        return {n: e.reasons.total() for n, e in self._entries.items() if e.reasons.total()}

    def write_removed(self, folder: Path) -> None:
        """Write `removed.jsonl`, a line for each removed item, in the order of the steps."""
        lines = "".join(f"{line}\n" for line in self._removed)
        (folder / REMOVED).write_text(lines, encoding="utf-8")


def report(ledger: Ledger, *, splits: Mapping[str, int], **further: object) -> dict[str, object]:
    """What `prepare.json` says: samples in, out, in each split, and what each step did."""
    steps = ledger.steps()
    return {
        "in": steps[0]["rows_in"] if steps else sum(splits.values()),
        "dropped": ledger.dropped(),
        "out": sum(splits.values()),
        "splits": dict(splits),
        "steps": steps,
        **further,
    }


def _show(entry: Entry, example: dict[str, str]) -> None:
    known = [shown.get("reason") for shown in entry.examples]
    if len(known) < EXAMPLES and known.count(example.get("reason")) < EXAMPLES - 2:
        entry.examples.append(example)
