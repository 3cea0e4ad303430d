"""Language: keep documents in the languages that are wanted.

langid (Lui & Baldwin, 2012, "langid.py: an off-the-shelf language identification tool") in its
maintained form py3langid: naive Bayes over byte n-grams, here on the first 1,000 characters.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, Literal, final

import numpy as np
from pydantic import Field

from zafu.clean.contract import Cleaned, TextCleaning
from zafu.clean.text_reasons import judged
from zafu.errors import Fault
from zafu.spec import did_you_mean

if TYPE_CHECKING:
    import polars as pl
    from py3langid.langid import LanguageIdentifier

LOOKED_AT = 1000  # characters; more cost time and change little
_CODES = (
    "ace af am an ar ary arz as az ba bcl be bg bn br bs ca crh cs cy da de dz el en eo es et "
    "eu ext fa fi fo fr fuv fy ga gcf gcr gd gl gom grc gu gug guw ha hbo he hi hr ht hu hy id "
    "ig is it ja jv ka kab kik kk km kn ko ku ky la lb lg lij ln lo lt ltg lv mg mk ml mn mr ms "
    "mt my ne nl nn no nso oc om or pa pcm pl ps pt qu ro ru rw sa sdh se si sk sl sn so sq sr "
    "st sv sw ta te tg th tk tl tr tt ug uk ur uz uzs vec vi vo wa wuu xh yo yue zh zu zxx"
)
KNOWN = frozenset(_CODES.split())


@final
class Language(TextCleaning):
    """Documents whose most likely language is one of `languages`, and likely enough."""

    kind: Literal["language"] = "language"
    needs: ClassVar = (("py3langid", "text"),)
    languages: tuple[str, ...] = Field(default=("en",), min_length=1)
    """Codes of ISO 639 of the languages to keep, such as en; zxx is text in none."""
    least: float = Field(default=0.5, ge=0, le=1)
    """Smallest probability of the language, 0 to 1."""

    def check(self) -> Iterable[Fault]:
        """Only languages that the model knows."""
        for index, code in enumerate(self.languages):
            if code not in KNOWN:
                hint = did_you_mean(code, sorted(KNOWN))
                yield Fault(f"languages.{index}", "a code such as en, de or zh", code, hint=hint)

    def clean(self, texts: pl.Series) -> Cleaned:
        """The texts as they are, with the reason "language" for those in others."""
        identifier = _identifier()
        found = map(identifier.classify, texts.str.head(LOOKED_AT).to_list())
        wanted = [code in self.languages and likely >= self.least for code, likely in found]
        return judged(texts, [("language", ~np.array(wanted, bool))])


@lru_cache(maxsize=1)
def _identifier() -> LanguageIdentifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
