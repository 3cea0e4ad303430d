import re
from functools import cache

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zafu.data.duplicates import (
    Duplicates,
    Found,
    NearDuplicates,
    clusters,
    components,
    first_of,
    near_pairs,
)
from zafu.data.files import find
from zafu.data.minhash import EMPTY
from zafu.errors import RecipeError
from zafu.hashing import fingerprints

NEAR = NearDuplicates()


@cache
def documents() -> tuple[str, ...]:
    """Modules of the standard library, and their paragraphs of 60 words or more."""
    modules = [path.read_text(encoding="utf-8") for _, path in find(["stdlib:*.py"])]
    parts = (part for text in modules for part in re.split(r"\n\s*\n", text))
    paragraphs = [part for part in parts if len(re.findall(r"\w+", part)) >= 60]
    return tuple(dict.fromkeys([*modules, *paragraphs]))


def shingles(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"[a-z0-9_]+", text.lower())
    return {tuple(words[i : i + 5]) for i in range(len(words) - 4)}


def jaccard(left: str, right: str) -> float:
    one, two = shingles(left), shingles(right)
    return len(one & two) / len(one | two)


def changed(text: str, rng: np.random.Generator) -> str:
    """The text with one word in 60 spelled backwards, or with a letter more."""
    parts = re.split(r"(\w+)", text)
    words = range(1, len(parts), 2)
    for place in words[int(rng.integers(min(60, len(words)))) :: 60]:
        parts[place] = parts[place][::-1] + "x"
    return "".join(parts)


def found_in(texts: list[str]) -> Found:
    sketches = NEAR.sketch(pl.Series(texts))
    prints = fingerprints(text.encode() for text in texts)
    return clusters(prints, lambda places: NEAR.pairs(sketches[places]))


def test_every_planted_copy_is_found() -> None:
    texts = list(documents())
    picked = np.random.default_rng(0).integers(0, len(texts), 500).tolist()

    found = clusters(fingerprints(t.encode() for t in [*texts, *(texts[i] for i in picked)]))

    assert not found.exact[: len(texts)].any()
    assert found.exact[len(texts) :].all()
    assert found.twins[len(texts) :].tolist() == picked
    assert found.groups[len(texts) :].tolist() == picked


def test_99_percent_of_planted_near_copies_are_found_and_what_is_joined_is_near() -> None:
    """One word in 60 changed in real documents: 99 % found; of the joined 97 % share over 0.7."""
    rng = np.random.default_rng(0)
    texts = list(documents())
    picked = rng.permutation(len(texts))[:600].tolist()
    planted = [changed(texts[i], rng) for i in picked]

    found = found_in([*texts, *planted])

    joined = set(map(tuple, found.pairs.tolist()))
    hits = [(i, len(texts) + k) in joined for k, i in enumerate(picked)]
    assert np.mean(hits) >= 0.99
    together = [*texts, *planted]
    likeness = np.array([jaccard(together[i], together[j]) for i, j in joined])
    assert (likeness > 0.7).mean() >= 0.97
    assert likeness.min() > 0.55


def test_what_is_removed_is_near_to_what_stays() -> None:
    rng = np.random.default_rng(1)
    chain = [documents()[0]]
    for _ in range(12):  # each near to the one before, the last not to the first
        chain.append(changed(chain[-1], rng))

    found = found_in(chain)

    stays = found.twins < 0
    assert stays[0]
    assert 2 <= stays.sum() <= 6
    assert stays[found.twins[~stays]].all()
    assert (found.groups == 0).all()
    likeness = [jaccard(chain[i], chain[found.twins[i]]) for i in np.flatnonzero(~stays)]
    assert min(likeness) > 0.6


def test_of_an_exact_copy_the_twin_is_the_first_of_its_kind() -> None:
    text = documents()[0]
    near = changed(text, np.random.default_rng(2))

    found = found_in([text, near, "another text", near, text])

    assert found.twins.tolist() == [-1, 0, -1, 1, 0]
    assert found.exact.tolist() == [False, False, False, True, True]
    assert found.groups.tolist() == [0, 0, 2, 0, 0]
    assert found.pairs.tolist() == [[0, 1]]


def test_texts_without_words_are_near_to_nothing() -> None:
    found = found_in(["", "...", "!!!", ""])

    assert found.twins.tolist() == [-1, -1, -1, 0]


