"""Folds as the test or validation of a split: partitions, and what scikit-learn would deal."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import model_selection
from sklearn.datasets import load_digits

from zafu.data import pool, splitters
from zafu.data.contract import SPLITS, Shares
from zafu.data.deal import deal
from zafu.data.digits import Digits
from zafu.errors import Damaged, DataError, RecipeError
from zafu.hashing import fingerprints
from zafu.work import Work

SOME = fingerprints(str(i).encode() for i in range(2000))
CLASSES = load_digits().target


def shares(by: str = "content", fold: int = 0, of: int = 5, **further: object) -> Shares:
    """A split whose test is a fold; `further` are its settings, or `test_…` those of the fold."""
    column = None if by in ("content", "random") else "c"
    own = {k.removeprefix("test_"): v for k, v in further.items() if k.startswith("test_")}
    plain = {k: v for k, v in further.items() if not k.startswith("test_")}
    test = {"fold": fold, "of": of, **own}
    return Shares.parse({"by": by, "column": column, "test": test, "validation": 0, **plain})


def held_of(prints: np.ndarray, by: str, of: int = 5, **how: object) -> list[np.ndarray]:
    """The test split of each fold; `how` are arguments of `deal`, and settings as in `shares`."""
    given = {k: how.pop(k) for k in ("keys", "classes", "clusters", "seed") if k in how}
    given = {"seed": 0, **given}
    dealt = [deal(prints, shares(by, i, of, **how), what="rows", **given) for i in range(of)]
    return [d["test"] for d in dealt]


@settings(deadline=None, max_examples=30)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(2, 12),
    st.integers(12, 300),
    st.sampled_from(["content", "random", "group"]),
)
def test_folds_part_the_pool_evenly(seed: int, of: int, n: int, by: str) -> None:
    groups = np.random.default_rng(seed).integers(0, 40, n)
    groups[: min(n, 12)] = np.arange(min(n, 12))

    tests = held_of(SOME[:n], by, of, seed=seed, keys=groups if by == "group" else None)

    assert np.array_equal(np.sort(np.concatenate(tests)), np.arange(n))
    units = [len(set(groups[t].tolist())) if by == "group" else len(t) for t in tests]
    assert max(units) - min(units) <= 1
    assert sum(units) == (len(set(groups.tolist())) if by == "group" else n)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**16), st.booleans(), st.sampled_from(["content", "group"]))
def test_no_group_and_no_equal_content_is_in_two_folds(seed: int, stratify: bool, by: str) -> None:
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 150, 1200)
    classes = np.where(rng.random(1200) < 0.9, kind % 3, rng.integers(0, 3, 1200))
    prints = SOME[kind] if by == "content" else SOME[:1200]

    tests = held_of(prints, by, stratify=stratify, classes=classes, keys=kind, seed=seed)

    assert np.array_equal(np.sort(np.concatenate(tests)), np.arange(1200))
    assert sum(len(set(kind[t].tolist())) for t in tests) == len(set(kind.tolist()))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**16), st.integers(2, 10), st.integers(0, 3))
def test_stratified_folds_have_the_class_counts_of_scikit_learn(
    seed: int, of: int, repeat: int
) -> None:
    """Parity with StratifiedKFold: the same number of each class in each fold."""
    rng = np.random.default_rng(seed)
    classes = rng.choice(4, 700, p=[0.7, 0.2, 0.06, 0.04])
    reference = model_selection.StratifiedKFold(of).split(np.zeros(700), classes)

    tests = held_of(SOME[:700], "content", of, stratify=True, classes=classes, test_repeat=repeat)

    for test, (_, other) in zip(tests, reference, strict=True):
        found, expected = (np.bincount(classes[x], minlength=4) for x in (test, other))
        assert np.array_equal(found, expected)


def test_stratified_groups_are_parted_as_evenly_as_scikit_learn_parts_them() -> None:
    """Parity with StratifiedGroupKFold: greatest gap of a class's share in a fold."""
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 60, 1797) * 10 + np.where(rng.random(1797) < 0.8, CLASSES, 0)
    sgkf = model_selection.StratifiedGroupKFold(5, shuffle=True, random_state=0)
    reference = [test for _, test in sgkf.split(SOME[:1797], CLASSES, groups)]

    tests = held_of(SOME[:1797], "group", stratify=True, keys=groups, classes=CLASSES)

    def gap(parts: list[np.ndarray]) -> float:
        whole = np.bincount(CLASSES)
        return max(float(np.abs(np.bincount(CLASSES[p]) / whole - 0.2).max()) for p in parts)

    assert gap(tests) <= max(0.01, 1.5 * gap(reference))


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 8), st.integers(0, 20), st.integers(120, 400), st.integers(0, 99))
def test_folds_by_time_have_the_sizes_of_scikit_learn(of: int, gap: int, n: int, seed: int) -> None:
    """Parity with TimeSeriesSplit: the same samples where no two are of one moment."""
    when = np.random.default_rng(seed).permutation(n)
    gap = min(gap, n // (of + 1) - 1)
    order = np.argsort(when)
    reference = model_selection.TimeSeriesSplit(of, gap=gap).split(np.zeros(n))

    for fold, (train, test) in enumerate(reference):
        dealt = deal(SOME[:n], shares("time", fold, of, test_gap=gap), seed=0, what="rows",
                     keys=when)  # fmt: skip

        assert np.array_equal(dealt["test"], np.sort(order[test]))
        assert np.array_equal(dealt["train"], np.sort(order[train]))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**16), st.integers(2, 6), st.integers(0, 60), st.sampled_from([0, 0.2]))
