"""Implicit hypergradients are those of finite differences, where minima are found to the end."""

from collections.abc import Callable

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torch.func import grad
from torch.nn.functional import cross_entropy

from zafu.hypergradient import implicit


def rows(first: int, last: int) -> tuple[Tensor, Tensor]:
    """Some digits in float64: the 20 middle pixels, and a column of ones."""
    data = load_digits()
    x = torch.from_numpy(data.data[first:last, 20:40] / 16)
    ones = torch.ones(len(x), 1, dtype=torch.float64)
    return torch.cat([x, ones], 1), torch.from_numpy(data.target[first:last] % 3)


TRAIN, HELD_OUT = rows(0, 120), rows(120, 240)
WIDTH, CLASSES = 21, 3


def outputs(weights: Tensor) -> Tensor:
    """A logistic regression's."""
    return TRAIN[0] @ weights.view(WIDTH, CLASSES)


def outer(weights: Tensor) -> Tensor:
    return cross_entropy(HELD_OUT[0] @ weights.view(WIDTH, CLASSES), HELD_OUT[1])


def penalized(weights: Tensor, logs: Tensor) -> Tensor:
    """One L2 penalty a feature, by its logarithm."""
    penalty = (logs.exp()[:, None] * weights.view(WIDTH, CLASSES).square()).sum() / 2
    return cross_entropy(outputs(weights), TRAIN[1]) + penalty


def weighted(weights: Tensor, hyper: Tensor) -> Tensor:
    """One weight a sample."""
    losses = cross_entropy(outputs(weights), TRAIN[1], reduction="none")
    return (hyper.sigmoid() * losses).mean() + 0.01 / 2 * weights.square().sum()


def minimum(inner: implicit.Inner, hyper: Tensor) -> Tensor:
    """By Newton's method, to the last bits."""
    weights = torch.zeros(WIDTH * CLASSES, dtype=torch.float64)
    for _ in range(30):
        slope = grad(inner)(weights, hyper)
        curved = torch.func.hessian(inner)(weights, hyper)
        weights = weights - torch.linalg.solve(curved, slope)
    return weights


def differences(inner: implicit.Inner, hyper: Tensor, which: list[int]) -> Tensor:
    """The outer loss's slope along some hyperparameters, by training again; error O(h^4)."""
    found: list[Tensor] = []
    for index in which:
        step = torch.zeros_like(hyper)
        step[index] = 1e-3
        loss = [outer(minimum(inner, hyper + k * step)) for k in (-2, -1, 1, 2)]
        found.append((loss[0] - 8 * loss[1] + 8 * loss[2] - loss[3]) / (12 * 1e-3))
    return torch.stack(found)


HYPER = {
    "a penalty for each feature": (penalized, torch.linspace(-5, -3, WIDTH, dtype=torch.float64)),
    "a weight for each sample": (weighted, torch.linspace(-1, 1, 120, dtype=torch.float64)),
}


def exact(inner: implicit.Inner, weights: Tensor, hyper: Tensor) -> implicit.Curvature:
    return implicit.hessian(inner, weights, hyper)


def outer_product(inner: implicit.Inner, weights: Tensor, hyper: Tensor) -> implicit.Curvature:
    """Gauss-Newton of the data's part; the rest is quadratic."""
    if inner is penalized:
        scale = torch.full((120,), 1.0, dtype=torch.float64)
        diagonal = hyper.exp()[:, None].expand(WIDTH, CLASSES).flatten()
    else:
        scale, diagonal = hyper.sigmoid(), torch.full_like(weights, 0.01)

    def loss(said: Tensor) -> Tensor:
        return (scale * cross_entropy(said, TRAIN[1], reduction="none")).mean()

    return implicit.gauss_newton(outputs, loss, weights, lambda v: diagonal * v)


@pytest.mark.parametrize("name", HYPER)
@pytest.mark.parametrize("curvature", [exact, outer_product])
def test_conjugate_gradients_give_the_slope_of_finite_differences(
    name: str, curvature: Callable[..., implicit.Curvature]
) -> None:
    inner, hyper = HYPER[name]
    weights = minimum(inner, hyper)
    product = curvature(inner, weights, hyper)

    found = implicit.hypergradient(
        inner, outer, (weights, hyper), lambda v: implicit.conjugate(product, v, steps=300)
    )

    some = [0, 4, 8, 13, 20]
    expected = differences(inner, hyper, some)
    assert found.shape == hyper.shape
    torch.testing.assert_close(found[some], expected, rtol=1e-6, atol=1e-12)


def test_a_long_neumann_series_gives_the_same_slope() -> None:
    inner, hyper = HYPER["a weight for each sample"]
    weights = minimum(inner, hyper)
    product = implicit.hessian(inner, weights, hyper)
    scale = 1 / (1.1 * implicit.largest(product, weights, steps=50))

    found, expected = (
        implicit.hypergradient(inner, outer, (weights, hyper), solve)
        for solve in (
            lambda v: implicit.neumann(product, v, steps=4000, scale=scale),
            lambda v: implicit.conjugate(product, v, steps=300),
        )
    )

    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-12)


def test_the_largest_eigenvalue_is_that_of_the_matrix() -> None:
    inner, hyper = HYPER["a penalty for each feature"]
    weights = minimum(inner, hyper)
    whole = torch.func.hessian(inner)(weights, hyper)

    found = implicit.largest(implicit.hessian(inner, weights, hyper), weights, steps=200)

    assert found == pytest.approx(torch.linalg.eigvalsh(whole)[-1].item(), rel=1e-6)


def test_a_direction_of_negative_curvature_ends_conjugate_gradients() -> None:
    """On the raw Hessian before a minimum they would run away."""
    diagonal = torch.tensor([2.0, 1.0, -3.0], dtype=torch.float64)
    v = torch.tensor([1.0, 1.0, 1.0], dtype=torch.float64)

    found = implicit.conjugate(lambda u: diagonal * u, v, steps=10)

    assert torch.equal(found, torch.zeros_like(v))  # the first direction is v itself
    calm = implicit.conjugate(lambda u: diagonal * u, v, steps=10, damping=4.0)
    torch.testing.assert_close(calm, v / (diagonal + 4))
