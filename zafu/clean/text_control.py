"""Control characters and needless white space go; what is seen of a text stays.

Bidirectional controls can make text read otherwise than it is stored (Boucher & Anderson, 2021,
arXiv:2111.00169); zero-width characters hide in words. Joiners (U+200C, U+200D) stay where scripts
and emoji are spelled with them: after letters without case, marks and pictographs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, final

from pydantic import Field

from zafu.clean.contract import Cleaned, TextCleaning
from zafu.clean.text_lines import on_chosen
from zafu.clean.text_reasons import kept

if TYPE_CHECKING:
    import polars as pl

_BREAKS = r"\r\n?|[\x{0B}\x{0C}\x{85}]"  # they part words, so a line end stands for them
_HIDDEN = (
    r"\x{00}-\x{08}\x{0E}-\x{1F}\x{7F}-\x{84}\x{86}-\x{9F}"
    r"\x{061C}\x{180E}\x{200B}\x{200E}\x{200F}\x{202A}-\x{202E}\x{2060}-\x{2064}\x{2066}-\x{206F}"
    r"\x{FEFF}\x{FFF9}-\x{FFFB}"
)
_JOINERS = r"\x{200C}\x{200D}"
_JOINED = r"\p{Lo}\p{M}\p{Extended_Pictographic}\x{1F3FB}-\x{1F3FF}"
_LOOSE = rf"(^|[^{_JOINED}{_JOINERS}])[{_JOINERS}]+"
_TROUBLE = r"[\x{00}-\x{08}\x{0B}-\x{1F}\x{7F}-\x{9F}\x{200B}-\x{200F}\x{202A}-\x{202E}" + (
    r"\x{2060}-\x{206F}\x{061C}\x{180E}\x{FEFF}\x{FFF9}-\x{FFFB}]"
)
_BLANK = r"[^\S\n]"  # white space within a line


@final
class Control(TextCleaning):
    """No control, zero-width or bidirectional characters, few blank lines, nothing at the ends."""

    kind: Literal["control"] = "control"
    blanks: Literal["keep", "one"] = "keep"
    """Runs of blanks within a line: keep, as code and tables need, or make one space of each."""
    blank_lines: int | None = Field(default=2, ge=0, le=100)
    """Most blank lines in a row, 0 to 100; null: any number."""
    ends: Literal["keep", "strip"] = "strip"
    """strip: no blank lines before the text, and no white space after it but one line end if there
    was any."""

    def clean(self, texts: pl.Series) -> Cleaned:
        """The texts mended; none should go."""
        texts = on_chosen(texts, texts.str.contains(_TROUBLE), _without_hidden)
        for pattern, instead in self._replacements():
            texts = on_chosen(
                texts,
                texts.str.contains(pattern),
                lambda some, pattern=pattern, instead=instead: some.str.replace_all(
                    pattern, instead
                ),
            )
        return kept(texts)

    def _replacements(self) -> Iterable[tuple[str, str]]:
        if self.blanks == "one":
            yield rf"{_BLANK}{{2,}}|[^\S\n ]", " "
        if self.blank_lines is not None:
            most = self.blank_lines
            yield rf"\n(?:{_BLANK}*\n){{{most + 1},}}", "\n" * (most + 1)
        if self.ends == "strip":
            yield r"\s*\n\s+\z|\s+\n\z", "\n"
            yield rf"{_BLANK}+\z", ""
            yield r"\A\s*\n", ""


def _without_hidden(texts: pl.Series) -> pl.Series:
    """Breaks become line ends, what is hidden goes, until nothing more is there."""
    texts = texts.str.replace_all(_BREAKS, "\n").str.replace_all(f"[{_HIDDEN}]", "")
    joined = texts.str.contains(f"[{_JOINERS}]")
    return on_chosen(texts, joined, lambda some: some.str.replace_all(_LOOSE, "${1}"))
