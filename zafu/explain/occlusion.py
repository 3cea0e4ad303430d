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

OTHERS = 64  # rows whose entries stand in for a column that is taken away


@final
class Occlusion(Attribution):
    """The answer less the answer without a window, a column or a token."""

    kind: Literal["occlusion"] = "occlusion"
    takes: ClassVar[frozenset[str]] = ANY
    beware: ClassVar[str] = "Of two things that say the same, neither seems to matter."
    window: int = Field(default=2, ge=1)
    """Side of the window in patches, of which a picture has 14 along its longer side, >= 1."""

    def of(self, subject: Subject) -> Values:
        """In the shape of the features."""
        import torch

        from zafu.explain.runtime.features import Pixels

        own = subject.score(subject.asked(*subject.inputs))
        if not isinstance(subject.features, Pixels):
            return _one_by_one(subject, own)
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


def _one_by_one(subject: Subject, own: Tensor) -> Values:
    """Without each column or token; a column gives way to those of other rows, in the mean."""
    import torch

    many, device = subject.features.many, own.device
    others = tuple(x[:OTHERS] for x in subject.background)
    times = max(len(others[0]), 1)
    if not len(others[0]):
        others = subject.baseline
    kept = ~torch.eye(many, dtype=torch.bool, device=device).repeat_interleave(times, 0)
    rows = tuple(x.repeat(many, *[1] * (x.dim() - 1)) for x in others)
    said = subject.score(subject.without(kept, rows))
    return Values((own - said.view(many, times).mean(1)).cpu())


def _starts(length: int, side: int) -> list[int]:
    step = max(1, side // 2)
    return sorted({*range(0, length - side + 1, step), length - side})


def _window(down: int, across: int, at: tuple[int, int], side: int) -> Tensor:
    import torch

    inside = torch.zeros(down, across, dtype=torch.bool)
    inside[at[0] : at[0] + side, at[1] : at[1] + side] = True
    return inside.flatten()
