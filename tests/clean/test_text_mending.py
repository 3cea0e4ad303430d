"""Texts are mended once and for all, and those in order keep their bytes."""

from __future__ import annotations

import sysconfig
import unicodedata
from pathlib import Path

import ftfy
import ftfy.badness
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zafu.clean.contract import TextCleaning
from zafu.clean.text_control import Control
from zafu.clean.text_markup import Markup
from zafu.clean.text_unicode import SUSPECT, Unicode

STEPS = [Unicode(), Unicode(form="NFKC"), Control(), Control(blanks="one", blank_lines=0), Markup()]
ODD = (
    "\ufeff \r\n\t\x00\x0b\x0c\x1c\x85\xa0\u200b\u200c\u200d\u202e\u2028\u3000"
    "ÃÂâ€™œ£é漢क\u094dàⅷﬁ👩x<b>&amp;"
)
ORDERLY = "def f(a: list[int]):\n\treturn 1 < len(a) > 0\n\n\nnaïve “quotes” – 漢字, Ελλάς, Ёж\n"
MOJIBAKE = "".join(ftfy.badness.MOJIBAKE_CATEGORIES.values())


def mended(step: TextCleaning, *texts: str) -> list[str]:
    found = step.clean(pl.Series(texts, dtype=pl.String))
    assert found.reasons.null_count() == len(texts)
    return found.texts.to_list()


@pytest.mark.parametrize("step", STEPS[:4], ids=str)
@settings(deadline=None, max_examples=60)
@given(texts=st.lists(st.text(st.one_of(st.sampled_from(ODD), st.characters(codec="utf-8")))))
def test_mending_twice_is_mending_once(step: TextCleaning, texts: list[str]) -> None:
    once = mended(step, *texts)

    assert mended(step, *once) == once


@pytest.mark.parametrize("step", [Unicode(), Control(), Markup()], ids=str)
def test_texts_in_order_keep_their_bytes(step: TextCleaning) -> None:
    folder = Path(sysconfig.get_path("stdlib"))
    files = [path.read_text("utf-8") for path in sorted(folder.glob("a*.py"))]
    orderly = [ORDERLY, *(t for t in files if t[:1] != "\n" and "\n\n\n\n" not in t)]

    assert mended(step, *orderly) == orderly


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_no_texts_and_chunks_are_as_good_as_one_chunk(step: TextCleaning) -> None:
    chunks = [pl.Series(["\ufeffa\r\n\r\n\r\n\r\nÃ©\x07"]), pl.Series(["<b>x</b>", "plain"])]
    chunked = pl.concat(chunks, rechunk=False)

    assert mended(step) == []
    assert step.clean(chunked).texts.to_list() == step.clean(chunked.rechunk()).texts.to_list()


@settings(deadline=None, max_examples=300)
@given(st.text(st.one_of(st.sampled_from(MOJIBAKE), st.sampled_from(" aZ.,"), st.characters())))
def test_every_line_that_ftfy_calls_bad_is_suspect(text: str) -> None:
    line = text.encode("utf-8", "ignore").decode().replace("\n", " ")

    if ftfy.badness.is_bad(line):
        assert pl.Series([line]).str.contains(SUSPECT)[0]


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("naïve café", "cp1252"),
        ("“quoted’ — ok", "latin-1"),
        ("naïve café", "mac_roman"),
        ("Ünïcödé", "latin-1"),
        ("Добрый день", "latin-1"),
        ("日本語のテキスト", "latin-1"),
        ("1 000 €", "cp1252"),
    ],
)
def test_text_that_was_decoded_wrongly_is_repaired(right: str, wrong: str) -> None:
    broken = right.encode().decode(wrong)

    assert ftfy.fix_encoding(broken) == right
    assert mended(Unicode(), f"fine\n{broken}\nfine é") == [f"fine\n{right}\nfine é"]


def test_spellings_line_ends_and_marks_become_one() -> None:
    text = "\ufeffe\u0301 a\r\nb\rc\n"

    assert mended(Unicode(), text) == ["é a\nb\nc\n"]
    assert mended(Unicode(form="NFKC"), "ﬁne Ⅷ") == ["fine VIII"]


