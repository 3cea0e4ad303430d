"""Gopher's repetition rules: at the published thresholds, and as plain Python counts them."""

from __future__ import annotations

import re
import sysconfig
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zafu.clean.text_gopher_repetition import GopherRepetition

TOP = {2: 0.2, 3: 0.18, 4: 0.16}
REPEATED = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.1}


def duplicates(parts: list[str]) -> tuple[float, float]:
    """The shares of parts, and of their characters, that were there before."""
    seen: set[str] = set()
    again = [part for part in parts if part in seen or seen.add(part)]
    size = sum(map(len, parts))
    return len(again) / max(len(parts), 1), sum(map(len, again)) / max(size, 1)


def top(words: list[str], n: int) -> float:
    grams = Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
    most = max(((c, sum(map(len, g))) for g, c in grams.items() if c > 1), default=(0, 0))
    return most[0] * most[1] / max(sum(map(len, words)), 1)


def repeated(words: list[str], n: int) -> float:
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    counts = Counter(grams)
    covered = {i + k for i, g in enumerate(grams) if counts[g] > 1 for k in range(n)}
    return sum(len(words[i]) for i in covered) / max(sum(map(len, words)), 1)


def expected(text: str) -> str | None:
    """The rules, written as the docstring of the technique reads."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    blocks = re.split(r"\n\s*\n", text)
    paragraphs = [block.strip() for block in blocks if block.strip()]
    words = text.split()
    of_lines, of_paragraphs = duplicates(lines), duplicates(paragraphs)
    rules = {
        "duplicate lines": of_lines[0] > 0.3,
        "duplicate paragraphs": of_paragraphs[0] > 0.3,
        "characters in duplicate lines": of_lines[1] > 0.2,
        "characters in duplicate paragraphs": of_paragraphs[1] > 0.2,
    }
    rules |= {f"one {n}-gram": top(words, n) > limit for n, limit in TOP.items()}
    rules |= {f"repeated {n}-grams": repeated(words, n) > limit for n, limit in REPEATED.items()}
    return next((name for name, broken in rules.items() if broken), None)


def reason(text: str) -> str | None:
    return GopherRepetition().clean(pl.Series([text])).reasons[0]


def fresh(n: int, start: int = 100) -> list[str]:
    """Different words of three characters."""
    return [str(start + i) for i in range(n)]


def again(n: int, times: int, words: int) -> str:
    """So many words, among them the same n-gram so many times, each after fresh ones."""
    other = fresh(words - n * times)
    gap = len(other) // times
    parts = [[*other[i * gap : (i + 1) * gap], *fresh(n, 900)] for i in range(times)]
    return " ".join([*(word for part in parts for word in part), *other[gap * times :]])


def lines_of(same: str, times: int, others: list[str], between: str) -> str:
    return between.join([*[same] * times, *others])


@pytest.mark.parametrize(
    ("inside", "outside", "why"),
    [
        (
            lines_of("ab", 4, [f"{i}" * 9 for i in range(10, 16)], "\n"),
            lines_of("ab", 5, [f"{i}" * 9 for i in range(10, 16)], "\n"),
            "duplicate lines",
        ),
        (
            lines_of("ab\ncd", 4, [f"{i}\n{i}x" for i in range(10, 16)], "\n\n"),
            lines_of("ab\ncd", 5, [f"{i}\n{i}x\n{i}y\n{i}z" for i in range(10, 16)], "\n\n"),
            "duplicate paragraphs",
        ),
        (
            lines_of("a" * 10, 2, ["b" * 10, "c" * 10, "d" * 10], "\n"),
            lines_of("a" * 11, 2, ["b" * 10, "c" * 10, "d" * 10], "\n"),
            "characters in duplicate lines",
        ),
        (again(2, 10, 100), again(2, 11, 109), "one 2-gram"),
        (again(3, 6, 100), again(3, 6, 99), "one 3-gram"),
        (again(4, 4, 100), again(4, 4, 99), "one 4-gram"),
        (again(5, 3, 100), again(5, 3, 99), "repeated 5-grams"),
        (again(6, 2, 86), again(6, 2, 85), "repeated 6-grams"),
        (again(7, 2, 108), again(7, 2, 107), "repeated 7-grams"),
        (again(8, 2, 134), again(8, 2, 133), "repeated 8-grams"),
        (again(9, 2, 164), again(9, 2, 163), "repeated 9-grams"),
        (again(10, 2, 200), again(10, 2, 199), "repeated 10-grams"),
    ],
)
def test_a_document_goes_just_outside_a_published_threshold(
    inside: str, outside: str, why: str
) -> None:
    rules = GopherRepetition().clean(pl.Series([inside, outside])).reasons.to_list()

    assert rules[0] != why
    assert rules[1] == why
    assert rules == [expected(inside), expected(outside)]


def test_characters_in_duplicate_paragraphs_are_found_where_lines_differ_in_number() -> None:
    page = "\n\n".join(["a\nb\nc " + "d" * 14] * 2 + ["\n".join("efghijkl"), "m" * 40])

    assert reason(page) == expected(page) == "characters in duplicate lines"
    spared = GopherRepetition(lines=1, line_characters=1)
    assert spared.clean(pl.Series([page])).reasons[0] == "characters in duplicate paragraphs"


def test_real_files_are_judged_as_plain_python_judges_them() -> None:
    folder = Path(sysconfig.get_path("stdlib"))
    files = [*sorted(folder.glob("*.py"))[:25], *sorted(folder.glob("encodings/*.py"))[:25]]
    texts = [path.read_text("utf-8")[:20_000].replace("\x1c", " ") for path in files]

    found = GopherRepetition().clean(pl.Series(texts)).reasons.to_list()

    assert found == [expected(text) for text in texts]
    assert len(set(found)) > 2


PIECES = ["a", "bc", "é", "漢", "😀", "\n", "\n\n", " \n"]


@settings(deadline=None, max_examples=60)
@given(
    texts=st.lists(st.lists(st.sampled_from(PIECES), max_size=40).map(" ".join), max_size=4),
)
def test_any_texts_are_judged_as_plain_python_judges_them(texts: list[str]) -> None:
    found = GopherRepetition().clean(pl.Series(texts, dtype=pl.String))

    assert found.reasons.to_list() == [expected(text) for text in texts]
    assert found.texts.to_list() == texts


def test_documents_that_repeat_each_other_do_not_repeat_themselves() -> None:
    text = " ".join(fresh(80))

    assert GopherRepetition().clean(pl.Series([text] * 5)).reasons.to_list() == [None] * 5
