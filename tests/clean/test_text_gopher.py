"""Gopher's quality rules: at the published thresholds, and as plain Python counts them."""

from __future__ import annotations

import re
import sysconfig
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zafu.clean.text_gopher import Gopher
from zafu.errors import RecipeError

SPACE = re.compile("[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")
STOP = ("the", "be", "to", "of", "and", "that", "have", "with")


def words_of(text: str) -> list[str]:
    return [word for word in SPACE.split(text) if word]


def expected(text: str) -> str | None:
    """The rules, written as they read in the paper."""
    words = words_of(text)
    lines = [" ".join(words_of(line)) for line in text.split("\n") if words_of(line)]
    n, m = max(len(words), 1), max(len(lines), 1)
    length = sum(map(len, words)) / n
    dots = text.count("...") + text.count("…")
    stops = [w for w in STOP if re.search(rf"(?i)\b{w}\b", text)]
    rules = {
        "too few words": len(words) < 50,
        "too many words": len(words) > 100_000,
        "words too short": length < 3,
        "words too long": length > 10,
        "too many hash signs": text.count("#") / n > 0.1,
        "too many ellipses": dots / n > 0.1,
        "too many bullets": sum(x[0] in "•‣▶◀◦■□▪▫–-*" for x in lines) / m > 0.9,
        "too many lines end in an ellipsis": sum(x.endswith(("...", "…")) for x in lines) / m > 0.3,
        "too few words with letters": sum(any(map(str.isalpha, w)) for w in words) / n < 0.8,
        "too few stop words": len(stops) < 2,
    }
    return next((name for name, broken in rules.items() if broken), None)


def reason(text: str, **fields: object) -> str | None:
    return Gopher.parse({"kind": "gopher", **fields}).clean(pl.Series([text])).reasons[0]


def prose(n: int, word: str = "word") -> str:
    return " ".join(["the", "and", *[word] * (n - 2)])


@pytest.mark.parametrize(
    ("inside", "outside", "why"),
    [
        (prose(50), prose(49), "too few words"),
        (prose(100_000), prose(100_001), "too many words"),
        ("the and " + "abc " * 98, "the and ab " + "abc " * 97, "words too short"),
        (
            "the and " + "abcdefghij " * 97 + "x" * 24,
            "the and " + "abcdefghij " * 97 + "x" * 25,
            "words too long",
        ),
        (prose(90) + " #" * 10, prose(90) + " ##" + " #" * 9, "too many hash signs"),
        (
            prose(89) + " a..." * 10 + " end",
            prose(89) + " a...…" + " a..." * 9 + " end",
            "too many ellipses",
        ),
        (
            "- the word and this\n" * 18 + "the word here\n" * 2,
            "- the word and this\n" * 19 + "the word here\n",
            "too many bullets",
        ),
        (
            "the word and this goes...\n" * 6 + "the words are here\n" * 14,
            "the word and this goes…\n" * 7 + "the words are here\n" * 13,
            "too many lines end in an ellipsis",
        ),
        (prose(80) + " 1234" * 20, prose(80) + " 1234" * 21, "too few words with letters"),
        ("the word to " * 20, "the word go " * 20, "too few stop words"),
    ],
)
def test_a_document_goes_just_outside_a_published_threshold(
    inside: str, outside: str, why: str
) -> None:
    assert reason(inside) is None
    assert reason(outside) == why


def test_real_files_are_judged_as_plain_python_judges_them() -> None:
    folder = Path(sysconfig.get_path("stdlib"))
    files = [*sorted(folder.glob("*.py"))[:60], *sorted(folder.glob("encodings/*.py"))[:20]]
    pages = [*sorted(folder.glob("**/*.txt"))[:20], *sorted(folder.glob("pydoc_data/*.py"))]
    texts = [path.read_text("utf-8") for path in (*files, *pages)]

    found = Gopher().clean(pl.Series(texts)).reasons.to_list()

    assert found == [expected(text) for text in texts]
    assert len(set(found)) > 2


PIECES = ["the", "and of", "#", "...", "…", "\n", "\n- ", " ", "\u3000", "12", "naïve", "漢", "😀"]


@settings(deadline=None, max_examples=60)
@given(
    texts=st.lists(
        st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=3)), max_size=90).map(
            lambda parts: " ".join(parts).replace("\ufeff", "")
        ),
        max_size=5,
    )
)
def test_any_texts_are_judged_as_plain_python_judges_them(texts: list[str]) -> None:
    found = Gopher().clean(pl.Series(texts, dtype=pl.String))

    assert found.reasons.to_list() == [expected(text) for text in texts]
    assert found.texts.to_list() == texts


def test_a_document_longer_than_a_block_is_counted_whole() -> None:
    long = prose(90_000)

    found = Gopher().clean(pl.Series([prose(60), long, prose(10), long + " é" * 10_001]))

    assert found.reasons.to_list() == [None, None, "too few words", "too many words"]


def test_chunks_and_no_texts_are_as_good_as_one_chunk() -> None:
    one, two = pl.Series([prose(60), "short"]), pl.Series([prose(70)])
    chunked = pl.concat([one, two], rechunk=False)

    assert chunked.n_chunks() == 2
    assert Gopher().clean(chunked).reasons.to_list() == [None, "too few words", None]
    assert Gopher().clean(pl.Series([], dtype=pl.String)).reasons.to_list() == []


def test_limits_that_nothing_can_meet_are_refused() -> None:
    with pytest.raises(RecipeError) as caught:
        Gopher.parse({"least_words": 9, "most_words": 5, "least_stop_words": 9})

    assert [f.path for f in caught.value.faults] == ["least_words", "least_stop_words"]


def test_stop_words_count_next_to_punctuation_and_in_capitals() -> None:
    text = "(The) word. " + "word " * 60 + "of, "

    assert reason(text) is None
    assert reason(text, least_stop_words=3) == "too few stop words"
