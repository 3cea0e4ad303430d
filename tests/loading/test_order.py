import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from zafu.batch import Portion
from zafu.loading.order import BLOCK, Order, share

SIZES = st.integers(1, 3000)
SEEDS = st.integers(0, 2**32 - 1)


@settings(deadline=None, max_examples=60)
@given(SIZES, SEEDS, st.integers(0, 10**9))
def test_each_sample_comes_exactly_once_an_epoch(n: int, seed: int, epoch: int) -> None:
    order = Order(n, seed)

    ids = order.positions(epoch * n, n)

    assert sorted(ids.tolist()) == list(range(n))


@pytest.mark.parametrize("n", [2**16 - 1, 2**16, 2**16 + 1])
def test_an_epoch_longer_than_a_block_is_a_permutation(n: int) -> None:
    ids = Order(n, 5).positions(n, n)

    assert n > BLOCK
    assert np.array_equal(np.sort(ids), np.arange(n))


@settings(deadline=None, max_examples=25)
@given(SEEDS)
def test_epochs_and_seeds_differ(seed: int) -> None:
    order = Order(50, seed)

    first, second = order.positions(0, 50).tolist(), order.positions(50, 50).tolist()

    assert first != second
    assert first != Order(50, seed + 1).positions(0, 50).tolist()


@settings(deadline=None, max_examples=40)
@given(SIZES, SEEDS, st.integers(0, 10**6), st.lists(st.integers(0, 700), max_size=12))
def test_any_cut_into_batches_gives_the_same_stream(
    n: int, seed: int, start: int, counts: list[int]
) -> None:
    whole = Order(n, seed).positions(start, sum(counts))

    order, position, parts = Order(n, seed), start, [np.empty(0, np.int64)]
    for count in counts:
        parts.append(order.positions(position, count))
        position += count

    assert np.array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("world", [1, 2, 3, 4, 6, 12])
def test_slices_of_ranks_make_up_the_global_batch(world: int) -> None:
    n, batch, per_rank = 1797, 24, 24 // world
    whole, ranks = Order(n, 3), [Order(n, 3) for _ in range(world)]

    for start in range(0, 3 * n, batch):
        slices = [o.positions(start + r * per_rank, per_rank) for r, o in enumerate(ranks)]

        assert np.array_equal(np.concatenate(slices), whole.positions(start, batch))


def test_a_stream_goes_on_from_any_position_without_what_came_before() -> None:
    order = Order(1000, 9)
    before = [order.positions(start, 64).tolist() for start in range(0, 40_000, 640)]

    resumed = [Order(1000, 9).positions(start, 64).tolist() for start in range(0, 40_000, 640)]

    assert resumed == before


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_all_permutations_of_few_samples_are_equally_likely(n: int) -> None:
    """Chi-square at the level of one in a million; seeded, so it holds always or never."""
    epochs = 20_000
    rows = Order(n, 1).positions(0, n * epochs).reshape(epochs, n)

    counts = np.unique(rows, axis=0, return_counts=True)[1]

    assert len(counts) == np.prod(np.arange(1, n + 1))
    assert stats.chisquare(counts).pvalue > 1e-6


@pytest.mark.parametrize("n", [10, 17, 100, 1000])
def test_no_place_and_no_neighbour_is_preferred(n: int) -> None:
    epochs = 100_000 // n
    rows = Order(n, 2).positions(0, n * epochs).reshape(epochs, n)

    places = np.zeros((n, n))
    np.add.at(places, (np.tile(np.arange(n), epochs), rows.ravel()), 1)
    steps = np.bincount((np.diff(rows, axis=1) % n).ravel(), minlength=n)[1:]

    degrees = (n - 1) ** 2
    distance = np.square(places - epochs / n).sum() / (epochs / n)
    assert stats.chi2.sf(distance, degrees) > 1e-6
    assert stats.chisquare(steps).pvalue > 1e-6


def test_golden_order() -> None:
    """The order is part of what makes a run repeatable: a change of it is a change of all runs."""
    assert Order(10, 0).positions(0, 12).tolist() == GOLDEN


GOLDEN = [4, 7, 2, 9, 6, 5, 1, 0, 3, 8, 3, 8]


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(0, 5000), st.integers(1, 64))
def test_ranks_share_any_batch_to_within_one_sample(start: int, count: int, world: int) -> None:
    parts = [share(start, count, rank=rank, world=world) for rank in range(world)]

    position = start
    for begin, length in parts:
        assert begin == position
        position += length
    lengths = [length for _, length in parts]
    assert position == start + count
    assert max(lengths) - min(lengths) <= 1


def test_a_rank_that_is_none_of_the_world_is_refused() -> None:
    with pytest.raises(ValueError, match="rank of 0 to 1, found 2"):
        share(0, 10, rank=2, world=2)


@settings(deadline=None, max_examples=40)
@given(SIZES, st.integers(0, 10**6), st.integers(0, 40_000))
def test_epochs_count_how_often_a_sample_came(n: int, start: int, count: int) -> None:
    epochs = Order(n, 4).epochs_of(start, count)

    assert np.array_equal(epochs, np.arange(start, start + count) // n)


@pytest.mark.parametrize("portions", [(), (Portion(10**12 - 5, 1.0), Portion(5, 1.0))])
def test_any_position_of_a_million_million_samples_is_found_without_those_before(
    portions: tuple[Portion, ...],
) -> None:
    """Nothing is stored of the samples, so that this needs no memory and no time."""
    order = Order(10**12, 3, portions)

    seen = order.seen(7 * 10**12 + 3, 8)

    assert ((seen.ids >= 0) & (seen.ids < 10**12)).all()
    if not portions:
        assert seen.epochs.tolist() == [7] * 8
        assert len(set(seen.ids.tolist())) == 8
