import re
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zafu.data.files import find
from zafu.data.minhash import EMPTY, band, banding, bands, sketch


def modules(count: int) -> list[str]:
    return [path.read_text(encoding="utf-8") for _, path in find(["stdlib:*.py"])[:count]]


def shingles(text: str, words: int) -> set[tuple[str, ...]]:
    """The definition, for ASCII text: runs of words, or all words of a short text."""
    found = re.findall(r"[a-z0-9_]+", text.lower())
    runs = {tuple(found[i : i + words]) for i in range(len(found) - words + 1)}
    return runs or ({tuple(found)} if found else set())


def jaccard(left: str, right: str, words: int) -> float:
    one, two = shingles(left, words), shingles(right, words)
    return len(one & two) / len(one | two)


def agreement(sketches: np.ndarray) -> float:
    return float((sketches[0] == sketches[1]).mean())


def halves(size: int) -> list[tuple[str, str]]:
    """Pairs of texts of so many words that overlap in more and more of them."""
    words = [w for text in modules(170) for w in re.findall(r"[a-z0-9_]+", text.lower())]
    pairs = []
    for index in range(60):
        own = words[index * 3 * size : (index + 1) * 3 * size]
        shift = size * (index % 6) // 8
        pairs.append((" ".join(own[:size]), " ".join(own[shift : size + shift])))
    return pairs


@pytest.mark.parametrize("size", [20, 60, 200, 2000])
def test_the_share_of_equal_hashes_estimates_the_jaccard_index(size: int) -> None:
    """Without bias in texts of any length, with no more than the binomial error of 128 hashes."""
    pairs = halves(size)
    exact = np.array([jaccard(*pair, 5) for pair in pairs])

    sketches = sketch(pl.Series([text for pair in pairs for text in pair]))

    found = (sketches[::2] == sketches[1::2]).mean(axis=1)
    error = np.sqrt(np.maximum(exact * (1 - exact), 1e-6) / 128)
    assert abs((found - exact).mean()) <= 4 * np.sqrt((error**2).mean() / len(pairs)) + 1e-3
    assert np.sqrt(((found - exact) ** 2).mean()) <= 1.35 * np.sqrt((error**2).mean())


@settings(deadline=None, max_examples=25)
@given(st.lists(st.text(st.sampled_from("aB é中_1 .\n"), max_size=60), min_size=1, max_size=8))
def test_a_sketch_does_not_depend_on_the_texts_beside_it(texts: list[str]) -> None:
    together = sketch(pl.Series(texts))

    alone = np.concatenate([sketch(pl.Series([text])) for text in texts])

    assert np.array_equal(together, alone)


def test_blocks_of_bytes_leave_no_mark() -> None:
    texts = modules(60) * 2  # 2.6 MB: some blocks, and a text that is longer than one

    found = sketch(pl.Series([*texts, "\n".join(texts)]))

    assert np.array_equal(found[:60], found[60:120])
    alone = np.concatenate([sketch(pl.Series([text])) for text in texts[:60]])
    assert np.array_equal(found[:60], alone)


def test_case_and_what_stands_between_words_are_passed_over() -> None:
    texts = ["The quick, brown fox; jumps over", "THE QUICK\nBROWN  (fox) jumps \t over..."]

    assert agreement(sketch(pl.Series(texts))) == 1


def test_words_differ_at_any_letter() -> None:
    """Of words of 1 to 200 letters each place counts, also beyond what is hashed at once."""
    for size in (1, 2, 7, 8, 9, 15, 16, 17, 31, 64, 65, 72, 73, 200):
        word = "a" * size
        others = [word[:i] + "b" + word[i + 1 :] for i in range(size)]

        found = sketch(pl.Series([word, word + "a", *others]), words=1)

        assert len(np.unique(found, axis=0)) == size + 2


def test_the_order_of_words_counts() -> None:
    assert agreement(sketch(pl.Series(["a b c d e", "e d c b a"]))) < 0.1


def test_a_text_shorter_than_a_run_is_one_shingle() -> None:
    found = sketch(
        pl.Series(["one two three", "One, two: three!", "one two", "one two three four"])
    )

    assert (found == found[:, :1]).all()  # one value in all bins
    assert np.array_equal(found[0], found[1])
    assert len(np.unique(found[[0, 2, 3]], axis=0)) == 3


def test_a_text_without_words_is_empty() -> None:
    found = sketch(pl.Series(["", " \n\t", "... --- !!!", None, "a"], dtype=pl.String))

    assert (found[:4] == EMPTY).all()
    assert not (found[4] == EMPTY).any()
    assert sketch(pl.Series([], dtype=pl.String)).shape == (0, 128)


def test_scripts_without_spaces_have_shingles_of_characters() -> None:
    """A character changed in a Chinese sentence of 60 leaves most of its runs of five."""
    text = "".join(chr(0x4E00 + 7 * i) for i in range(60))
    changed = text[:30] + "中" + text[31:]

    found = sketch(pl.Series([text, changed, text[::-1]]))

    assert agreement(found[:2]) == pytest.approx(51 / 61, abs=0.13)
    assert agreement(found[[0, 2]]) < 0.1


@pytest.mark.parametrize("threshold", [0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0])
def test_bands_find_99_percent_at_the_threshold(threshold: float) -> None:
    plan = banding(threshold)

    assert plan.recall >= 0.99
    assert plan.bands * plan.rows <= 128
    assert plan.candidates(threshold) >= plan.recall
    longer = banding(threshold)._replace(rows=plan.rows + 1, bands=128 // (plan.rows + 1))
    assert longer.bands == 0 or longer.candidates(threshold) < 0.995


def test_the_plan_at_four_fifths_is_as_documented() -> None:
    plan = banding(0.8)

    assert (plan.bands, plan.rows, plan.agree) == (21, 6, 91)
    chances = [round(plan.candidates(j), 3) for j in (0.8, 0.6, 0.4, 0.2)]
    assert chances == [0.998, 0.633, 0.083, 0.001]


def test_chance_brings_texts_together_as_the_formula_says() -> None:
    rng = np.random.default_rng(0)
    left = rng.integers(0, 2**32, (4000, 128), dtype=np.uint32)
    right = np.where(rng.random((4000, 128)) < 0.6, left, left + np.uint32(1))

    one, two = (bands(sketches, threshold=0.8) for sketches in (left, right))

    together = (one == two).any(axis=1).mean()
    assert together == pytest.approx(banding(0.8).candidates(0.6), abs=0.03)
    assert np.array_equal(one[:, 3], band(left, banding(0.8), 3))
    assert len(np.unique(one)) == one.size  # a key says its band too


def test_neighbors_in_the_library_are_told_apart_from_copies() -> None:
    texts = modules(30)

    found = sketch(pl.Series(texts))

    for one, two in pairwise(found):
        assert (one == two).mean() < 0.5
