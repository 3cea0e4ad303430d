"""Personal data are masked: e-mail and IP addresses, phone, payment card and bank account numbers.

What is masked is proved where it can be: card numbers by Luhn's check digit (ISO/IEC 7812-1), bank
accounts by country length and check digits (ISO 13616, mod 97-10), addresses by their range. Four
numbers next to a letter, a further ".1", "-1", ">= " or the words version, release or section are
a version or a chapter, not an IPv4 address; others that are cannot be told from one.
Phone numbers are those with a country code (E.164) or in the American form 3-3-4; names and postal
addresses are not found. A pattern in Rust finds suspect lines, which alone are then looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from re import ASCII, Match, Pattern
from re import compile as pattern
from typing import TYPE_CHECKING, Literal, NamedTuple, final

from zafu.clean.contract import Cleaned, TextCleaning
from zafu.clean.text_lines import on_chosen, on_lines
from zafu.clean.text_reasons import kept
from zafu.errors import Fault

if TYPE_CHECKING:
    import polars as pl


class Detector(NamedTuple):
    """How something is found: suspect lines, candidates in them, and how much of each is meant."""

    suspect: str  # for Rust: matches wherever `candidate` does
    candidate: Pattern[str]
    meant: Callable[[str], int]  # characters of a candidate to mask; 0: it is something else


@final
class PersonalData(TextCleaning):
    """Each find is replaced by a placeholder; none is removed."""

    kind: Literal["personal-data"] = "personal-data"
    email: str | None = "<EMAIL>"
    """What stands for an e-mail address; null: they stay."""
    ip: str | None = "<IP>"
    """What stands for an IPv4 or IPv6 address; null: they stay."""
    addresses: Literal["public", "all"] = "public"
    """Which IP addresses: public ones, which may lead to a person, or private and reserved too."""
    phone: str | None = "<PHONE>"
    """What stands for a phone number; null: they stay."""
    card: str | None = "<CARD>"
    """What stands for a payment card number; null: they stay."""
    iban: str | None = "<IBAN>"
    """What stands for an international bank account number; null: they stay."""

    def check(self) -> Iterable[Fault]:
        """A placeholder must not look like what it stands for."""
        given = {"email": self.email, "ip": self.ip, "phone": self.phone}
        for name, instead in (given | {"card": self.card, "iban": self.iban}).items():
            if instead is not None and pattern(r"[\d@\n]").search(instead):
                yield Fault(name, "a placeholder without digits, @ and line ends", instead)

    def clean(self, texts: pl.Series) -> Cleaned:
        """The texts mended; none should go."""
        import polars as pl

        todo = pl.repeat(True, len(texts), eager=True)
        while todo.any():  # what is left beside a placeholder may be another find
            mended = on_chosen(texts, todo, self._masked)
            todo, texts = mended != texts, mended
        return kept(texts)

    def _masked(self, texts: pl.Series) -> pl.Series:
        if (instead := self.email) is not None:
            literally = instead.replace("$", "$$")
            texts = on_chosen(
                texts,
                texts.str.contains(_EMAIL),
                lambda some: some.str.replace_all(_EMAIL, literally),
            )
        for detector, instead in self._detectors():
            texts = on_lines(texts, detector.suspect, partial(_replaced, detector, instead))
        return texts

    def _detectors(self) -> Iterator[tuple[Detector, str]]:
        """What to look for, the surer first, each with what stands for it."""
        every = self.addresses == "all"
        for instead, detectors in (
            (self.iban, (_IBAN,)),
            (self.card, (_CARD,)),
            (self.ip, (_IPV6_ANY, _IPV4_ANY) if every else (_IPV6, _IPV4)),
            (self.phone, (_PHONE, _AMERICAN_PHONE)),
        ):
            if instead is not None:
                yield from ((detector, instead) for detector in detectors)


def _replaced(detector: Detector, instead: str, line: str) -> str:
    def mask(match: Match[str]) -> str:
        length = detector.meant(match[0])
        return instead + match[0][length:] if length else match[0]

    return detector.candidate.sub(mask, line)


def _ip_meant(text: str, *, public: bool) -> int:
    try:
        address = IPv6Address(text) if ":" in text else IPv4Address(text)
    except AddressValueError:
        return 0
    return len(text) if address.is_global or not public else 0


def _card_meant(text: str) -> int:
    digits = [int(c) for c in text if c.isdigit()]
    doubled = [d * 2 - 9 * (d > 4) for d in digits[-2::-2]]
    return len(text) if (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0 else 0


def _iban_meant(text: str) -> int:
    length = _IBAN_LENGTHS.get(text[:2], 0)
    ends = [i + 1 for i, c in enumerate(text) if c != " "]
    if not length or len(ends) < length:
        return 0
    end = ends[length - 1]
    code = text[:end].replace(" ", "")
    if text[end : end + 1].isalnum():  # it goes on without a space
        return 0
    number = "".join(str(int(c, 36)) for c in code[4:] + code[:4])
    return end if int(number) % 97 == 1 else 0


def _phone_meant(text: str) -> int:
    """E.164 has 15 digits at most; numbers after it may have been taken along."""
    digits = sum(c.isdigit() for c in text)
    while digits > 15 and " " in text:
        text = text[: text.rindex(" ")]
        digits = sum(c.isdigit() for c in text)
    fraction = pattern(r"\+\d+\.\d+", ASCII).fullmatch(text)
    return len(text) if 8 <= digits <= 15 and not fraction else 0


# (?-u) wherever Rust reads: Unicode's classes and word boundaries are many times slower
_EMAIL = (
    r"(?-u:[A-Za-z0-9_.%+-]+@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+"
    r"[A-Za-z]{2,24}\b)"
)
_IPV4 = Detector(
    r"(?-u:[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9])",
    pattern(
        r"(?<![\w.])(?<!ersion )(?<!elease )(?<!ection )(?<!ection-)(?<![<>=]=)(?<![<>=][<>=] )"
        r"(?:\d{1,3}\.){3}\d{1,3}(?!\w|\.\d|-\d+(?![\d.]))",
        ASCII,
    ),
    lambda text: _ip_meant(text, public=True),
)
_IPV6 = Detector(
    r"(?-u:[23Ff][0-9A-Fa-f]{3}:[0-9A-Fa-f:])",
    pattern(r"(?<![\w:.])[23Ff][0-9A-Fa-f]{3}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:])", ASCII),
    lambda text: _ip_meant(text, public=True),
)
_IPV4_ANY = _IPV4._replace(meant=lambda text: _ip_meant(text, public=False))
_IPV6_ANY = _IPV6._replace(meant=lambda text: _ip_meant(text, public=False))
_CARD = Detector(
    r"(?-u:[2-6][0-9]{3}[ -]?[0-9]{4}[ -]?[0-9])",
    pattern(
        r"(?<![\w.])"
        r"(?:[2-6]\d{3}([ -]?)\d{4}\1\d{4}\1\d{4}|3\d{3}([ -]?)\d{6}\2\d{4,5}|[2-6]\d{12,18})"
        r"(?!\w|[.-]\d)",
        ASCII,
    ),
    _card_meant,
)
_IBAN = Detector(
    r"(?-u:[A-Z]{2}[0-9]{2} ?[A-Z0-9]{4} ?[A-Z0-9]{3})",
    pattern(r"(?<!\w)[A-Z]{2}\d\d(?: ?[A-Z0-9]){11,35}", ASCII),
    _iban_meant,
)
_PHONE = Detector(
    r"(?-u:\+[1-9][0-9 .()-]{7})",
    pattern(
        r"(?<![\w+.])\+[1-9]\d{0,14}(?:[ .-]?\(\d{1,4}\)[ .-]?\d{1,12})?"
        r"(?:[ .-]\d{2,12}){0,6}(?!\w|\.\d)",
        ASCII,
    ),
    _phone_meant,
)
_AMERICAN_PHONE = Detector(
    r"(?-u:[0-9]{3}[)]?[ .-]?[0-9]{3}[ .-][0-9]{4})",
    pattern(
        r"(?<![\w.-])(?:1[ .-])?"
        r"(?:\(\d{3}\) ?\d{3}[ .-]|\d{3}([.-])\d{3}\1|[2-9]\d\d [2-9]\d\d[ -])\d{4}(?!\w|[.-]\d)",
        ASCII,
    ),
    len,
)
_IBANS = (  # country and length
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28 "
    "EE20 EG29 ES24 FI18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 "
    "IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MR27 MT31 MU30 "
    "NL18 NO15 PK24 PL28 PS29 PT25 QA29 RO24 RS22 SA24 SC31 SD18 SE24 SI19 SK24 SM27 ST25 SV28 "
    "TL23 TN24 TR26 UA29 VA22 VG24 XK20"
)
_IBAN_LENGTHS = {entry[:2]: int(entry[2:]) for entry in _IBANS.split()}
