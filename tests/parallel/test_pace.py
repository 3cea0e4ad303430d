"""A process that takes longer than others for its share is named; chance names nobody."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zafu import artifact, loop
from zafu.build import build
from zafu.layout import Layout
from zafu.loop import Objective
from zafu.parallel.pace import CHANGED, SHARE, STEPS, Due, Pace, Slow, paced
from zafu.parallel.world import connected
from zafu.recipe import Recipe
from zafu.run import prepared
from zafu.signature import Signature

LAYOUTS = [Layout(data=2), Layout(data=4), Layout(pipeline=2), Layout(pipeline=2, data=2)]
RECIPE: dict[str, Any] = {
    "task": "language-modeling",
    "data": {
        "kind": "text",
        "files": ["stdlib:asyncio/*.py"],
        "context": 8,
        "tokenizer": {"kind": "bpe", "vocab": 270},
    },
    "model": {"kind": "decoder", "width": 16, "layers": 2, "heads": 2, "kv_heads": 2},
    "fit": {"optimizer": "sgd", "batch": 8, "steps": 1000, "device": "cpu", "threads": 1},
}
NAP = 0.03  # seconds a step, some times as long as all else


def steps_of(seed: int, layout: Layout, count: int, spread: float) -> np.ndarray:
    """Seconds `(ranks, count, 2)` that differ by chance, and more from stage to stage."""
    stages = np.array([layout.place(rank)["pipeline"] for rank in range(layout.world)])
    chance = np.random.default_rng(seed).uniform(1 - spread, 1 + spread, (layout.world, count))
    own = (1 + stages[:, None]) * chance
    return np.stack([own, 0 * own], axis=-1)


@given(
    seed=st.integers(0, 10**6),
    layout=st.sampled_from(LAYOUTS),
    times=st.floats(1.5, 9),
    of=st.data(),
)
def test_who_takes_half_as_long_again_is_named_and_nobody_else(
    seed: int, layout: Layout, times: float, of: st.DataObject
) -> None:
    rank = of.draw(st.integers(0, layout.world - 1))
    pace, slower = Pace(layout), steps_of(seed + 1, layout, 2 * STEPS, 0.05)
    slower[rank] *= times

    before = pace.slow(steps_of(seed, layout, STEPS, 0.05))
    sure = not pace.doubtful
    first = pace.slow(slower[:, :STEPS])
    doubtful = pace.doubtful
    (found,) = pace.slow(slower[:, STEPS:])

    assert before == first == []
    assert sure
    assert doubtful
    assert found.rank == rank
    assert found.times == pytest.approx(times, rel=0.15)


@given(seed=st.integers(0, 10**6), layout=st.sampled_from(LAYOUTS))
def test_nobody_is_named_by_chance_or_for_a_late_step_or_a_slow_moment(
    seed: int, layout: Layout
) -> None:
    pace = Pace(layout)
    for number in range(10):
        told = steps_of(seed + number, layout, STEPS, 0.07)
        told[number % layout.world, number % STEPS] *= 50
        if number % 4 == 1:
            told[seed % layout.world] *= 2

        assert pace.slow(told) == []


def test_steps_are_measured_at_first_when_they_change_and_seldom_in_between() -> None:
    due, found = Due(), list[bool]()
    slower = 1.1 * CHANGED
    for seconds in [1.0, *[1.03, 0.97] * 20, slower, slower]:
        found.append(due.now([seconds] * STEPS))
        if found[-1]:
            due.measured([1.3 * seconds] * STEPS, doubtful=False)

    rare = 0.3 * STEPS / SHARE / STEPS  # looks until a third more time is a hundredth of all
    assert [at for at, now in enumerate(found) if now] == [0, pytest.approx(rare, abs=1), 41]
    assert 0.3 / found.index(True, 1) <= 1.05 * SHARE


def test_where_somebody_may_be_slow_is_measured_again_but_not_for_ever() -> None:
    pace, due, found = Pace(Layout(data=2)), Due(), list[bool]()
    told = np.ones((2, STEPS, 2)) * [[[1.22, 0]], [[1.0, 0]]]
    for _ in range(6):
        found.append(due.now([1.0] * STEPS))
        if found[-1]:
            assert pace.slow(told) == []
            due.measured([1.3] * STEPS, doubtful=pace.doubtful)

    assert found == [*[True] * 4, False, False]


def test_unequal_shares_of_a_batch_are_no_fault() -> None:
    told = np.ones((2, STEPS, 2)) * [[[3.0, 0]], [[2.0, 0]]]  # of five samples

    paces = [Pace(Layout(data=2), uneven) for uneven in (1.0, 1.5)]
    named, fair = ([pace.slow(told) for _ in range(2)][1] for pace in paces)

    assert [there.rank for there in named] == [0]
    assert fair == []


def test_who_waits_for_samples_is_said_to() -> None:
    slow = Slow(3, 2.04, 0.5)

    assert str(slow) == "rank 3 takes 2 times as long as the others, 50% of it to wait for samples"


def tired(rank: int, layout: dict[str, Any], folder: str, usual: int) -> list[Any]:
    """Train; rank 1 takes a nap in each step after some usual ones. Who was named when."""
    recipe = Recipe.parse({**RECIPE, "layout": layout})
    data = prepared(recipe, Path(folder))
    signature = Signature.parse(artifact.read_json(data / "signature.json"))
    found: list[Any] = []
    with connected(recipe.layout, rank) as world:
        model, update, spread = build(recipe, signature, world)
        split, progress = recipe.data.open(data, "train"), loop.begin(recipe.fit)
        objective = Objective(model, recipe.task, split, recipe.fit, 0, None, spread)
        napped = usual

        def nap(*_: object) -> None:  # once a step
            nonlocal napped
            if rank == 1 and progress.step > napped:
                napped = progress.step
                time.sleep(NAP)

        part = model[0] if "pipeline" in layout else model  # pyright: ignore[reportIndexIssue]
        part.register_forward_pre_hook(nap)
        steps = loop.fit(objective, update, progress)
        said: Callable[..., None] = lambda step, slow: found.append(  # noqa: E731
            [step.number, [there.rank for there in slow]]
        )
        for _ in paced(steps, world, said):
            if progress.step >= usual + 400 or (found and found[-1][1]):
                break
        steps.close()
    return found


@pytest.mark.parametrize(
    ("layout", "usual"),
    [({"data": 2}, 0), ({"shard": 2}, 0), ({"tensor": 2}, 0), ({"pipeline": 2}, 30)],
    ids=json.dumps,
)
def test_a_slow_process_is_named(
    worlds: Callable[[int], Any], tmp_path_factory: pytest.TempPathFactory, layout: Any, usual: int
) -> None:
    """In a pipeline the first steps say what is usual. Other work may be in the way at first."""
    folder = tmp_path_factory.getbasetemp() / "pace"
    prepared(Recipe.parse({**RECIPE, "layout": layout}), folder)

    first, second = worlds(2)(tired, layout=layout, folder=str(folder), usual=usual)

    assert first == second
    assert first[-1][1] == [1]
    named = next(step for step, ranks in first if ranks)
    assert usual < named  # how soon: benchmarks/reliability/straggler.py