def test_a_flood_of_near_copies_is_brought_to_one() -> None:
    """All of a bucket of 3,000 are near to its first, without comparing each with each."""
    rng = np.random.default_rng(0)
    base = rng.integers(0, 2**32 - 1, 128, dtype=np.uint32)
    flood = np.tile(base, (3000, 1))
    flood[np.arange(3000), rng.integers(0, 128, 3000)] = np.arange(3000)

    pairs = near_pairs(flood, threshold=0.8)

    assert len(pairs) < 3000 * 30  # of 4.5 million
    found = clusters(np.arange(3000, dtype=np.uint64), lambda _: pairs)
    assert found.twins.tolist() == [-1] + [0] * 2999


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 60), st.integers(0, 2**16), st.sampled_from([0.5, 0.8, 0.95, 1.0]))
def test_pairs_are_those_that_agree_in_enough_hashes(n: int, seed: int, threshold: float) -> None:
    """Parity with comparing each with each: none too many, and none missed of the very like."""
    rng = np.random.default_rng(seed)
    sketches = rng.integers(0, 2, (n, 128), dtype=np.uint32)
    sketches[n // 2 :] = sketches[rng.integers(0, n, n - n // 2)]
    noise = rng.random(sketches.shape) < 0.02
    sketches[noise] = 2 + rng.integers(0, 5, int(noise.sum()))

    found = near_pairs(sketches, threshold=threshold)

    agree = (sketches[:, None] == sketches).mean(axis=2)
    assert (agree[found[:, 0], found[:, 1]] >= threshold - 0.12).all()
    assert (found[:, 0] < found[:, 1]).all()
    sure = np.triu(agree >= min(1, threshold + 0.13), 1)
    assert set(zip(*np.nonzero(sure), strict=True)) <= set(map(tuple, found.tolist()))


def test_the_sentinel_of_empty_texts_joins_nothing() -> None:
    assert not len(near_pairs(np.full((5, 128), EMPTY), threshold=0.5))
    assert not len(near_pairs(np.zeros((0, 128), np.uint32), threshold=0.5))


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 40).flatmap(lambda n: st.tuples(
    st.just(n), st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=60)
)))  # fmt: skip
def test_components_are_those_of_a_search_from_each(
    graph: tuple[int, list[tuple[int, int]]],
) -> None:
    n, edges = graph
    label = list(range(n))
    for _ in range(n):
        for one, two in edges:
            label[one] = label[two] = min(label[one], label[two])

    found = components(n, np.array(edges, np.int64).reshape(-1, 2))

    assert found.tolist() == label


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 9), max_size=30))
def test_the_first_of_equal_values_is_named(values: list[int]) -> None:
    found = first_of(np.array(values, np.uint64))

    assert found.tolist() == [values.index(value) for value in values]


def test_among_counts_anew() -> None:
    prints = np.array([7, 8, 7, 9, 8, 5], np.uint64)
    found = clusters(prints, lambda places: np.array([[0, 2]]))  # 7 and 9, at 0 and 3

    kept = found.among(np.array([2, 3, 4, 5]))

    assert found.groups.tolist() == [0, 1, 0, 0, 1, 5]
    assert kept.groups.tolist() == [0, 0, 2, 3]
    assert kept.twins.tolist() == [-1, -1, -1, -1]
    assert not kept.exact.any()
    assert found.among(np.arange(6)).pairs.tolist() == [[0, 3]]


def test_pieces_gathered_give_what_the_whole_gives() -> None:
    texts = pl.Series(documents()[:300])

    pieces = [NEAR.sketch(texts.slice(start, 70)) for start in range(0, 300, 70)]

    assert np.array_equal(np.concatenate(pieces), NEAR.sketch(texts))


def test_words_of_a_run_are_as_asked() -> None:
    texts = pl.Series(["one two three four five six", "one two three four five seven"])

    likeness = [
        float((found[0] == found[1]).mean())
        for found in (NearDuplicates(words=w).sketch(texts) for w in (1, 2, 5, 6))
    ]

    assert likeness == pytest.approx([5 / 7, 4 / 6, 1 / 3, 0], abs=0.15)


def test_a_threshold_out_of_range_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"near\.threshold: expected .*0\.5"):
        Duplicates.parse({"near": {"threshold": 0.3}})
    assert Duplicates.parse({"near": {}}).near == NEAR
