"""Attention rollout: from which patches a vision transformer's answer has what it has.

Abnar & Zuidema, 2020 (arXiv:2005.00928): heads averaged, the shortcut counted as half, layers
multiplied. It follows what is looked at, not what that does to the answer: the map is the same for
every class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, final

from zafu.explain.contract import PIXELS, Attribution, Values

if TYPE_CHECKING:
    from torch import nn

    from zafu.explain.runtime.subject import Subject


@final
class Rollout(Attribution):
    """Attention multiplied through all layers."""

    kind: Literal["rollout"] = "rollout"
    takes: ClassVar[frozenset[str]] = PIXELS
    beware: ClassVar[str] = "The same for every class: where it looks, not why it answers so."
    weights: ClassVar[bool] = True
    signed: ClassVar[bool] = False

    def refuses(self, module: nn.Module) -> str:
        """A net without attention."""
        from zafu.explain.runtime.attention import no_attention

        return no_attention(module)

    def of(self, subject: Subject) -> Values:
        """`(height, width)`, >= 0."""
        from torch.nn import functional

        from zafu.explain.runtime.attention import attention, rolled
        from zafu.explain.runtime.grids import laid_out

        flow = rolled(attention(subject))
        extra, down, across = laid_out(len(flow), subject.features.shape)
        seen = flow[0, extra:] if extra else flow.mean(0)  # a class token is what is answered by
        grid = seen.view(1, 1, down, across)
        wide = functional.interpolate(grid, list(subject.features.shape), mode="nearest")
        return Values(wide[0, 0], how=f"a grid of {down} x {across}")
