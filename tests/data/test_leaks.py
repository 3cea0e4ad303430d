import numpy as np
import pytest
from sklearn.datasets import load_digits

from zafu.data.contract import Leaks, Shares
from zafu.data.deal import deal
from zafu.data.leaks import find, refuse_leaks
from zafu.errors import DataError
from zafu.hashing import fingerprints

DIGITS = fingerprints(image.tobytes() for image in load_digits().images)
SHARES = Shares(validation=0.2, test=0.2)


def ids(count: int) -> list[str]:
    return [f"#{i}" for i in range(count)]


def split(train: list[int], validation: list[int], test: list[int]) -> dict[str, np.ndarray]:
    named = {"train": train, "validation": validation, "test": test}
    return {name: np.array(rows, np.int64) for name, rows in named.items()}


def test_digits_that_are_all_different_do_not_leak() -> None:
    shares = Shares(by="random")
    dealt = deal(DIGITS, shares, seed=0, what="digits")

    found = find(DIGITS, dealt, shares, ids=ids(len(DIGITS)))

    assert found["test"] == {"exact": {"count": 0, "share": 0.0, "examples": []}}
    refuse_leaks(found, Leaks())


def test_copies_dealt_at_random_leak_and_are_counted_exactly() -> None:
    shares = SHARES.at("by", "random")
    prints = np.tile(DIGITS[:500], 3)
    dealt = deal(prints, shares, seed=0, what="digits")
    train = set((dealt["train"] % 500).tolist())

    found = find(prints, dealt, shares, ids=ids(1500))

    for held in ("validation", "test"):
        leaking = [i for i in dealt[held].tolist() if i % 500 in train]
        assert found[held]["exact"]["count"] == len(leaking) > 100
        assert found[held]["exact"]["share"] == len(leaking) / len(dealt[held])
        for one, two in found[held]["exact"]["examples"]:
            assert int(one[1:]) % 500 == int(two[1:]) % 500
            assert int(one[1:]) in dealt[held]
            assert int(two[1:]) in dealt["train"]
        assert len(found[held]["exact"]["examples"]) == 5


def test_copies_dealt_by_content_do_not_leak() -> None:
    prints = np.tile(DIGITS, 2)
    dealt = deal(prints, SHARES, seed=0, what="digits")

    found = find(prints, dealt, SHARES, ids=ids(len(prints)))

    assert not found["test"]["exact"]["count"]


def test_near_pairs_leak_through_copies_too_but_exact_ones_count_once() -> None:
    #                  0  1  2  3  4  5  6
    prints = np.array([9, 8, 7, 9, 8, 6, 7], np.uint64)
    near = np.array([[0, 2], [2, 5]])  # 9 ~ 7, 7 ~ 6
    dealt = split([1, 2], [0, 3], [4, 5, 6])

    found = find(prints, dealt, SHARES, ids=ids(7), near=near)

    assert found["validation"]["near"]["examples"] == [["#0", "#2"], ["#3", "#2"]]
    assert found["validation"]["exact"]["count"] == 0
    assert found["test"]["exact"]["examples"] == [["#4", "#1"], ["#6", "#2"]]
    assert found["test"]["near"]["examples"] == [["#5", "#2"]]


def test_groups_kept_together_do_not_leak_and_others_do() -> None:
    shares = Shares(by="group", column="writer")
    writers = np.array([f"w{i % 40}" for i in range(400)])
    good = deal(DIGITS[:400], shares, seed=0, what="digits", keys=writers)
    bad = split(list(range(390)), [390], list(range(391, 400)))

    kept, parted = (
        find(DIGITS[:400], dealt, shares, ids=ids(400), keys=writers) for dealt in (good, bad)
    )

    assert not kept["test"]["groups"]["count"]
    assert parted["test"]["groups"]["share"] == 1
    assert parted["test"]["groups"]["examples"][0] == ["#391", "#31"]


def test_time_that_runs_back_is_counted() -> None:
    shares = Shares(by="time", column="day")
    days = np.array(["2026-01-01", "2026-01-05", "2026-01-03", "2026-01-05", "2026-02-01"])
    prints = DIGITS[:5]
    dealt = split([0, 1], [2], [3, 4])

    found = find(prints, dealt, shares, ids=ids(5), keys=days)

    assert found["validation"]["time"]["examples"] == [["#2", "#1"]]
    assert found["test"]["time"]["count"] == 0


def test_every_leak_above_its_limit_is_listed_with_what_to_do() -> None:
    prints = np.array([1, 2, 3, 1, 4, 5], np.uint64)
    found = find(
        prints,
        split([0, 1], [2, 4], [3, 5]),
        Shares(by="group", column="writer"),
        ids=["a", "b", "c", "d", "e", "f"],
        keys=np.array([1, 1, 1, 2, 3, 4]),
        near=np.array([[1, 5]]),
    )

    with pytest.raises(DataError) as error:
        refuse_leaks(found, Leaks(near=0.1))

    assert str(error.value).splitlines() == [
        "3 faults in the data:",
        "  data.leaks.groups: expected at most 0 of the validation split that have their group in "
        "training, found 0.5 (1 samples, such as c and a): data.split.by=group, or raise "
        "data.leaks.groups",
        "  data.leaks.exact: expected at most 0 of the test split that stand in training too, "
        "found 0.5 (1 samples, such as d and a): remove copies by data.duplicates, "
        "deal by content, or raise data.leaks.exact",
        "  data.leaks.near: expected at most 0.1 of the test split that nearly stand in training, "
        "found 0.5 (1 samples, such as f and b): data.duplicates.near={} to remove them, or "
        "data.split.by=content to keep them together, or raise data.leaks.near",
    ]
    refuse_leaks(found, Leaks(exact=None, near=None, groups=0.5))
