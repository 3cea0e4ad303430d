"""Occlusion: how much an answer loses when a patch, a column or a token is taken away.

Zeiler & Fergus, 2014 (arXiv:1311.2901), by a window that moves over a picture by half its side;
of tokens it is leaving one out (Li et al., 2016, arXiv:1612.08220). It needs answers alone. Where
two things say the same, taking one away changes nothing, and both seem to be worth nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, final

from pydantic import Field

from zafu.explain.contract import ANY, Attribution, Values

if TYPE_CHECKING:
    from torch import Tensor

    from zafu.explain.runtime.subject import Subject


@final
class Occlusion(Attribution):
    """The answer less the answer without a window, a column or a token."""

    kind: Literal["occlusion"] = "occlusion"
    takes: ClassVar[frozenset[str]] = ANY
    window: int = Field(default=2, ge=1)
    """Side of the window in patches, of which a picture has 14 along its longer side, >= 1."""

    def of(self, subject: Subject) -> Values:
        """In the shape of the features."""
        import torch

        from zafu.explain.runtime.features import Pixels

        own = subject.score(subject.asked(*subject.inputs))
        if not isinstance(subject.features, Pixels):
            kept = ~torch.eye(subject.features.many, dtype=torch.bool)
            return Values((own - subject.score(subject.without(kept))).cpu())
        down, across = subject.features.grid
        side = min(self.window, down, across)
        windows = torch.stack(
            [
                _window(down, across, (top, left), side)
                for top in _starts(down, side)
                for left in _starts(across, side)
            ]
        )  # (windows, many) bool
        device = subject.inputs[0].device
        lost = own - subject.score(subject.without(~windows.to(device)))
        covers = windows.float()
        patches = (covers.T @ lost.cpu()) / covers.sum(0).clamp(min=1)
        return Values(subject.features.spread(patches)[0])


def _starts(length: int, side: int) -> list[int]:
    step = max(1, side // 2)
    return sorted({*range(0, length - side + 1, step), length - side})


def _window(down: int, across: int, at: tuple[int, int], side: int) -> Tensor:
    import torch

    inside = torch.zeros(down, across, dtype=torch.bool)
    inside[at[0] : at[0] + side, at[1] : at[1] + side] = True
    return inside.flatten()
