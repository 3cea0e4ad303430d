from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zafu.data.contract import SPLITS, Shares
from zafu.data.deal import deal
from zafu.data.files import find
from zafu.errors import DataError
from zafu.hashing import fingerprints, key, mix

SOME = fingerprints(str(i).encode() for i in range(2000))


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.floats(0, 0.45), st.floats(0, 0.45))
def test_splits_are_disjoint_and_complete(seed: int, validation: float, test: float) -> None:
    shares = Shares(validation=round(validation, 2), test=round(test, 2))

    dealt = deal(SOME, shares, seed=seed, what="rows")

    together = np.concatenate([dealt[split] for split in SPLITS])
    assert np.array_equal(np.sort(together), np.arange(len(SOME)))
    expected = np.array([shares.validation, shares.test]) * len(SOME)
    found = np.array([len(dealt["validation"]), len(dealt["test"])])
    assert (np.abs(found - expected) <= 6 * np.sqrt(expected)).all()


def test_adding_samples_moves_no_other() -> None:
    few = deal(SOME[:1000], Shares(), seed=3, what="rows")

    many = deal(SOME, Shares(), seed=3, what="rows")

    for split in SPLITS:
        assert np.array_equal(many[split][many[split] < 1000], few[split])


def test_equal_samples_share_a_split() -> None:
    dealt = deal(np.tile(SOME, 2), Shares(validation=0.3, test=0.3), seed=1, what="rows")

    for ids in dealt.values():
        assert np.array_equal(ids[ids < 2000], ids[ids >= 2000] - 2000)


@settings(deadline=None, max_examples=50)
@given(st.integers(3, 12), st.integers(0, 1000))
def test_few_samples_still_fill_every_split(n: int, seed: int) -> None:
    dealt = deal(np.tile(SOME[:n], 2), Shares(), seed=seed, what="rows")

    assert all(len(dealt[split]) for split in SPLITS)
    assert not set(dealt["train"] % n) & set(dealt["test"] % n)


def test_too_few_different_samples_are_refused() -> None:
    with pytest.raises(DataError, match=r"4 rows \(2 different\) leave none for the train split"):
        deal(np.tile(SOME[:2], 2), Shares(), seed=0, what="rows")


def test_a_split_without_a_share_is_empty() -> None:
    dealt = deal(SOME[:2], Shares(validation=0, test=0), seed=0, what="rows")

    assert [len(dealt[split]) for split in SPLITS] == [2, 0, 0]


def test_mixing_equals_the_published_splitmix64() -> None:
    """Parity: the first outputs of SplitMix64 from state 1234567 (Vigna's reference code)."""
    golden_gamma = 0x9E3779B97F4A7C15
    states = np.array([(1234567 + i * golden_gamma) % 2**64 for i in range(3)], np.uint64)

    assert mix(states).tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


def test_a_key_depends_on_each_number_and_their_order() -> None:
    found = {int(key(*numbers)[0]) for numbers in [(0,), (1,), (0, 0), (0, 1), (1, 0), (2**40,)]}

    assert len(found) == 6


def test_files_are_found_by_name_below_the_glob(tmp_path: Path) -> None:
    for name in ("b/x.txt", "a/y.txt", "a/.hidden.txt", "a/z.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)

    assert [name for name, _ in find([f"{tmp_path}/**/*.txt"])] == ["a/y.txt", "b/x.txt"]
    assert [name for name, _ in find([f"{tmp_path}/a/z.md"])] == ["z.md"]


def test_every_glob_without_files_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        find([f"{tmp_path}/*.csv", f"{tmp_path}/*.tsv"])

    assert "2 faults" in str(error.value)
    assert f"{tmp_path}/*.csv: expected files, found none under {tmp_path}" in str(error.value)


def test_the_standard_library_has_packages_but_no_tests() -> None:
    top = [name for name, _ in find(["stdlib:*.py"])]
    names = {name for name, _ in find(["stdlib:**/*.py"])}

    assert {"abc.py", "argparse.py"} <= set(top) <= names
    assert "json/decoder.py" in names
    folders = {folder for name in names for folder in Path(name).parts[:-1]}
    assert not folders & {"site-packages", "test", "tests", "idlelib", "lib2to3"}
    assert not [name for name in names if "_sysconfigdata" in name]
