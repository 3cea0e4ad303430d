"""Personal data are masked where they are proved, and nothing else is."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zafu.clean.text_personal_data import PersonalData
from zafu.errors import RecipeError


def masked(*texts: str, **fields: object) -> list[str]:
    step = PersonalData.parse({"kind": "personal-data", **fields})
    return step.clean(pl.Series(texts, dtype=pl.String)).texts.to_list()


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("Write to jane.doe+x@mail.example.co.uk.", "Write to <EMAIL>."),
        ("<a@b.de>,c_d@e-f.org;", "<<EMAIL>>,<EMAIL>;"),
        ("from 8.8.8.8:53 and 93.184.216.34.", "from <IP>:53 and <IP>."),
        ("dns [2606:4700:4700::1111]:53", "dns [<IP>]:53"),
        ("2a00:1450:4001:82b:0:0:0:200e", "<IP>"),
        ("call +49 30 901820, now", "call <PHONE>, now"),
        ("+442079460958 or +44 (0)20 7946 0958", "<PHONE> or <PHONE>"),
        ("(202) 555-0123, 202-555-0123, 202.555.0123", "<PHONE>, <PHONE>, <PHONE>"),
        ("1-800-555-0199 and 202 555 0123", "<PHONE> and <PHONE>"),
        ("card 4111 1111 1111 1111, 4111111111111111", "card <CARD>, <CARD>"),
        ("3782-822463-10005 and 5555-5555-5555-4444 12", "<CARD> and <CARD> 12"),
        ("IBAN DE89 3704 0044 0532 0130 00 AND MORE", "IBAN <IBAN> AND MORE"),
        ("GB82WEST12345698765432, NL91ABNA0417164300", "<IBAN>, <IBAN>"),
        ("DE89 3704 0044 0532 0130 00 GB82 WEST 1234 5698 7654 32", "<IBAN> <IBAN>"),
    ],
)
def test_what_leads_to_a_person_is_masked(text: str, after: str) -> None:
    assert masked(text, "é\n" + text + "\n\n") == [after, "é\n" + after + "\n\n"]


@pytest.mark.parametrize(
    "text",
    [
        "a @decorator\ndef f(x): return x @ y; user@localhost @name",
        "v1.2.3.4 and 1.2.3.4.5, version 1.2.3.4, package >= 1.2.3.4, pkg 1.2.3.4-2",
        "256.1.1.1 and 8.8.8.888 and 08.8.8.8",
        "192.168.0.1 10.0.0.1 127.0.0.1 2001:db8::1 fe80::1",
        "std::vector<a>::b 12:30:45 dead:beef",
        "4111 1111 1111 1112 and 41111111111111111111 and 0.4111111111111111",
        "DE88 3704 0044 0532 0130 00 and DE89370400440532013000X",
        "x = +1.23456789 + 12345678 - 2024-01-31 12345-6789",
        "0x12345678 1234567890 2023-555-0123-4",
    ],
)
def test_what_only_looks_like_it_stays(text: str) -> None:
    assert masked(text) == [text]


def test_private_addresses_are_masked_where_all_are_asked_for() -> None:
    text = "192.168.0.1 fe80::1 2001:db8::1"

    assert masked(text, addresses="all") == ["<IP> <IP> <IP>"]


def test_each_kind_has_a_placeholder_of_its_own_or_stays() -> None:
    text = "a@b.org 8.8.8.8 202-555-0123"

    assert masked(text, email=None, ip="[$x]", phone="") == ["a@b.org [$x] "]
    assert masked(text, email="$x mail", ip=None) == ["$x mail 8.8.8.8 <PHONE>"]


def test_a_placeholder_that_would_be_found_again_is_refused() -> None:
    with pytest.raises(RecipeError) as caught:
        PersonalData.parse({"email": "nobody@nowhere.org", "ip": "ip 4"})

    assert [f.path for f in caught.value.faults] == ["email", "ip"]


PIECES = [
    "a@b.org", "8.8.8.8", "2606:4700:4700::1111", "+49 30 901820", "202-555-0123", "é", " ",
    "4111111111111111", "DE89370400440532013000", "DE89 3704 0044 0532 0130 00", ".", "-", "@",
    "\n", "1", "A", ":", "+", "(", ")", "x.org",
]  # fmt: skip


@settings(deadline=None, max_examples=100)
@given(
    texts=st.lists(
        st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=2))).map("".join), max_size=4
    ),
    instead=st.sampled_from(["<DATA>", "DATA", "", "$", "a."]),
)
def test_masking_twice_is_masking_once(texts: list[str], instead: str) -> None:
    texts = [text.encode("utf-8", "ignore").decode() for text in texts]
    names = ("email", "ip", "phone", "card", "iban")
    step = PersonalData.model_validate(dict.fromkeys(names, instead))

    once = step.clean(pl.Series(texts, dtype=pl.String))

    assert step.clean(once.texts).texts.to_list() == once.texts.to_list()
    assert once.reasons.null_count() == len(texts)


@settings(deadline=None, max_examples=50)
@given(st.integers(10**14, 10**15 - 1))
def test_exactly_the_one_right_check_digit_makes_a_card(number: int) -> None:
    payload = f"4{number}"[:15]
    cards = [f"{payload}{digit}" for digit in range(10)]

    assert masked(*cards, phone=None).count("<CARD>") == 1


def test_no_texts_and_chunks_are_as_good_as_one_chunk() -> None:
    chunked = pl.concat([pl.Series(["a@b.org"]), pl.Series(["8.8.8.8", "none"])], rechunk=False)

    assert PersonalData().clean(chunked).texts.to_list() == ["<EMAIL>", "<IP>", "none"]
    assert masked() == []


def test_long_lines_take_time_in_proportion() -> None:
    lines = ["1." * 50_000, "a." * 50_000 + "@", "1 " * 50_000, "+1" * 50_000, "AA11" * 25_000]
    ends = ["a@b.org 8.8.8.8 +49 30 901820 4111111111111111 DE89370400440532013000"]

    for line in lines:
        assert len(masked(line + " " + ends[0], line)) == 2
