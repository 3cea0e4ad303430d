"""Methods beside each other: about equally small, each with the same further training.

Quantizers stand alone; structured pruning has a rival that was small from the beginning. Strengths
are chosen by bytes alone, so that the split that judges has decided nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from zafu import artifact
from zafu.artifact import read_json, write_json, write_text
from zafu.compress.bank import RECOVER
from zafu.compress.prune import Prune
from zafu.compress.recovery import DistilFrom
from zafu.compress.words import written
from zafu.errors import Busy, Refused
from zafu.judge import judging
from zafu.pipeline import Event
from zafu.report import compression_page
from zafu.run import Run
from zafu.session import Note
from zafu.shrink import scratch, strengths
from zafu.shrink.chain import NAME, Shrunk
from zafu.shrink.links import Place, digest_of_all, placed, unstopped
from zafu.shrink.measuring import BEFORE, against_before, memory, spent
from zafu.shrink.trying import Tried, try_all
from zafu.signals import Stop, stoppable

SIZES = (0.5, 0.25)  # shares of the bytes before


@dataclass
class _Field:
    """Who competes."""

    sizes: dict[str, float] = field(default_factory=dict)  # of chains, by their words
    prunes: dict[float, Prune] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def compare(
    folder: Path,
    *,
    recover: str = RECOVER,
    seconds: float = math.inf,
    runs: Path | None = None,
    sizes: tuple[float, ...] = SIZES,
) -> Iterator[Event | Shrunk]:
    """Compare methods on a finished run; yields what happens, at last Shrunk.

    The same call again goes on where it was stopped. Raises Interrupted after a signal.
    """
    until = perf_counter() + seconds
    place = placed(folder, runs)
    name = place.source.stem
    key = digest_of_all(place.source.folder, ["rivals", recover, *sizes])
    kept = place.runs / f"{name}-compression-{key}"
    if (kept / NAME).is_file() and not (found := read_json(kept / NAME))["left"]:
        yield Shrunk(kept, found, new=False)
        return
    again = DistilFrom(budget=recover)
    with stoppable() as stop:
        of = _field(place, again, sizes, stop)
        tried = Tried()
        for event in try_all(place, _chains(place, of), until=until, stop=stop):
            if isinstance(event, Tried):
                tried = event
            else:
                yield event
        fresh = dict[str, Path]()
        yield from _from_scratch(place, of, again, fresh, stop)
        yield Note(f"{len(tried.folders) + len(fresh)} models are measured")
        found = _found(place, of, tried, fresh, stop) | {"recover": f"distil:{recover}"}
    yield Shrunk(_published(kept, found), found, new=True)


def _chains(place: Place, of: _Field) -> list[str]:
    """Those that are reshaped and trained again, and the roundings."""
    alone = ["int4 > int8"] if place.source.recipe.data.gives == "tokens" else []
    return [*alone, "int8", "bf16", *of.sizes]


def _field(place: Place, again: DistilFrom, sizes: tuple[float, ...], stop: Stop) -> _Field:
    of = _Field()
    for share in sizes:
        for method in strengths.METHODS:
            try:
                link = strengths.sized(place, method, share, stop)
            except Refused as error:
                of.notes.append(f"left out: {error}")
                continue
            of.sizes[written([link, again])] = share
            if isinstance(link, Prune):
                of.prunes[share] = link
    of.notes = list(dict.fromkeys(of.notes))
    return of


def _from_scratch(
    place: Place, of: _Field, again: DistilFrom, fresh: dict[str, Path], stop: Stop
) -> Iterator[Event]:
    """Train the rivals of pruning; their folders come into `fresh`."""
    for share, link in of.prunes.items():
        name = f"from scratch, as {written([link])}"
        yield Note(name)
        try:
            for event in scratch.trained(place, link, again):
                if isinstance(event, Run):
                    fresh[name], of.sizes[name] = event.folder, share
                else:
                    yield event
        except Busy:
            raise
        except Refused as error:
            of.notes.append(f"left out: {error}")
        unstopped(stop)


def _found(
    place: Place, of: _Field, tried: Tried, fresh: Mapping[str, Path], stop: Stop
) -> dict[str, Any]:
    """All that was measured, as plain data; the largest first."""
    recipe = place.source.recipe
    split = judging(recipe, place.data)
    folders = {BEFORE: place.source.folder, **tried.folders, **fresh}
    said = against_before(place, folders, split, stop)
    costs = spent(place, folders, split, stop)
    rows = list[dict[str, Any]]()
    for name in sorted(folders, key=lambda n: (n != BEFORE, -of.sizes.get(n, 1.0))):
        unstopped(stop)
        head = {"name": name, "folder": str(folders[name]), "size": of.sizes.get(name)}
        used = memory(place, folders[name], split)
        rows.append(head | {"against": said[name], "memory": used} | costs[name].dump())
    return {
        "question": "rivals",
        "split": split,
        "metric": recipe.metric,
        "higher_is_better": recipe.higher_is_better,
        "rows": rows,
        "notes": [*of.notes, *tried.notes(), *_known(place)],
        "left": tried.left,
    }


def _known(place: Place) -> Iterator[str]:
    """What the table cannot say."""
    yield "intervals are over samples: each model was trained once, by one seed"
    if place.source.recipe.fit.start:
        yield "the model before began from other weights; those from scratch did not"


def _published(folder: Path, found: dict[str, Any]) -> Path:
    def write(part: Path) -> None:
        write_json(part / NAME, found)
        write_text(part / "report.html", compression_page.page(found, folder.name))

    return artifact.publish(folder, write, kind="comparison of compressions")
