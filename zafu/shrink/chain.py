"""Compression: a chain of links, and one table of what each has cost and saved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from zafu import artifact
from zafu.artifact import read_json, write_json
from zafu.build import load_model
from zafu.compress.contract import Compression
from zafu.compress.words import out_of_order
from zafu.errors import RecipeError
from zafu.judge import judging
from zafu.measure import Measurement
from zafu.models.compressed import Compressed
from zafu.pipeline import Event
from zafu.recipe import Recipe
from zafu.report.page import write as write_report
from zafu.session import Note
from zafu.shrink import footprint, measuring, rewinding, sensitivity, weights
from zafu.shrink.links import Place, folder_of, made, placed, unstopped
from zafu.shrink.measuring import BEFORE
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
    stages = {BEFORE: place.source.folder}
    for count, link in enumerate(links, 1):
        stages[f"{count} {link.kind}"] = folder_of(place, links[:count])
    recipe, split = place.source.recipe, judging(place.source.recipe, place.data)
    against = measuring.against_before(place, stages, split, stop)
    took = measuring.spent(place, stages, split, stop)
    parent = load_model(artifact.model_folder(stages[BEFORE]))[0]
    rows, end = list[dict[str, Any]](), weights.reach(parent)
    for (name, folder), link in zip(stages.items(), (None, *links), strict=True):
        unstopped(stop)
        module = load_model(artifact.model_folder(folder))[0]
        used = footprint.joules(module, measuring.samples(place, split).inputs)
        rows.append(
            {
                "name": name,
                "folder": str(folder),
                "link": link.dump() if link else None,
                "scores": read_json(folder / "evaluation.json")["scores"],
                "against": [against[name]],
                "memory": measuring.memory(place, folder, split),
                "energy": used.dump() if used else None,
                "sensitivity": sensitivity.alone(place, parent, module, stop) or None,
                **took[name].dump(),
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
