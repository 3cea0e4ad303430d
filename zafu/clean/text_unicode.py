r"""Unicode: what was decoded by the wrong encoding is repaired, and equal text is spelled equally.

Mojibake is found and undone by ftfy (Speer, 2019, doi:10.5281/zenodo.2591652), which looks only at
lines that a fast pattern suspects: the pattern covers all that ftfy's own test covers. Of ftfy's
repairs we take those of encodings alone; quotes, ligatures and entities stay. Then byte order marks
at the start go, line ends become "\n", and characters are composed (Unicode Annex 15).
"""

from __future__ import annotations

import unicodedata
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal, final

from zafu.clean.contract import Cleaned, TextCleaning
from zafu.clean.text_lines import each, not_ascii, on_chosen, on_lines
from zafu.clean.text_reasons import kept

if TYPE_CHECKING:
    import polars as pl

_ROUNDS = 8  # of repairs: what is repaired may show further damage below
_COMMON = r"\x{0370}-\x{04FF}"  # Greek and Cyrillic letters: damage only beside other signs
_ODD = (  # all else that UTF-8 turns into if it is read as a one-byte encoding
    r"\x{80}-\x{024F}\x{02C6}-\x{02DD}\x{0384}-\x{038A}\x{2000}-\x{206F}\x{20A0}-\x{20CF}"
    r"\x{2100}-\x{2122}\x{2200}-\x{22FF}\x{2310}\x{2502}-\x{25FF}\x{F8FF}\x{FB01}\x{FB02}\x{FFFD}"
    r"\x{0490}\x{0491}"
)
SUSPECT = "|".join(
    (
        r"[\x{80}-\x{9F}]",
        f"[{_ODD}][{_ODD}{_COMMON}]",
        f"[{_COMMON}][{_ODD}]",
        r"[ŒœÃÂ][^A-Za-z]",
        "вЂ",
        "ГўВЂВ",
    )
)


@final
class Unicode(TextCleaning):
    r"""Repaired encodings, one spelling of characters, "\n" as line end, no byte order mark."""

    kind: Literal["unicode"] = "unicode"
    needs: ClassVar = (("ftfy", "text"),)
    form: Literal["NFC", "NFKC"] = "NFC"
    """How characters are composed; NFKC also replaces what only looks different, such as ligatures
    and wide letters."""

    def clean(self, texts: pl.Series) -> Cleaned:
        """The texts mended; none should go."""
        texts = on_chosen(texts, not_ascii(texts), self._repaired)
        return kept(
            on_chosen(
                texts,
                texts.str.contains("\r", literal=True),
                lambda some: some.str.replace_all("\r\n?", "\n"),
            )
        )

    def _repaired(self, texts: pl.Series, rounds: int = _ROUNDS) -> pl.Series:
        """Texts beyond ASCII, repaired until nothing more changes."""
        mended = on_lines(texts, SUSPECT, _decoded_rightly)
        mended = mended.str.strip_chars_start("\ufeff")
        mended = each(mended, partial(unicodedata.normalize, self.form))
        changed = mended != texts
        if not rounds or not changed.any():
            return mended
        # what was mended may be suspect only now
        return on_chosen(mended, changed, lambda some: self._repaired(some, rounds - 1))


def _decoded_rightly(line: str) -> str:
    import ftfy

    return ftfy.fix_encoding(line)
