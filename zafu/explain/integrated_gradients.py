"""Integrated gradients: what each input adds on the straight way from nothing to the sample.

Sundararajan et al., 2017 (arXiv:1703.01365). The integral is taken piece by piece, each by
Gauss-Legendre quadrature of 8 points. What a piece should add up to is known, as the answer is
known at its ends; so the pieces that lack most are halved until all together lack less than a
hundredth. Norms make answers change fast near nothing: equal pieces would need thousands of steps.
Tokens and categories go along by their embeddings.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, final

import numpy as np
from pydantic import Field

from zafu.explain.contract import ANY, Attribution, Values

if TYPE_CHECKING:
    from torch import Tensor

    from zafu.explain.runtime.subject import Subject

POINTS = 8  # of the quadrature, in each piece of the way
FIRST = 4  # pieces to begin with


class _Piece(NamedTuple):
    start: float
    end: float
    values: Tensor
    lacks: float  # what they add up to, less the change of the answer


@final
class IntegratedGradients(Attribution):
    """Gradients added up on the way from nothing to the sample, times the way."""

    kind: Literal["integrated-gradients"] = "integrated-gradients"
    takes: ClassVar[frozenset[str]] = ANY
    beware: ClassVar[str] = (
        "What is as in nothing, such as black, gets nothing, even if it matters."
    )
    gradients: ClassVar[bool] = True
    adds_up: ClassVar[bool] = True
    steps: int = Field(default=1024, ge=POINTS * FIRST)
    """Most gradients that are taken, >= 32; fewer where fewer are enough."""
    within: float = Field(default=0.01, gt=0, lt=1)
    """Largest share of their promise that the values may lack, 0 < w < 1."""

    def of(self, subject: Subject) -> Values:
        """In the shape of the features."""
        edges = np.linspace(0, 1, FIRST + 1)
        pieces = _integrals(subject, list(pairwise(edges.tolist())))
        steps, (first, last) = POINTS * FIRST, _ends(subject)
        while True:
            values = sum((piece.values for piece in pieces[1:]), pieces[0].values)
            scale = max(abs(last - first), 0.01 * values.abs().sum().item(), 1e-12)
            missing = abs(values.sum().item() - (last - first)) / scale
            worst = sorted(pieces, key=lambda piece: -abs(piece.lacks))[: FIRST // 2]
            steps += POINTS * 2 * len(worst)
            lacking = sum(abs(piece.lacks) for piece in pieces) / scale
            if lacking <= self.within or steps > self.steps:
                return Values(values, missing=missing, how=f"{POINTS * len(pieces)} steps")
            halves = [half for piece in worst for half in _halves(piece)]
            kept = [piece for piece in pieces if all(piece is not one for one in worst)]
            pieces = kept + _integrals(subject, halves)


def quadrature(start: float, end: float) -> tuple[np.ndarray, np.ndarray]:
    """Places between two shares of the way, and their weights, which add up to the length."""
    places, weights = np.polynomial.legendre.leggauss(POINTS)
    return start + (places + 1) / 2 * (end - start), weights / 2 * (end - start)


def _ends(subject: Subject) -> tuple[float, float]:
    from zafu.explain.runtime.gradients import here, nothing, slopes

    first, last = (slopes(subject, at(subject))[0].item() for at in (nothing, here))
    return first, last


def _halves(piece: _Piece) -> list[tuple[float, float]]:
    middle = (piece.start + piece.end) / 2
    return [(piece.start, middle), (middle, piece.end)]


def _integrals(subject: Subject, spans: list[tuple[float, float]]) -> list[_Piece]:
    """The values that some pieces of the way add."""
    import torch

    from zafu.explain.runtime.gradients import folded, here, nothing, slopes

    start, end = nothing(subject), here(subject)
    found: list[_Piece] = []
    places = [quadrature(*span) for span in spans]
    inner = np.concatenate([at for at, _ in places] + [np.ravel(spans)])
    score, slope = slopes(subject, start.along(end, torch.from_numpy(inner).float()))
    each = folded(subject, slope.times(end - start)).float().cpu()
    edges = score[len(spans) * POINTS :].cpu().view(-1, 2)
    for index, (low, high) in enumerate(spans):
        weights = torch.from_numpy(places[index][1]).float()
        some = each[index * POINTS : (index + 1) * POINTS]
        values = torch.einsum("n,n...->...", weights, some)
        change = float(edges[index, 1] - edges[index, 0])
        found.append(_Piece(low, high, values, values.sum().item() - change))
    return found
