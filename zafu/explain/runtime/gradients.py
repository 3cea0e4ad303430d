"""Gradients of an answer by what a model reads: its floats, and the vectors of its embeddings.

Tokens and categories are indices and have no gradient; the vectors that stand for them have. Hooks
put other vectors in their place, in any model whose embeddings are `nn.Embedding`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from zafu.explain.runtime.features import Columns, place_of
from zafu.explain.runtime.subject import Inputs, Subject
from zafu.nets.ensemble import Ensemble
from zafu.nets.int4 import Int4Linear
from zafu.nets.int8 import Int8, Int8Embedding


class Points(NamedTuple):
    """Where a gradient is taken, or the gradient there."""

    floats: Tensor  # (n, ...), in place of the first input; (n, 0) where that is of indices
    vectors: dict[str, Tensor]  # (n, ..., dims) by the name of the embedding

    def __sub__(self, other: Points) -> Points:
        return self.paired(other, torch.sub)

    def times(self, other: Points) -> Points:
        """Products."""
        return self.paired(other, torch.mul)

    def paired(self, other: Points, join: Callable[[Tensor, Tensor], Tensor]) -> Points:
        """Each tensor joined with its like."""
        vectors = {n: join(v, other.vectors[n]) for n, v in self.vectors.items()}
        return Points(join(self.floats, other.floats), vectors)

    def along(self, end: Points, shares: Tensor) -> Points:
        """Points on the line to another one, at shares `(n,)` of the way."""

        def between(a: Tensor, b: Tensor) -> Tensor:
            return a + shares.view(-1, *[1] * (a.dim() - 1)).to(a) * (b - a)

        return self.paired(end, between)


def undifferentiable(module: nn.Module) -> str:
    """Why gradients by inputs do not exist; "" where they do."""
    for name, layer in module.named_modules():
        if isinstance(layer, (Int8, Int8Embedding, Int4Linear)):
            return f"{name} computes with rounded numbers, which have no gradient"
        if isinstance(layer, Ensemble) and layer.join == "hard":
            return "votes by majority have no gradient"
    return ""


def here(subject: Subject) -> Points:
    """Where the sample itself is."""
    return Points(_floats(subject.inputs), _vectors(subject, subject.inputs))


def nothing(subject: Subject) -> Points:
    """Where the baseline is; a category that is nothing has the mean vector of all known ones."""
    floats = _floats(subject.baseline)
    if isinstance(subject.features, Columns):
        layers = _embeddings(subject.network)
        mean = {n: e.weight.detach()[1:].mean(0, keepdim=True) for n, e in layers.items()}
        return Points(floats, mean)
    return Points(floats, _vectors(subject, subject.baseline))


def slopes(subject: Subject, at: Points) -> tuple[Tensor, Points]:
    """The score `(n,)` at points, and its gradient there."""
    floats = at.floats.detach().requires_grad_()
    vectors = {name: v.detach().requires_grad_() for name, v in at.vectors.items()}
    inputs = [x.expand(len(floats), *x.shape[1:]) for x in subject.inputs]
    if inputs[0].is_floating_point():
        inputs[0] = floats
    with torch.enable_grad(), _in_place(subject.network, vectors):
        score = subject.score(subject.said(*inputs))
        found = torch.autograd.grad(
            score.sum(), [floats, *vectors.values()], allow_unused=True, materialize_grads=True
        )
    return score.detach(), Points(found[0], dict(zip(vectors, found[1:], strict=True)))


def folded(subject: Subject, points: Points) -> Tensor:
    """A product for each number, added up to values `(n, ...)`."""
    return subject.features.folded(points.floats, points.vectors)


def unknown_embeddings(module: nn.Module) -> str:
    """The first embedding that is not known to read one column; "" if there is none."""
    return next((name for name in _embeddings(module) if place_of(name) is None), "")


def _floats(inputs: Inputs) -> Tensor:
    first = inputs[0]
    return first if first.is_floating_point() else torch.zeros(len(first), 0, device=first.device)


def _embeddings(module: nn.Module) -> dict[str, nn.Embedding]:
    return {n: m for n, m in module.named_modules() if isinstance(m, nn.Embedding)}


def _vectors(subject: Subject, inputs: Inputs) -> dict[str, Tensor]:
    """What embeddings give, where the sample has indices."""
    if all(x.is_floating_point() for x in inputs):
        return {}
    found: dict[str, Tensor] = {}
    with ExitStack() as stack, torch.no_grad():
        for name, layer in _embeddings(subject.network).items():

            def keep(_: nn.Module, __: object, output: Tensor, name: str = name) -> None:
                found[name] = output

            stack.callback(layer.register_forward_hook(keep).remove)
        subject.said(*inputs)
    return found


@contextmanager
def _in_place(module: nn.Module, vectors: dict[str, Tensor]) -> Generator[None]:
    """Inside, embeddings give these vectors, whatever they read."""
    with ExitStack() as stack:
        for name, layer in _embeddings(module).items():
            if name in vectors:

                def give(
                    _: nn.Module, __: object, ___: Tensor, other: Tensor = vectors[name]
                ) -> Tensor:
                    return other

                stack.callback(layer.register_forward_hook(give).remove)
        yield