def test_time_never_looks_ahead(seed: int, of: int, gap: int, validation: float) -> None:
    when = np.random.default_rng(seed).integers(0, 60, 900)
    when[:60] = np.arange(60)

    for fold in range(of):
        how = shares("time", fold, of, test_gap=gap, validation=validation)
        dealt = deal(SOME[:900], how, seed=seed, what="rows", keys=when)

        parts = [when[dealt[split]] for split in SPLITS if len(dealt[split])]
        assert len(parts) == (3 if validation else 2)
        assert all(older.max() < newer.min() for older, newer in pairwise(parts))
        known = np.concatenate(parts[:-1])
        between = (when > known.max()) & (when < parts[-1].min())
        assert between.sum() >= gap
        assert between.sum() < gap + np.bincount(when).max()


def test_another_repeat_is_another_partition() -> None:
    first, again, second = (
        held_of(SOME, "content", 5, test_repeat=repeat, stratify=True, classes=SOME % 3)
        for repeat in (0, 0, 1)
    )

    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    shared = [len(np.intersect1d(a, b)) for a in first for b in second]
    assert max(shared) < 130  # 80 of 400 by chance


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**16), st.booleans(), st.sampled_from(["content", "group", "random"]))
def test_validation_is_of_what_the_test_leaves(seed: int, stratify: bool, by: str) -> None:
    """As a share and, nested, as folds: which part the rest."""
    groups = np.random.default_rng(seed).integers(0, 200, 2000)
    given = {"keys": groups if by == "group" else None, "classes": SOME % 3}
    how = {"stratify": stratify}

    share = deal(SOME, shares(by, 1, validation=0.25, **how), seed=seed, what="rows", **given)
    inner = [
        deal(
            SOME,
            shares(by, 1, validation={"fold": i, "of": 4}, **how),
            seed=seed,
            what="rows",
            **given,
        )
        for i in range(4)
    ]

    assert len(share["validation"]) == pytest.approx(400, abs=40 if by == "group" else 3)
    assert all(np.array_equal(d["test"], share["test"]) for d in inner)
    rest = np.setdiff1d(np.arange(2000), share["test"])
    assert np.array_equal(np.sort(np.concatenate([d["validation"] for d in inner])), rest)
    for d in (share, *inner):
        assert len(np.unique(np.concatenate(list(d.values())))) == 2000
        if by == "group":
            assert not set(groups[d["validation"]].tolist()) & set(groups[d["train"]].tolist())


