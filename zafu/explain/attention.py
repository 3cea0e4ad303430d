"""Attention: where the last layers of a language model look from the end of a prompt.

Vaswani et al., 2017 (arXiv:1706.03762). Weights of attention are no explanation by themselves
(Jain & Wallace, 2019, arXiv:1902.10186): they say what is read, not what is made of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

from pydantic import Field

from zafu.explain.contract import TOKENS, Aside

if TYPE_CHECKING:
    from torch import nn

    from zafu.explain.runtime.subject import Subject


@final
class Attention(Aside):
    """The weights by which the last token reads those before it, of each head."""

    kind: Literal["attention"] = "attention"
    takes: ClassVar[frozenset[str]] = TOKENS
    weights: ClassVar[bool] = True
    layers: int = Field(default=2, ge=1)
    """Of how many of the last layers, >= 1."""

    def refuses(self, module: nn.Module) -> str:
        """A net without attention."""
        from zafu.explain.runtime.attention import no_attention

        return no_attention(module)

    def about(self, subject: Subject) -> dict[str, Any]:
        """By layer, counted from 1: `(heads, 1 + tokens)`, a row adds up to 1."""
        from zafu.explain.runtime.attention import attention

        found = attention(subject)
        last = list(enumerate(found, 1))[-self.layers :]
        return {"layers": {str(at): layer[:, -1].tolist() for at, layer in last}}