@settings(deadline=None, max_examples=100)
@given(
    st.text(st.sampled_from("ae\u0301\u0327\u030a가\u1100\u1161 "))
)  # nothing like a wrong encoding
def test_composition_is_that_of_unicodedata(text: str) -> None:
    assert mended(Unicode(), text) == [unicodedata.normalize("NFC", text)]


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("a\x00b\x1b[0mc\x7f\x9f", "ab[0mc"),
        ("zero\u200bwidth\u2060s\ufeff", "zerowidths"),
        ("\u202eabc\u202c \u2066x\u2069\u200f", "abc x"),
        ("one\ftwo\vthree\x85four\rfive\r\nsix", "one\ntwo\nthree\nfour\nfive\nsix"),
        ("a\u200db क्\u200dष می\u200cخواهم 👩\u200d💻", "ab क्\u200dष می\u200cخواهم 👩\u200d💻"),
        ("a\n\n\n\n\nb\n \n\t\n\nc\n\n\nd", "a\n\n\nb\n\n\nc\n\n\nd"),
        ("\n  \n  indented\n  text  \n\n", "  indented\n  text\n"),
        ("text \t", "text"),
        (" \n ", ""),
        ("a  \t b", "a  \t b"),
    ],
)
def test_what_is_not_seen_goes(text: str, after: str) -> None:
    assert mended(Control(), text) == [after]


def test_blanks_lines_and_ends_are_kept_or_not_as_one_chooses() -> None:
    text = "a \t\u3000b\n\n\n\nc  "

    assert mended(Control(blanks="one"), text) == ["a b\n\n\nc"]
    assert mended(Control(blank_lines=0), text) == ["a \t\u3000b\nc"]
    assert mended(Control(blank_lines=None, ends="keep"), text) == [text]


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("Hello <b>world</b>!", "Hello world!"),
        ("<p class='x'>One</p><P>Two &amp; &#x74;hree</P>", "One\n\nTwo & three"),
        ("<ul>\n  <li>a\n  <li>b\n</ul>", "a\nb"),
        ("a<br>b<br/>c<hr />d", "a\nb\nc\nd"),
        ("<table><tr><td>1</td><td>2</td></tr></table>", "1  2"),
        ("x <!-- hidden <b> --> y <i>z</i>", "x  y z"),
        (
            "<!DOCTYPE html><html><head><title>T</title><style>p > a {}</style><script>if (a<b) c()"
            "</script></head><body><h1>H</h1>open <p>text &lt;b&gt;</body></html>",
            "T\n\nH\nopen\ntext <b>",
        ),
        ("<?xml version='1.0'?>\n<a:r><b>x</b><c k='v'/>y<![CDATA[z]]></a:r>", "x\nyz"),
    ],
)
def test_markup_becomes_what_a_reader_sees(text: str, after: str) -> None:
    assert mended(Markup(), text) == [after]


@pytest.mark.parametrize(
    "text",
    [
        "if a <b and c> d: pass",
        "#include <map>\n#include <time.h>\nstd::vector<a> x; Map<String, List<P>> m;",
        "x = '<b>%s</b>' % y",
        "usage: program <input> <source> [<param>]",
        "AT&amp;T and 1 &lt; 2",
        "for (i = 0; i<n && n>i; i++) a <<= 1;",
        "<stdin>: error in <module> at <main",
        "fn f<'a, T>(x: &'a Vec<T>) -> Option<u8> { a < b }",
    ],
)
def test_code_with_angle_brackets_is_not_touched(text: str) -> None:
    assert mended(Markup(), text) == [text]


def test_hostile_markup_takes_time_in_proportion() -> None:
    openings = ["<!--", "<script>", "<a b='", "<a ", "<![CDATA["]

    for opening in openings:
        text = f"<?xml?>{opening * 20_000}"
        assert len(mended(Markup(), text)[0]) <= len(text)
