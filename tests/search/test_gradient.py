"""The gradient search goes down a slope that it is given, in the coordinates of the space."""

import math

from zafu.search.contract import Ask, Told
from zafu.search.gradient import Gradient
from zafu.space import Choice, Range, Space

SPACE = Space(
    (
        Range(path="fit.optimizer.lr", low=1e-4, high=1.0, log=True),
        Range(path="task.label_smoothing", low=0.0, high=0.6),
    )
)


def judged(ask: Ask) -> tuple[float | None, dict[str, float]]:
    """A valley at lr 0.03 and smoothing 0.2; an lr above 0.5 diverges."""
    lr, share = (float(ask.settings[path]) for path in SPACE.paths)
    off = math.log10(lr / 0.03)
    gradient = {
        "fit.optimizer.lr": 2 * off / (lr * math.log(10)),
        "task.label_smoothing": 20 * (share - 0.2),
    }
    return (None if lr > 0.5 else off**2 + 10 * (share - 0.2) ** 2), gradient


def carried(search: Gradient) -> list[Told]:
    told: list[Told] = []
    while asks := search.next(SPACE, told, higher=False, seed=0):
        for ask in asks:
            value, gradient = judged(ask)
            told.append(Told(len(told), ask, value, None if value is None else gradient))
    return told


def test_it_comes_near_the_bottom_of_a_valley() -> None:
    told = carried(Gradient(trials=40))

    best = min(told, key=lambda t: math.inf if t.value is None else t.value)
    assert len(told) == 40
    assert all(t.ask.gradient for t in told)
    assert best.value is not None
    assert best.value < 0.01


def test_it_begins_in_the_middle_and_is_a_function_of_what_it_was_told() -> None:
    told = carried(Gradient(trials=12, chains=3))

    first = told[0].ask.settings
    assert math.isclose(first["fit.optimizer.lr"], 0.01, rel_tol=1e-3)
    for known in range(0, 12, 3):
        asks = Gradient(trials=12, chains=3).next(SPACE, told[:known], higher=False, seed=0)
        assert asks == [t.ask for t in told[known : known + 3]]


def test_a_chain_that_diverged_goes_back() -> None:
    search = Gradient(trials=10, chains=1, pace=1.0)
    start = Ask(SPACE.at([0.7, 0.5]), gradient=True)
    up = {"fit.optimizer.lr": -1.0, "task.label_smoothing": 0.0}
    told = [Told(0, start, 1.0, up)]
    told.append(Told(1, search.next(SPACE, told, higher=False, seed=0)[0], None))

    (back,) = search.next(SPACE, told, higher=False, seed=0)

    rates = [float(a.settings["fit.optimizer.lr"]) for a in (start, told[1].ask, back)]
    assert rates[0] < rates[2] < rates[1]


def test_choices_and_whole_numbers_have_no_slope() -> None:
    space = Space(
        (
            *SPACE.dimensions,
            Range(path="fit.batch", low=8, high=64, whole=True),
            Choice(path="fit.optimizer.kind", values=("sgd", "adamw")),
        )
    )

    assert [f.path for f in Gradient().refused(space)] == ["fit.batch", "fit.optimizer.kind"]
