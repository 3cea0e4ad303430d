"""Implicit differentiation: how a minimum moves with its hyperparameters, hundreds of them at once.

Where w minimizes an inner loss L(w, h), the outer loss V(w) has the gradient
dV/dh = -(d/dh dL/dw)^T x with H x = dV/dw, H the Hessian of L (Bengio, 2000). No training is
unrolled: the cost is that of solving for x, whatever the number of hyperparameters. `conjugate`
solves by conjugate gradients, best with the Gauss-Newton matrix (Martens, 2010), which has no
negative curvature to trip over; `neumann` by a truncated Neumann series (Lorraine, Vicol &
Duvenaud, 2020, arXiv:1911.02590), whose truncation damps the directions that an unfinished training
has not settled. Weights are one vector, `(p,)`; hyperparameters a tensor of any shape.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import grad, jvp, vjp

Curvature = Callable[[Tensor], Tensor]  # a vector (p,) times a matrix (p, p)
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
    _, pull = vjp(lambda h: grad(inner)(weights, h), hyper)
    return -pull(x)[0]


def hessian(inner: Inner, weights: Tensor, hyper: Tensor) -> Curvature:
    """Products with the Hessian of the inner loss, which may be indefinite before the minimum."""
    return lambda v: jvp(lambda w: grad(inner)(w, hyper), (weights,), (v,))[1]


def gauss_newton(
    outputs: Callable[[Tensor], Tensor], loss: Outer, weights: Tensor, rest: Curvature | None = None
) -> Curvature:
    """Products with J^T B J: J is the Jacobian of `outputs`, B the Hessian of `loss` in them.

    Never negative where the loss is convex in the outputs; it is the Hessian where they are linear
    in the weights. `rest` is the curvature of what the loss has beside, such as penalties.
    """
    said, pull = vjp(outputs, weights)

    def product(v: Tensor) -> Tensor:
        moved = jvp(outputs, (weights,), (v,))[1]
        curved = jvp(grad(loss), (said,), (moved,))[1]
        found = pull(curved)[0]
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
