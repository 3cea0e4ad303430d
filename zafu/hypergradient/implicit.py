"""Implicit differentiation: how a minimum moves with its hyperparameters, hundreds of them at once.

Where w minimizes an inner loss L(w, h), the outer loss V(w) has the gradient
dV/dh = -(d/dh dL/dw)^T x with H x = dV/dw, H the Hessian of L (Bengio, 2000). No training is
unrolled: the cost is that of solving for x, whatever the number of hyperparameters. `conjugate`
solves by conjugate gradients, best with the Gauss-Newton matrix (Martens, 2010), which has no
negative curvature to trip over; `neumann` by a truncated Neumann series (Lorraine, Vicol &
Duvenaud, 2020, arXiv:1911.02590), whose truncation damps the directions that an unfinished training
has not settled. Weights are one vector, `(p,)`; hyperparameters a tensor of any shape.
All products are made in reverse mode, which every operation of torch knows.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import grad, vjp

Curvature = Callable[[Tensor], Tensor]  # from vectors to vectors, such as v to H v
Inner = Callable[[Tensor, Tensor], Tensor]  # weights and hyperparameters to a loss
Outer = Callable[[Tensor], Tensor]  # weights to a loss


def hypergradient(
    inner: Inner,
    outer: Outer,
    at: tuple[Tensor, Tensor],
    solve: Callable[[Tensor], Tensor],
) -> Tensor:
    """The gradient of the outer loss at the inner minimum, in the shape of the hyperparameters.

    `at` are weights `(p,)`, near enough to the minimum, and hyperparameters; `solve` gives x of
    H x = v for a vector v `(p,)`. Exact in so far as the minimum and `solve` are.
    """
    weights, hyper = at
    x = solve(grad(outer)(weights))
    pull = vjp(lambda h: grad(inner)(weights, h), hyper)[1]
    return -pull(x)[0]


def hessian(inner: Inner, weights: Tensor, hyper: Tensor) -> Curvature:
    """Products with the Hessian of the inner loss, which may be indefinite before the minimum."""
    pull = vjp(lambda w: grad(inner)(w, hyper), weights)[1]  # of a symmetric matrix
    return lambda v: pull(v)[0]


def pushed(outputs: Curvature, weights: Tensor) -> tuple[Tensor, Curvature, Curvature]:
    """The outputs, and products with their Jacobian J and with its transpose.

    A product with the transpose is linear in its vector, and so its own transpose is J.
    """
    pair = vjp(outputs, weights)
    said, pull = pair[0], pair[1]
    push = vjp(lambda u: pull(u)[0], torch.zeros_like(said))[1]
    return said, lambda v: push(v)[0], lambda u: pull(u)[0]


def gauss_newton(
    outputs: Curvature, loss: Outer, weights: Tensor, rest: Curvature | None = None
) -> Curvature:
    """Products with J^T B J: J is the Jacobian of `outputs`, B the Hessian of `loss` in them.

    Never negative where the loss is convex in the outputs; it is the Hessian where they are linear
    in the weights. `rest` is the curvature of what the loss has beside, such as penalties.
    """
    said, push, pull = pushed(outputs, weights)
    curve = vjp(grad(loss), said)[1]

    def product(v: Tensor) -> Tensor:
        found = pull(curve(push(v))[0])
        return found + rest(v) if rest else found

    return product


def conjugate(
    curvature: Curvature,
    v: Tensor,
    *,
    steps: int = 10,
    damping: float = 0.0,
    tolerance: float = 0.0,
) -> Tensor:
    """The x of (H + damping) x = v by conjugate gradients, from 0.

    Ends after so many steps, where the residual is at most `tolerance` times |v|, or before a
    direction along which H is not positive.
    """
    x, residual = torch.zeros_like(v), v.clone()
    direction, square = residual.clone(), residual.dot(residual)
    least = tolerance**2 * square
    for _ in range(steps):
        if square <= least:
            break
        curved = curvature(direction) + damping * direction
        along = direction.dot(curved)
        if along <= 0:
            break
        length = square / along
        x = x + length * direction
        residual = residual - length * curved
        before, square = square, residual.dot(residual)
        direction = residual + (square / before) * direction
    return x


def neumann(curvature: Curvature, v: Tensor, *, steps: int = 10, scale: float) -> Tensor:
    """Scale * sum over k = 0 ... steps of (I - scale * H)^k v: tends to the x of H x = v.

    `scale` is below 2 / the largest eigenvalue of H, or the series grows without bound.
    """
    term, total = v, v
    for _ in range(steps):
        term = term - scale * curvature(term)
        total = total + term
    return scale * total


def largest(curvature: Curvature, like: Tensor, *, steps: int = 10, seed: int = 0) -> float:
    """About the largest eigenvalue of a symmetric matrix, from below, by power iteration."""
    drawn = torch.Generator(like.device).manual_seed(seed)
    v = torch.randn(like.shape, generator=drawn, dtype=like.dtype, device=like.device)
    found = 0.0
    for _ in range(steps):
        v = v / v.norm().clamp(min=torch.finfo(v.dtype).tiny)
        v = curvature(v)
        found = v.norm().item()
    return found
