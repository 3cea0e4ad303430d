"""Searching for a chain: the smallest or fastest model that is nearly as good as the one before.

Chains of a bank are made, each link a finished run of its own, so that a search that was killed
goes on. The validation split chooses; the test split is looked at once, when the choice is made.
What comes out is a finished run: a copy of the pick's, with the whole table beside it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

from zafu import artifact
from zafu.artifact import read_json, write_json, write_text
from zafu.compress.bank import TARGETS, Asked, bank
from zafu.errors import Refused
from zafu.pipeline import Event
from zafu.report import page as report
from zafu.report.folder import read as read_folder
from zafu.session import Note
from zafu.shrink.chain import NAME, Shrunk
from zafu.shrink.front import Point, front, near, pick
from zafu.shrink.links import Place, digest_of_all, placed, unstopped
from zafu.shrink.measuring import BEFORE, against_before, cost_of, memory, spent
from zafu.shrink.trying import Tried, try_all
from zafu.signals import Stop, stoppable

COPIED = ("recipe.yaml", "environment.json", "prepare.json", "status.json", "metrics.jsonl")
JUDGED = ("evaluation.json", "samples.json")


def search(
    folder: Path, asked: Asked, *, runs: Path | None = None, chains: Sequence[str] | None = None
) -> Iterator[Event | Shrunk]:
    """Try chains (default: the bank's) on a finished run; yields what happens, at last Shrunk.

    The same call again goes on where it was stopped, and begins what there was no time for.
    Raises Refused without a validation split, Interrupted after a signal.
    """
    begun = perf_counter()
    place = placed(folder, runs)
    recipe = place.source.recipe
    if not len(recipe.data.open(place.data, "validation")):
        text = "expected a validation split, by which to choose; train with"
        raise Refused(f"{folder}: {text} data.split.validation=0.1")
    of = bank(recipe.data.gives, asked.target, asked.recover)
    tried = tuple(chains or of.chains)
    kept = _folder(place, asked, tried)
    if (kept / NAME).is_file() and not (found := read_json(kept / NAME))["left"]:
        yield Shrunk(kept, found, new=False)
        return
    with stoppable() as stop:
        for event in try_all(place, tried, until=begun + asked.seconds, stop=stop):
            if isinstance(event, Tried):
                yield Note(f"{len(event.folders)} models are measured")
                found = _judged(place, asked, event, stop)
                found["notes"] = [*_doubts(found), *event.notes(), *(() if chains else of.notes)]
                yield Shrunk(_published(place, kept, found, event), found, new=True)
            else:
                yield event


def _folder(place: Place, asked: Asked, chains: Sequence[str]) -> Path:
    name = place.source.stem.removesuffix("-compressed")
    key = digest_of_all(place.source.folder, [asked.within, asked.target, *chains])
    return place.runs / f"{name}-compressed-{key}"


def _judged(place: Place, asked: Asked, tried: Tried, stop: Stop) -> dict[str, Any]:
    """Rows of all models, the choice by the validation split, then what the test split says."""
    recipe = place.source.recipe
    higher = recipe.higher_is_better
    folders = {BEFORE: place.source.folder, **tried.folders}
    rows = _rows(place, asked, folders, stop)
    points = {
        name: Point(name, row["validation"]["this"], cost_of(row, asked.target))
        for name, row in rows.items()
    }
    chosen = pick(list(points.values()), points[BEFORE], within=asked.within, higher=higher).name
    fronted = front(list(points.values()), higher=higher)
    shown = list(dict.fromkeys([BEFORE, chosen, *fronted]))
    tested = _tested(place, {name: folders[name] for name in shown}, stop)
    for name, row in rows.items():
        row["within"] = near(points[name], points[BEFORE], within=asked.within, higher=higher)
        row["front"], row["pick"] = name in fronted, name == chosen
        row["test"] = tested.get(name)
        if name in shown and row["memory"] is None:
            row["memory"] = memory(place, folders[name], "validation")
    return {
        "question": "search",
        "within": asked.within,
        "target": asked.target,
        "means": TARGETS[asked.target],
        "recover": asked.recover,
        "metric": recipe.metric,
        "higher_is_better": higher,
        "pick": chosen,
        "rows": list(rows.values()),
        "left": tried.left,
    }


def _rows(
    place: Place, asked: Asked, folders: Mapping[str, Path], stop: Stop
) -> dict[str, dict[str, Any]]:
    said = against_before(place, folders, "validation", stop)
    costs = spent(place, folders, "validation", stop)
    rows = dict[str, dict[str, Any]]()
    for name, folder in folders.items():
        unstopped(stop)
        asks = asked.target == "memory"
        used = memory(place, folder, "validation") if asks else None
        head = {"name": name, "folder": str(folder), "validation": said[name], "memory": used}
        rows[name] = head | costs[name].dump()
    return rows


def _doubts(found: Mapping[str, Any]) -> Iterator[str]:
    """What a user must not miss of the pick."""
    before, row = found["rows"][0], next(row for row in found["rows"] if row["pick"])
    if found["target"] == "latency" and row is not before:
        own, first = (r["decoding"] or r["cost"]["latency"]["1"] for r in (row, before))
        if own["high"] >= first["low"]:
            yield "the intervals of its time and of that before meet: it may be no faster"


def _tested(place: Place, folders: Mapping[str, Path], stop: Stop) -> dict[str, dict[str, Any]]:
    """What the test split says, where there is one."""
    if not len(place.source.recipe.data.open(place.data, "test")):
        return {}
    return against_before(place, folders, "test", stop)


def _published(place: Place, folder: Path, found: dict[str, Any], tried: Tried) -> Path:
    """The pick's run again, with the table and a page of both."""
    chosen = found["pick"]
    source = place.source.folder if chosen == BEFORE else tried.folders[chosen]

    def write(part: Path) -> None:
        for name in (*COPIED, *JUDGED):
            if (source / name).is_file():
                shutil.copyfile(source / name, part / name)
        shutil.copytree(source / "model", part / "model")
        write_json(part / NAME, found)
        write_text(part / report.NAME, report.page(replace(read_folder(part), name=folder.name)))

    return artifact.publish(folder, write, kind="compression", chain=chosen, source=str(source))
