import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zafu.batch import Portion
from zafu.loading.mixture import CYCLE, Mixture
from zafu.loading.order import BLOCK, Order

PORTIONS = st.lists(
    st.builds(Portion, st.integers(1, 400), st.floats(0.05, 20)), min_size=1, max_size=6
).map(tuple)


def _exact(portions: tuple[Portion, ...]) -> np.ndarray:
    weights = np.array([p.weight for p in portions])
    return weights / weights.sum()


@settings(deadline=None, max_examples=15)
@given(PORTIONS, st.integers(0, 10**6))
def test_over_any_cycle_each_portion_is_within_one_sample_of_its_weight(
    portions: tuple[Portion, ...], start: int
) -> None:
    places = Mixture(portions).at(np.arange(start, start + CYCLE))

    counts = np.bincount(places.portion, minlength=len(portions))

    assert np.abs(counts - _exact(portions) * CYCLE).max() < 1


@settings(deadline=None, max_examples=15)
@given(PORTIONS)
def test_after_any_number_of_samples_no_portion_is_two_samples_off(
    portions: tuple[Portion, ...],
) -> None:
    """Less than one from the places of the cycle, and those less than one from the weights."""
    places = Mixture(portions).at(np.arange(2 * CYCLE))

    came = np.cumsum(places.portion[:, None] == np.arange(len(portions)), 0)[:CYCLE]

    share = np.arange(1, CYCLE + 1)[:, None] * _exact(portions)
    assert np.abs(came - share).max() < 2


@settings(deadline=None, max_examples=15)
@given(PORTIONS, st.integers(0, 2**32 - 1))
def test_each_sample_of_a_portion_comes_exactly_once_in_each_of_its_epochs(
    portions: tuple[Portion, ...], seed: int
) -> None:
    sizes = [p.samples for p in portions]
    starts = np.cumsum([0, *sizes])
    seen = Order(int(starts[-1]), seed, portions).seen(0, 2 * BLOCK)

    for number, size in enumerate(sizes):
        here = (seen.ids >= starts[number]) & (seen.ids < starts[number + 1])
        ids, epochs = seen.ids[here], seen.epochs[here]
        whole = len(ids) // size
        for epoch in range(min(whole, 5)):
            some = slice(epoch * size, (epoch + 1) * size)
            assert sorted(ids[some] - starts[number]) == list(range(size))
            assert (epochs[some] == epoch).all()
        assert np.array_equal(epochs, np.arange(len(ids)) // size)


@settings(deadline=None, max_examples=15)
@given(PORTIONS, st.integers(0, 10**9), st.lists(st.integers(0, 700), max_size=8))
def test_a_mixture_goes_on_from_any_position(
    portions: tuple[Portion, ...], start: int, counts: list[int]
) -> None:
    n = sum(p.samples for p in portions)
    whole = Order(n, 1, portions).seen(start, sum(counts))

    order, position, parts = Order(n, 1, portions), start, []
    for count in counts:
        parts.append(order.seen(position, count))
        position += count

    assert np.array_equal(np.concatenate([p.ids for p in parts] or [[]]), whole.ids)
    assert np.array_equal(np.concatenate([p.epochs for p in parts] or [[]]), whole.epochs)


def test_a_minute_weight_has_one_place_of_a_cycle() -> None:
    places = Mixture((Portion(5, 1.0), Portion(5, 1e-9))).at(np.arange(CYCLE))

    assert np.bincount(places.portion).tolist() == [CYCLE - 1, 1]


@pytest.mark.parametrize(
    ("n", "portions"),
    [(10, (Portion(9, 1.0),)), (0, ()), (4, (Portion(4, 0.0),)), (4, (Portion(4, float("nan")),))],
)
def test_portions_that_make_no_sense_are_refused(n: int, portions: tuple[Portion, ...]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Order(n, 0, portions)


def test_golden_mixture() -> None:
    """As the order without portions: a change of it is a change of all runs."""
    order = Order(10, 0, (Portion(7, 1.0), Portion(3, 2.0)))

    assert order.positions(0, 12).tolist() == GOLDEN


GOLDEN = [9, 4, 8, 7, 5, 7, 8, 1, 9, 8, 3, 9]
