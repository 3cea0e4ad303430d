"""The exam of every search, found by its kind, on functions whose optimum is known."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from zafu.errors import RecipeError
from zafu.search.contract import Ask, Search, Told
from zafu.space import Choice, Given, Range, Settings, Space
from zafu.spec import Spec

KINDS = [kind for kind in Search.kinds() if kind != "gradient"]  # it needs gradients: its own file
SPACE = Space(
    (
        Range(path="fit.optimizer.lr", low=1e-4, high=1.0, log=True),
        Range(path="fit.batch", low=8, high=64, step=8, whole=True),
        Range(path="task.label_smoothing", low=0.0, high=0.6),
    )
)
MIXED = Space(
    (
        *SPACE.dimensions,
        Choice(path="fit.optimizer.kind", values=("sgd", "adamw")),
        Range(
            path="fit.optimizer.momentum",
            low=0.0,
            high=0.9,
            given=Given(path="fit.optimizer.kind", values=("sgd",)),
        ),
    )
)
TRIALS = 20


class Held(Spec):
    """As a study holds it."""

    search: Search


def parsed(**settings: Any) -> Search:
    return Held.parse({"search": settings}).search


def quadratic(settings: Settings, until: float = 1.0) -> float | None:
    """0 at lr 0.01, batch 40, smoothing 0.2; an lr above 0.5 diverges; less budget, less value."""
    lr, batch = settings["fit.optimizer.lr"], settings["fit.batch"]
    if lr > 0.5:
        return None
    off = (math.log10(lr) + 2) ** 2 / 4 + ((batch - 40) / 56) ** 2
    return -off - (settings["task.label_smoothing"] - 0.2) ** 2 - (1 - until)


def carried(
    search: Search,
    space: Space = SPACE,
    *,
    value: Callable[[Settings, float], float | None] = quadratic,
    higher: bool = True,
    again: bool = False,
    seed: int = 0,
) -> list[Told]:
    """A search to its end; `again`: with its history written down and read before each step."""
    told: list[Told] = []
    while True:
        history = [read(line) for line in map(written, told)] if again else told
        asks = search.next(space, history, higher=higher, seed=seed)
        if not asks:
            return told
        told += [Told(len(told) + n, a, value(a.settings, a.until)) for n, a in enumerate(asks)]
        assert len(told) < 2000, "it does not end"


def written(told: Told) -> str:
    return json.dumps([told.number, *told.ask, told.value])


def read(line: str) -> Told:
    number, settings, until, of, gradient, value = json.loads(line)
    return Told(number, Ask(settings, until, of, gradient), value)


def cost(told: list[Told]) -> float:
    """In trainings to the end."""
    begun = [told[t.ask.of].ask.until if t.ask.of is not None else 0.0 for t in told]
    return sum(t.ask.until - b for t, b in zip(told, begun, strict=True))


def best(told: list[Told]) -> float:
    return max(t.value for t in told if t.value is not None and t.ask.until == 1.0)


@pytest.mark.parametrize("kind", KINDS)
def test_it_prints_and_parses_to_itself(kind: str) -> None:
    search = parsed(kind=kind, trials=TRIALS)

    assert parsed(**json.loads(json.dumps(search.dump()))) == search


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", [{"trials": 0}, {"trials": 2.5}, {"trails": 3}])
def test_a_bad_setting_is_refused(kind: str, bad: dict[str, Any]) -> None:
    with pytest.raises(RecipeError) as error:
        parsed(kind=kind, **bad)

    assert error.value.faults[0].path == f"search.{next(iter(bad))}"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("space", [SPACE, MIXED])
def test_all_that_it_asks_for_lies_in_the_space(kind: str, space: Space) -> None:
    told = carried(parsed(kind=kind, trials=TRIALS), space)

    for number, one in enumerate(told):
        settings = one.ask.settings
        assert space.at(space.point(settings)) == settings
        assert settings == space.meant(settings)
        assert 0 < one.ask.until <= 1
        assert one.ask.of is None or one.ask.of < number


@pytest.mark.parametrize("kind", KINDS)
def test_it_tries_as_many_settings_as_it_is_given(kind: str) -> None:
    told = carried(parsed(kind=kind, trials=TRIALS))

    assert sum(t.ask.of is None for t in told) == TRIALS
    assert cost(told) <= TRIALS + 1e-9


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("space", [SPACE, MIXED])
def test_it_goes_on_from_what_was_written_down_as_if_nothing_had_happened(
    kind: str, space: Space
) -> None:
    search = parsed(kind=kind, trials=TRIALS)

    assert carried(search, space, again=True) == carried(search, space)


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_decides_what_is_tried(kind: str) -> None:
    search = parsed(kind=kind, trials=TRIALS)

    assert carried(search, seed=1) == carried(search, seed=1)
    assert carried(search, seed=1) != carried(search, seed=2)


@pytest.mark.parametrize("kind", KINDS)
def test_less_is_better_is_the_mirror_of_more_is_better(kind: str) -> None:
    def less(settings: Settings, until: float) -> float | None:
        value = quadratic(settings, until)
        return None if value is None else -value

    search = parsed(kind=kind, trials=TRIALS)
    up, down = carried(search), carried(search, value=less, higher=False)

    assert [t.ask for t in up] == [t.ask for t in down]


@pytest.mark.parametrize("kind", KINDS)
def test_it_bears_that_everything_diverges(kind: str) -> None:
    told = carried(parsed(kind=kind, trials=TRIALS), value=lambda _, __: None)

    assert len(told) >= TRIALS


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "grid"])  # fixed beforehand
def test_it_beats_chance_on_a_bowl(kind: str) -> None:
    """The mean best of independent points, as many as the search pays for, over 5 seeds."""
    search = parsed(kind=kind, trials=60)
    found = [carried(search, seed=seed) for seed in range(5)]
    many = round(sum(map(cost, found)) / 5)
    chance = parsed(kind="random", sequence="independent", trials=many)

    by_chance = [best(carried(chance, seed=seed)) for seed in range(5)]

    assert sum(map(best, found)) / 5 >= sum(by_chance) / 5
