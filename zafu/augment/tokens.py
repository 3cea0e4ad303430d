"""Tokens: text of language models with gaps, omissions and swaps.

Masking is the blank noise of Xie et al., 2017 (arXiv:1703.02573), or with random tokens their
unigram noise (uniform here), in spans as Joshi et al., 2019 (arXiv:1907.10529) hide them: inputs
change, targets stay the true tokens. Deletion and swap (Wei & Zou, 2019, arXiv:1901.11196; Lample
et al., 2017, arXiv:1711.00043) change the text itself, so inputs and targets alike: an input that
was swapped alone would be its own target.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal, final

from pydantic import Field

from zafu.augment.contract import TOKENS, Augmentation

if TYPE_CHECKING:
    from zafu.augment.runtime.step import Step


@final
class TokenMasking(Augmentation):
    """Spans of inputs are hidden; the targets are the true tokens."""

    kind: Literal["token-masking"] = "token-masking"
    share: float = Field(default=0.1, gt=0, lt=1)
    """Share of the inputs that are hidden, 0 < s < 1."""
    span: int = Field(default=1, ge=1, le=64)
    """Tokens of a span, 1 to 64; spans may run into one another."""
    token: int | None = Field(default=None, ge=0, le=2**31)
    """The token that stands in place of a hidden one; null: a random one for each."""
    takes: ClassVar[frozenset[str]] = TOKENS

    def step(self) -> Step:
        """A function of windows."""
        from zafu.augment.runtime import tokens
        from zafu.augment.runtime.step import Whole

        return Whole(
            partial(tokens.masking, span=self.span, token=self.token),
            draws=0,
            magnitudes={"share": self.share},
            ready=partial(tokens.known, token=self.token),
        )


@final
class TokenDeletion(Augmentation):
    """Tokens are left out of the text; places that become free at the end have no target."""

    kind: Literal["token-deletion"] = "token-deletion"
    share: float = Field(default=0.05, gt=0, lt=1)
    """Share of the tokens that are left out, 0 < s < 1."""
    takes: ClassVar[frozenset[str]] = TOKENS

    def step(self) -> Step:
        """A function of windows."""
        from zafu.augment.runtime import tokens
        from zafu.augment.runtime.step import Whole

        return Whole(tokens.deletion, draws=0, magnitudes={"share": self.share})


@final
class TokenSwap(Augmentation):
    """Neighbours in the text change places, in inputs and targets."""

    kind: Literal["token-swap"] = "token-swap"
    share: float = Field(default=0.05, gt=0, lt=1)
    """Share of the tokens that change places, 0 < s < 1."""
    takes: ClassVar[frozenset[str]] = TOKENS

    def step(self) -> Step:
        """A function of windows."""
        from zafu.augment.runtime import tokens
        from zafu.augment.runtime.step import Whole

        return Whole(tokens.swap, draws=1, magnitudes={"share": self.share})