def test_folds_of_what_a_test_share_leaves_keep_the_plain_test() -> None:
    plain = deal(SOME, Shares(), seed=3, what="rows")

    folds = [
        deal(SOME, Shares.parse({"validation": {"fold": i, "of": 3}}), seed=3, what="rows")
        for i in range(3)
    ]

    assert all(np.array_equal(d["test"], plain["test"]) for d in folds)
    together = np.sort(np.concatenate([d["validation"] for d in folds]))
    assert np.array_equal(together, np.setdiff1d(np.arange(2000), plain["test"]))


@pytest.mark.parametrize("form", ["text", "number", "name"])
def test_given_folds_are_those_of_a_column(form: str) -> None:
    """Parity with PredefinedSplit, where -1 is only trained on."""
    numbers = np.random.default_rng(0).integers(-1, 4, 300)
    keys = {"text": numbers.astype(str), "number": numbers.astype(float)}.get(form)
    if keys is None:
        keys = np.array(["-1", "east", "north", "south", "west"])[numbers + 1]
    reference = model_selection.PredefinedSplit(numbers).split()

    for fold, (train, test) in enumerate(reference):
        dealt = deal(SOME[:300], shares("given", fold, 4), seed=0, what="rows", keys=keys)

        assert np.array_equal(dealt["train"], train)
        assert np.array_equal(dealt["test"], test)


def test_given_folds_of_another_number_are_refused() -> None:
    keys = np.array(["a", "b", "c"] * 10)

    with pytest.raises(DataError, match=r'expected 5 different values.*found 3: "a", "b", "c"'):
        deal(SOME[:30], shares("given"), seed=0, what="rows", keys=keys)


@pytest.mark.parametrize(
    ("name", "made", "by"),
    [
        ("KFold", model_selection.KFold(5), "random"),
        ("StratifiedKFold", model_selection.StratifiedKFold(5), "random"),
        ("GroupKFold", model_selection.GroupKFold(5), "group"),
        ("TimeSeriesSplit", model_selection.TimeSeriesSplit(5), "time"),
        ("RepeatedKFold", None, "random"),
        ("ShuffleSplit", None, "random"),
    ],
)
def test_a_splitter_of_scikit_learn_deals_as_it_does_there(
    name: str, made: splitters.Splitter | None, by: str
) -> None:
    keys = np.random.default_rng(1).integers(0, 30, 200)
    keys = np.argsort(keys) if by == "time" else keys
    classes = np.arange(200) % 3
    own = {"test_splitter": name, "test_of": 10 if name == "RepeatedKFold" else 5}
    own |= {"test_settings": {"n_repeats": 2}} if name == "RepeatedKFold" else {}
    of = own.pop("test_of")

    dealt = [
        deal(SOME[:200], shares(by, i, of, **own), seed=0, what="rows",
             keys=None if by == "random" else keys, classes=classes)
        for i in range(of)
    ]  # fmt: skip

    if made is None:  # by chance: ours to give, so the same again
        again = deal(SOME[:200], shares(by, 1, of, **own), seed=0, what="rows", classes=classes)
        assert np.array_equal(again["test"], dealt[1]["test"])
        assert not np.array_equal(dealt[0]["test"], dealt[1]["test"])
        return
    order = np.argsort(keys) if by == "time" else np.arange(200)
    for d, (train, test) in zip(
        dealt, made.split(classes, classes, keys if by == "group" else None), strict=True
    ):
        assert np.array_equal(d["train"], np.sort(order[train]))
        assert np.array_equal(d["test"], np.sort(order[test]))


def test_a_splitter_that_makes_other_folds_is_refused_with_their_number() -> None:
    keys = np.arange(60) % 6

    with pytest.raises(DataError, match="makes 6 folds of these samples, expected 5: set of: 6"):
        deal(SOME[:60], shares("group", test_splitter="LeaveOneGroupOut"), seed=0, what="rows",
             keys=keys)  # fmt: skip
    with pytest.raises(DataError, match=r"set data\.split\.by=group, and column"):
        deal(SOME[:60], shares("random", test_splitter="GroupKFold"), seed=0, what="rows")


