import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.neighbors import NearestNeighbors

from zafu.data.smote import Rows, Smote, made, neighbours


def numbers_only(values: np.ndarray) -> Rows:
    return Rows(values.astype(np.float32), np.zeros((len(values), 0), np.int64))


def standardized(load: object) -> tuple[Rows, np.ndarray]:
    bunch = load()  # type: ignore[operator]
    return numbers_only((bunch.data - bunch.data.mean(0)) / bunch.data.std(0)), bunch.target


def distance_to_line(points: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Of each point to the segment between two others, `(m,)`."""
    along = second - first
    length = np.square(along).sum(1)
    share = ((points - first) * along).sum(1) / np.where(length, length, 1)
    nearest = first + np.clip(share, 0, 1)[:, None] * along
    return np.sqrt(np.square(points - nearest).sum(1))


@settings(max_examples=25, deadline=None)
@given(ratio=st.floats(0.3, 1.0), neighbours=st.integers(1, 32), seed=st.integers(0, 2**32 - 1))
def test_each_new_row_lies_between_two_real_ones_of_its_class(
    ratio: float, neighbours: int, seed: int
) -> None:
    rows, targets = standardized(load_wine)
    real = rows.numbers.astype(np.float64)
    smote = Smote(ratio=ratio, neighbours=neighbours)

    new = made(rows, targets, smote, seed=seed)

    first, second = new.ends.T
    assert (targets[first] == new.targets).all()
    assert (targets[second] == new.targets).all()
    assert (first != second).all()
    gap = distance_to_line(new.rows.numbers.astype(np.float64), real[first], real[second])
    assert gap.max(initial=0) < 1e-6  # of float32
    sizes = np.bincount(np.concatenate([targets, new.targets]))
    assert (sizes >= np.floor(ratio * np.bincount(targets).max())).all()


def test_ends_are_among_the_nearest_of_the_class() -> None:
    rows, targets = standardized(load_breast_cancer)
    own = np.flatnonzero(targets == 0)
    reference = NearestNeighbors(n_neighbors=6, algorithm="brute").fit(rows.numbers[own])
    near = own[reference.kneighbors(return_distance=False, n_neighbors=5)]

    new = made(rows, targets, Smote(neighbours=5), seed=3)

    place = {position: i for i, position in enumerate(own.tolist())}
    assert len(new.targets) == 357 - 212
    assert all(end in near[place[start]] for start, end in new.ends.tolist())
    assert len({start for start, _ in new.ends.tolist()}) == 145  # none twice before all once


def test_neighbours_equal_those_of_scikit_learn() -> None:
    """Parity, nearest first, in several blocks."""
    rows, _ = standardized(load_breast_cancer)

    found = neighbours(rows, 100, 7)

    expected = NearestNeighbors(n_neighbors=7, algorithm="brute").fit(rows.numbers)
    assert np.array_equal(found, expected.kneighbors(return_distance=False)[:100])


def test_of_equally_near_rows_the_earlier_is_nearer() -> None:
    rows = numbers_only(np.array([[0.0], [1.0], [-1.0], [1.0], [2.0], [0.0]]))

    found = neighbours(rows, 6, 3)

    assert found[0].tolist() == [5, 1, 2]
    assert found[1].tolist() == [3, 0, 4]


@pytest.mark.parametrize(("same", "far", "order"), [(1.2, -1.7, [1, 2]), (1.1, -1.6, [2, 1])])
def test_a_category_counts_as_the_median_deviation(
    same: float, far: float, order: list[int]
) -> None:
    """Closed form: variances of 1.145 and 1.005 are what another category adds to .5 squared."""
    numbers = np.array([[0.0], [0.5], [same], [far]], np.float32)
    kinds = np.array([[0], [1], [0], [1]])

    found = neighbours(Rows(numbers, kinds), 1, 2)

    assert found[0].tolist() == order


def test_a_new_row_has_the_category_of_most_neighbours() -> None:
    numbers = np.array([[0.0], [0.1], [0.2], [0.3], [9.0], [9.1], [9.2], [9.3]], np.float32)
    kinds = np.array([[7], [3], [3], [4], [1], [1], [1], [1]])
    targets = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    more = numbers_only(np.full((6, 1), 20.0))
    rows = Rows(
        np.concatenate([numbers, more.numbers]), np.concatenate([kinds, np.full((6, 1), 8)])
    )

    new = made(rows, np.concatenate([targets, np.full(6, 2)]), Smote(neighbours=3), seed=0)

    assert set(new.rows.categories[new.targets == 0, 0].tolist()) == {3}
    assert set(new.rows.categories[new.targets == 1, 0].tolist()) == {1}


def test_the_same_seed_makes_the_same_rows_and_another_others() -> None:
    rows, targets = standardized(load_wine)

    first, again, other = (made(rows, targets, Smote(), seed=seed) for seed in (1, 1, 2))

    assert np.array_equal(first.rows.numbers, again.rows.numbers)
    assert not np.array_equal(first.rows.numbers, other.rows.numbers)


def test_a_class_is_drawn_upon_in_part_where_it_is_large() -> None:
    rows, targets = standardized(load_breast_cancer)

    new = made(rows, targets, Smote(among=20), seed=0)

    assert len(new.targets) == 145
    assert len(np.unique(new.ends)) <= 20


def test_equal_classes_get_nothing() -> None:
    rows, _ = standardized(load_wine)

    new = made(rows, np.arange(178) % 2, Smote(), seed=0)

    assert (len(new.targets), new.ends.shape) == (0, (0, 2))
    assert new.rows.numbers.shape == (0, 13)
