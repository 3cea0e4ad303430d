"""The page about data: whatever it is given, it shows as text, and what is absent is left out."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from zafu.report.data_cards import marked
from zafu.report.data_page import Row, Shown, page
from zafu.report.element import Element

EVIL = "</code><script>alert(1)</script>\u202e\x00"
PLAIN = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
KEYS = (
    "in",
    "out",
    "splits",
    "steps",
    "leaks",
    "suspects",
    "columns",
    "sizes",
    "classes",
    "channels",
)


def full(word: str) -> Shown:
    leak = {"count": 3, "share": 0.1, "examples": [[word, word]]}
    column = {"name": word, "missing": 0.25, "quantiles": [1, 2, 3], "top": [[word, 3]]}
    step = {"step": word, "rows_in": 9, "rows_out": 8, "changed": 1, "why": word}
    examples = [
        {"id": word, "before": word + "a", "after": word + "b", "reason": word, "twin": word}
    ]
    tokens = {"documents": 1, "tokens": 2, "bytes": 5, "bytes_per_token": 2.5, "padding": 0.0}
    said = {
        "in": 9,
        "out": 8,
        "splits": {word: 8},
        "steps": [{**step, "examples": examples}],
        "leaks": {word: {"exact": leak}},
        "suspects": [{"id": word, "given": word, "suggested": word, "probability": 0.99}],
        "columns": {"before": [column], "after": [column]},
        "sizes": {word: [1, 2, 3]},
        "classes": {word: {"train": 3}},
        "channels": {word: {"mean": [1.0]}},
        "tokens": {word: {**tokens, "cut": 0, "tokens_per_document": [1, 2, 3]}},
    }
    return Shown(
        name=word,
        recipe=f"task: {word!r}",
        prepare=said,
        removed=[{"id": word, "step": word, "reason": word, "content": word}],
        limits={"exact": 0.0},
        pictures=[Row(word, [(word, "data:image/png;base64,")])],
        texts=[[(word, True), (word, False)]],
        rows=[{word: word}],
    )


def test_every_section_is_there_and_hostile_words_are_text() -> None:
    found = page(full(EVIL))

    assert "<script" not in found
    assert "\u202e" not in found
    assert "\x00" not in found
    headings = re.findall(r"<h2>(.*?)</h2>", found)
    expected = ["What was done", "What a model sees", "What training knows of the held-out samples"]
    assert headings == [
        *expected,
        "Suspected labels",
        "Columns",
        "Pictures",
        "Tokens",
        "The recipe",
    ]


def test_a_leak_above_its_limit_is_called_so() -> None:
    assert "above the limit" in page(full("plain"))


def test_a_page_about_nothing_is_a_page() -> None:
    assert page(Shown("nothing")).startswith("<!doctype html>")


@given(st.fixed_dictionaries(dict.fromkeys((*KEYS, "tokens"), PLAIN)))
@settings(deadline=None, max_examples=150)
def test_whatever_prepare_says_a_page_comes_out(said: dict) -> None:
    assert page(Shown("any", prepare=said)).endswith("</html>\n")


@given(st.text(max_size=30), st.text(max_size=30))
def test_marking_keeps_every_letter_and_marks_only_what_differs(text: str, other: str) -> None:
    parts = [p for p in marked(text, other) if p]

    spelled = "".join(p if isinstance(p, str) else str(p.children[0]) for p in parts)

    assert spelled == text
    assert text != other or not any(isinstance(p, Element) for p in parts)


def test_it_holds_no_place_to_load_anything_from() -> None:
    found = page(full("plain"))

    assert not re.search(r'(src|href)="(?!data:)', found)
    assert found.count("Content-Security-Policy") == 1
