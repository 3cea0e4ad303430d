"""A student that is taught by several processes learns what one process would have it learn."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import zafu
from zafu.layout import Layout
from zafu.parallel.world import World
from zafu.recipe import Recipe
from zafu.run import prepared
from zafu.verify import compared, plain, traced, write

RECIPE: dict[str, Any] = {
    "task": "language-modeling",
    "data": {
        "kind": "text",
        "files": ["stdlib:json/*.py"],
        "context": 12,
        "tokenizer": {"kind": "bpe", "vocab": 270},
        "split": {"validation": 0.2, "test": 0.2},
    },
    "model": {"kind": "decoder", "width": 16, "layers": 2, "heads": 2},
    "fit": {"batch": 5, "steps": 3, "threads": 1, "device": "cpu", "trackers": []},
    "evaluate": {"baselines": [], "during": 32},
}
LESSON = {"divergence": "jensen", "features": 0.5, "attention": 0.5}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = Recipe.parse(RECIPE).at("model.heads", 4).at("fit.micro_batch", None)
    return zafu.train(recipe, runs=tmp_path_factory.mktemp("teacher")).folder


def student(teacher: Path, **lesson: Any) -> Recipe:
    distil = {"teacher": str(teacher), **LESSON, **lesson}
    return plain(Recipe.parse({**RECIPE, "fit": {**RECIPE["fit"], "distil": distil}}))


def on_rank(rank: int, recipe: str, layout: dict[str, Any], data: str, folder: str) -> int:
    world = World(Layout.parse(layout), rank)
    world.connect()
    spread = Recipe.parse({**json.loads(recipe), "layout": layout})
    write(traced(spread, Path(data), world), Path(folder), rank)
    return rank


@pytest.mark.parametrize(
    ("layout", "lesson"),
    [({"data": 2}, {"own": 0.5}), ({"shard": 2}, {})],
    ids=["replicas that write", "shards"],
)
def test_two_processes_teach_what_one_does(
    worlds: Callable[[int], Any],
    layout: dict[str, Any],
    lesson: dict[str, float],
    teacher: Path,
    tmp_path: Path,
) -> None:
    recipe = student(teacher, **lesson)
    data = prepared(recipe, teacher.parent)
    reference = traced(recipe, data, World(Layout()))

    told = {"recipe": json.dumps(recipe.dump()), "data": str(data), "folder": str(tmp_path)}
    worlds(2)(on_rank, layout=layout, **told)

    differences = compared(reference, tmp_path, Layout.parse(layout))
    assert not [d for d in differences if d.beyond]
    assert {d.rank for d in differences} == {0, 1}
