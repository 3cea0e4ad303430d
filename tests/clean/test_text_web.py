"""The rules for pages of the web, C4's and FineWeb's, at their thresholds; and languages."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from zafu.clean.contract import Cleaned, TextCleaning
from zafu.clean.text_c4 import C4
from zafu.clean.text_fineweb import FineWeb
from zafu.clean.text_language import KNOWN, Language
from zafu.errors import DataError, RecipeError

SENTENCE = "Five words make a line."
PAGE = "\n".join([SENTENCE, "The second says “so it is”.", "Is this here the third?"])


def cleaned(step: TextCleaning, *texts: str) -> Cleaned:
    return step.clean(pl.Series(texts, dtype=pl.String))


def test_a_page_of_sentences_keeps_its_bytes() -> None:
    found = cleaned(C4(), PAGE, PAGE + " And a fourth one\tindented!  ")

    assert found.texts.to_list() == [PAGE, PAGE + " And a fourth one\tindented!  "]
    assert found.reasons.to_list() == [None, None]


@pytest.mark.parametrize(
    ("inside", "outside"),
    [
        (SENTENCE, "Only four words here."),
        ('He said "so it is"', "He said so it is"),
        ("Is this the end now?", "Is this the end now:"),
        ("Enable scripts to see this.", "Enable JavaScript to see this."),
        ("\tWords\u3000are parted by space.", "Words-are-parted-by spaces alone here: so"),
    ],
)
def test_a_line_is_cut_out_just_outside_a_rule(inside: str, outside: str) -> None:
    found = cleaned(C4(), f"{PAGE}\n{inside}", f"{outside}\n{PAGE}\n\n{outside}\n")

    assert found.texts.to_list() == [f"{PAGE}\n{inside}", PAGE]


def test_a_page_goes_for_the_first_rule_that_it_breaks(tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_text("darn\nheck no\n\n")
    two = "\n".join(PAGE.split("\n")[:2])
    pages = [PAGE, two, PAGE + "\nLorem Ipsum", PAGE + "{", PAGE + "\nDarn", PAGE + " Darned heck."]

    found = cleaned(C4(words=str(tmp_path / "bad.txt")), *pages, "")

    reasons = ["too few sentences", "lorem ipsum", "curly bracket", "bad words", None]
    assert found.reasons.to_list() == [None, *reasons, "too few sentences"]
    assert found.texts.to_list()[1:5] == pages[1:5]  # those that go are shown as they came


def test_the_journals_thresholds_can_be_had() -> None:
    step = C4(least_line_words=3, least_sentences=5)

    found = cleaned(step, "Three words here. " * 5, "Three words here. " * 4, "Two words. " * 5)

    assert found.reasons.to_list() == [None, "too few sentences", None]
    page = "Two words.\n" + "Three words here.\n" * 5
    assert cleaned(step, page).texts.to_list() == ["Three words here.\n" * 4 + "Three words here."]


@pytest.mark.parametrize("content", [None, b"\n\n", b"\xff\xfe"])
def test_a_list_of_words_that_cannot_be_used_is_named(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "bad.txt"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(DataError, match=r"bad\.txt: expected"):
        cleaned(C4(words=str(path)), PAGE)


def lines(count: int, of: int, good: str, other: str) -> str:
    """Different lines, `count` of them of the one sort."""
    return "\n".join(f"{i:06} {good if i < count else other}" for i in range(of))


@pytest.mark.parametrize(
    ("inside", "outside", "why"),
    [
        (
            lines(12, 100, "some words that are a sentence.", "some words that are no sentence"),
            lines(11, 100, "some words that are a sentence.", "some words that are no sentence"),
            "too few lines end in punctuation",
        ),
        (
            lines(67, 100, "short: 22 letters now.", "not a short line: 23 letters."),
            lines(68, 100, "short: 22 letters now.", "not a short line: 23 letters."),
            "too many short lines",
        ),
        (
            "\n".join(["x" * 39 + "."] * 2 + [f"{i:039}." for i in range(98)]),
            "\n".join(["x" * 40 + "."] * 2 + [f"{i:039}." for i in range(98)]),
            "characters in duplicate lines",
        ),
    ],
)
def test_a_page_goes_just_outside_a_threshold_of_fineweb(
    inside: str, outside: str, why: str
) -> None:
    found = cleaned(FineWeb(), inside, outside)

    assert found.reasons.to_list() == [None, why]
    assert found.texts.to_list() == [inside, outside]


def test_a_line_of_exactly_thirty_characters_is_not_short() -> None:
    thirty = "\n".join(f"{i:029}." for i in range(9))
    shorter = "\n".join(f"{i:028}é" for i in range(9))

    reasons = cleaned(FineWeb(punctuated=0), thirty, shorter).reasons

    assert reasons.to_list() == [None, "too many short lines"]


GERMAN = "Der Rat der Stadt hat gestern über die neue Straße beraten und sie beschlossen."
ENGLISH = "The town council met yesterday to talk about the new road, and agreed to build it."


def test_documents_in_other_languages_go() -> None:
    texts = [ENGLISH, GERMAN, "", "日本語のテキストです。これは例です。"]

    assert cleaned(Language(), *texts).reasons.to_list() == [None, *["language"] * 3]
    both = Language(languages=("de", "ja", "en"))
    assert cleaned(both, *texts).reasons.to_list() == [None, None, "language", None]


def test_only_what_is_likely_enough_stays() -> None:
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    _, likely = identifier.classify(ENGLISH)

    assert cleaned(Language(least=likely), ENGLISH).reasons.to_list() == [None]
    assert cleaned(Language(least=likely + 1e-6), ENGLISH).reasons.to_list() == ["language"]


def test_the_first_thousand_characters_decide() -> None:
    start = (ENGLISH + " ") * 13

    assert cleaned(Language(), start[:1000] + GERMAN * 50).reasons.to_list() == [None]


def test_a_language_that_the_model_does_not_know_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"languages\.1: expected a code.*found eng"):
        Language.parse({"languages": ["en", "eng"]})


def test_the_codes_are_those_of_the_model() -> None:
    model = LanguageIdentifier.from_model_file(MODEL_FILE)

    assert set(model.labels) == KNOWN


@pytest.mark.parametrize("step", [C4(), FineWeb(), Language()], ids=str)
def test_no_texts_and_chunks_are_as_good_as_one_chunk(step: TextCleaning) -> None:
    chunked = pl.concat([pl.Series([PAGE, GERMAN]), pl.Series([PAGE + "\nx"])], rechunk=False)
    found, whole = step.clean(chunked), step.clean(chunked.rechunk())

    assert found.texts.to_list() == whole.texts.to_list()
    assert found.reasons.to_list() == whole.reasons.to_list()
    assert step.clean(pl.Series([], dtype=pl.String)).reasons.to_list() == []