def test_folds_of_a_file_are_taken_as_they_are_or_refused(tmp_path: Path) -> None:
    found = splitters.folds(model_selection.ShuffleSplit(3, test_size=0.2), splitters.Known(50))
    content = splitters.written(found)
    file = tmp_path / f"{splitters.digest(content)}.npy"
    file.write_bytes(content)

    dealt = deal(SOME[:50], shares("random", 2, 3, test_indices=str(file)), seed=0, what="rows")

    assert dealt["test"].tolist() == np.flatnonzero(found[2] == splitters.HELD).tolist()
    with pytest.raises(DataError, match="3 folds of 50 samples, expected 3 of 49"):
        deal(SOME[:49], shares("random", 2, 3, test_indices=str(file)), seed=0, what="rows")
    file.write_bytes(content[:-1] + b"\x07")
    with pytest.raises(Damaged, match="was changed"):
        deal(SOME[:50], shares("random", 2, 3, test_indices=str(file)), seed=0, what="rows")


def test_too_few_for_the_folds_are_refused_with_all_that_lack() -> None:
    with pytest.raises(DataError, match=r"expected 5 parts that may stand alone, found 4 \(of 20"):
        deal(np.tile(SOME[:4], 5), shares(), seed=0, what="rows")
    classes = np.array(["a"] * 50 + ["b"] * 4 + ["c"])
    with pytest.raises(DataError, match="2 faults") as error:
        deal(SOME[:55], shares(stratify=True), seed=0, what="rows", classes=classes)
    assert "class 'b' has 4 different rows, expected at least 5 to stand in" in str(error.value)
    with pytest.raises(DataError, match="expected 6 blocks of time and a gap of 90, found 100"):
        deal(SOME[:100], shares("time", test_gap=90), seed=0, what="rows", keys=np.arange(100))


def test_a_bad_fold_is_refused_with_all_its_faults() -> None:
    with pytest.raises(RecipeError) as error:
        Shares.parse(
            {
                "by": "time",
                "column": "t",
                "test": {"fold": 5, "of": 5, "repeat": 1},
                "validation": {"fold": 0, "of": 3, "splitter": "KFlod", "gap": 2},
            }
        )

    assert {fault.path for fault in error.value.faults} == {
        "test.fold",
        "test.repeat",
        "validation.splitter",
        "validation.gap",
    }
    with pytest.raises(RecipeError, match=r"test\.repeat: expected 0, as there is one partition"):
        shares("time", test_repeat=1)
    with pytest.raises(RecipeError, match=r"settings\.n_split: .*did you mean n_splits"):
        shares("random", test_splitter="KFold", test_settings={"n_split": 5})
    with pytest.raises(RecipeError, match=r"repeat: expected 0, as KFold with these settings"):
        shares("random", test_splitter="KFold", test_repeat=1)


def test_what_is_prepared_says_where_each_sample_of_the_pool_went(tmp_path: Path) -> None:
    folders = [tmp_path / str(i) for i in range(3)]
    for fold, folder in enumerate(folders):
        folder.mkdir()
        how = shares(fold=fold, of=3, validation=0.1)
        Digits(split=how).prepare(
            folder, task="classification", seed=0, work=Work(tmp_path / "work")
        )

    tests = [pool.ids(folder, "test") for folder in folders]
    assert sorted(np.concatenate(tests).tolist()) == list(range(1797))
    assert np.array_equal(pool.known(folders[0]).classes, CLASSES)
    for folder, test in zip(folders, tests, strict=True):
        targets = Digits().open(folder, "test").batch(np.arange(len(test))).targets
        assert np.array_equal(targets.numpy(), CLASSES[test])
    assert pool.names(folders[0])[:2] == ["1", "2"]
