"""Processes: what a link trains, in the layout of the run with which its chain began.

The processes are those of `zafu train`, on this machine; where they end, this one goes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from zafu.errors import Interrupted, LostRank, RecipeError, Refused, ZafuError
from zafu.layout import Layout
from zafu.parallel import local
from zafu.pipeline import Event, Finished, events
from zafu.recipe import Recipe
from zafu.run import Run
from zafu.session import Note


def laid_out(plain: dict[str, Any], layout: Layout) -> tuple[Recipe, list[Note]]:
    """The recipe that plain data describes, in a layout; alone where it cannot be trained so.

    A changed model is not cut: replicas and shards are what it has.
    """
    alone = Recipe.parse(plain | {"layout": Layout().dump()})
    try:
        return Recipe.parse(plain | {"layout": layout.dump()}), []
    except RecipeError as error:
        why = "; ".join(map(str, error.faults))
        return alone, [Note(f"one process trains this link: {why}")]


def trained(run: Run) -> Iterator[Event]:
    """Carry a run to its end, going on where it stopped; yields what happens, but not that end.

    Raises what `events` raises; of several processes the first to fail has said why.
    """
    world = run.recipe.layout.world
    if world == 1 or run.finished:
        yield from (event for event in events(run) if type(event) is not Finished)
        return
    run.begin()
    yield Note(f"{world} processes train {run.name}")
    words = ["train", str(run.folder / "recipe.yaml"), "--out", str(run.folder)]
    code = local.run(world, words, logs=run.folder / "ranks", result=False)
    if code:
        kinds = {kind.exit_code: kind for kind in (Interrupted, LostRank, Refused)}
        text = run.status().get("message", f"exit code {code}")
        raise kinds.get(code, ZafuError)(f"{run.folder}: {text}")
