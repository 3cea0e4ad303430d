"""Layouts that are wrong in ways that leave a plausible loss are seen by the proof."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from zafu.layout import Layout
from zafu.loading.contract import Request
from zafu.loading.requests import Part
from zafu.loop import Objective
from zafu.parallel import tensor
from zafu.parallel.pipeline import Pipeline
from zafu.parallel.world import World, connected
from zafu.pipeline import prepared
from zafu.recipe import Recipe
from zafu.verify import compared, plain, traced, write

RECIPE: dict[str, Any] = {
    "task": "language-modeling",
    "data": {
        "kind": "text",
        "files": ["stdlib:asyncio/*.py"],
        "context": 16,
        "tokenizer": {"kind": "bpe", "vocab": 300},
    },
    "model": {"kind": "decoder", "width": 16, "layers": 2, "heads": 2, "tied": True},
    "fit": {"optimizer": "adamw", "batch": 5, "steps": 10, "threads": 1},
}
LAYOUTS: dict[str, dict[str, Any]] = {
    "gradients of norms are not summed": {"tensor": 2},
    "means of unequal ranks": {"data": 2},
    "tied ends do not share": {"pipeline": 2, "microbatches": 5},
}


@contextmanager
def broken(fault: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if fault == "gradients of norms are not summed":
            patch.setattr(tensor, "finish", lambda *_: None)
        elif fault == "means of unequal ranks":
            patch.setattr(Objective, "factors", of_own_mean)
        elif fault == "tied ends do not share":
            patch.setattr(Pipeline, "tie", lambda _: None)
        yield


def of_own_mean(objective: Objective, request: Request, *_: object) -> list[float]:
    """As where each rank takes the mean of its own targets, and those means are averaged."""
    parts: list[Part] = objective.parts(request)
    own = sum(objective.split.count(part.request.ids) for part in parts)
    return [part.counts / own / objective.spread.dealt[1] for part in parts]


def trace(rank: int, folder: str, layout: dict[str, Any], fault: str) -> None:
    recipe = plain(Recipe.parse({**RECIPE, "layout": layout}))
    data = prepared(recipe, Path(folder))
    with broken(fault), connected(recipe.layout, rank) as world:
        write(traced(recipe, data, world), Path(folder), rank)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """The folder of the data, and what one process does with it."""
    folder, recipe = tmp_path_factory.mktemp("proof"), plain(Recipe.parse(RECIPE))
    return folder, traced(recipe, prepared(recipe, folder), World(Layout()))


@pytest.mark.parametrize("fault", LAYOUTS)
def test_planted_faults_are_seen_and_named(
    worlds: Callable[[int], Any], reference: tuple[Path, Any], fault: str
) -> None:
    folder, whole = reference
    layout = LAYOUTS[fault]
    told = {"folder": str(folder), "layout": layout}

    worlds(2)(trace, **told, fault="")
    sound = compared(whole, folder, Layout.parse(layout))
    worlds(2)(trace, **told, fault=fault)
    found = [d for d in compared(whole, folder, Layout.parse(layout)) if d.beyond]

    assert not any(d.beyond for d in sound)
    names = {d.name for d in found if d.what == "gradient" and d.step == 1}
    every = {piece.name for piece in whole.pieces}
    assert (
        names
        == {
            "gradients of norms are not summed": {name for name in every if "norm" in name},
            "means of unequal ranks": every,
            "tied ends do not share": {"model.embed_tokens.weight"},
        }[fault]
    )
    assert not [d for d in found if d.what == "loss" and d.step == 1]  # it looks plausible
    assert found[0].relative > 1e-3
