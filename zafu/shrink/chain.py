"""Compression: a chain of links, and one table of what each has cost and saved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from zafu import artifact
from zafu.artifact import read_json, write_json
from zafu.build import load_model
from zafu.compress.contract import Compression
from zafu.compress.words import out_of_order
from zafu.errors import Interrupted, RecipeError
from zafu.evaluation.against import compared
from zafu.judge import judging
from zafu.measure import Measurement
from zafu.models.compressed import Compressed
from zafu.pipeline import Event
from zafu.recipe import Recipe
from zafu.report.page import write as write_report
from zafu.session import Note
from zafu.shrink import footprint, rewinding, sensitivity, weights
from zafu.shrink.links import Place, answers, folder_of, made, placed
from zafu.signals import Stop, stoppable

NAME = "compression.json"


class Shrunk(NamedTuple):
    """A chain has come to its end."""

    folder: Path  # of its last link
    found: dict[str, Any]
    new: bool  # False where it had been finished before


def compress(
    folder: Path, links: Sequence[Compression], *, runs: Path | None = None
) -> Iterator[Event | Shrunk]:
    """Carry a chain to its end, going on where it stopped; yields what happens, at last Shrunk.

    `folder` is a finished run. Raises what `links.made` raises.
    """
    place = placed(folder, runs)
    model = Recipe.stored(artifact.model_folder(folder) / "recipe.yaml").model
    if faults := out_of_order(links, model.edits if isinstance(model, Compressed) else ()):
        raise RecipeError(faults)
    rewinding.refuse(place.source, links)
    last = folder_of(place, links)
    if (last / NAME).is_file():
        yield Shrunk(last, read_json(last / NAME), new=False)
        return
    for count in range(1, len(links) + 1):
        own = links[:count]
        yield Note(f"link {count} of {len(links)}: {links[count - 1].kind}")
        yield from made(place, own)
    with stoppable() as stop:
        found = table(place, links, stop)
    write_json(last / NAME, found)
    write_report(last)
    yield Shrunk(last, found, new=True)


def table(place: Place, links: Sequence[Compression], stop: Stop) -> dict[str, Any]:
    """All that was measured of the model before and after each link, as plain data."""
    stages = {"before": place.source.folder}
    for count in range(1, len(links) + 1):
        stages[f"{count} {links[count - 1].kind}"] = folder_of(place, links[:count])
    folders = {name: artifact.model_folder(folder) for name, folder in stages.items()}
    modules: dict[str, nn.Module] = {n: load_model(folder)[0] for n, folder in folders.items()}
    recipe = place.source.recipe
    split = judging(recipe, place.data)
    held = recipe.data.open(place.data, split)
    said = {n: answers(recipe, m, place.data, split, stop) for n, m in modules.items()}
    batch = held.batch(_first(len(held)))
    spent = footprint.times(modules, batch.inputs, stop)
    spoken = footprint.decoding(modules, batch.inputs)
    rows, end = list[dict[str, Any]](), weights.reach(modules["before"])
    units = held.units(_first(len(held), every=True))
    parent = modules["before"]
    for name, module in modules.items():
        if stop:
            raise Interrupted(f"{stop.signal}: run the same command again")
        used = footprint.joules(module, batch.inputs)
        rows.append(
            {
                "name": name,
                "folder": str(stages[name]),
                "link": None if name == "before" else links[len(rows) - 1].dump(),
                "scores": read_json(stages[name] / "evaluation.json")["scores"],
                "against": compared(
                    recipe.task, [recipe.metric], said[name], said["before"], units=units
                ),
                "bytes": footprint.disk(folders[name]),
                "memory": footprint.memory(folders[name], batch.inputs),
                "cost": spent[name].dump(),
                "decoding": spoken[name].dump() if name in spoken else None,
                "energy": used.dump() if used else None,
                "sensitivity": sensitivity.alone(place, parent, module, stop) or None,
                **weights.spread(module, end),
            }
        )
        parent = module
    return {
        "split": split,
        "metric": recipe.metric,
        "higher_is_better": recipe.higher_is_better,
        "bandwidth": footprint.bandwidth(),
        "rows": rows,
        "notes": list(_notes(rows)),
    }


def _notes(rows: list[dict[str, Any]]) -> Iterator[str]:
    """What a user must not miss: a model that is slower than it was, or no smaller."""
    first, last = rows[0], rows[-1]
    for size, what in (("1", "one sample"), ("32", "32 samples")):
        own, before = (Measurement.parse(r["cost"]["latency"][size]) for r in (last, first))
        if own.low is not None and before.high is not None and own.low > before.high:
            slower = own.value / before.value
            yield f"{what} at a time it is {slower:.1f} times slower on this machine than before"
    if last["bytes"] > 0.95 * first["bytes"]:
        yield "it is no smaller on disk than before"


def _first(count: int, *, every: bool = False) -> Any:
    import numpy as np

    return np.arange(count if every else min(count, footprint.BATCH))
