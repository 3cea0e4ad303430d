import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_diabetes
from sklearn.linear_model import ElasticNet as SklearnElasticNet
from sklearn.linear_model import Lasso
from torch import nn

from zafu.errors import RecipeError
from zafu.optim.contract import Group
from zafu.optim.penalties import L1, L2, ElasticNet, Penalty
from zafu.optim.runtime.update import Update
from zafu.optim.schedules import Constant
from zafu.optim.sgd import SGD

numbers = st.floats(-5, 5, allow_subnormal=False)


@settings(deadline=None)
@given(
    w=numbers, lr=st.floats(0.001, 2), strength=st.floats(0, 2), ratio=st.floats(0, 1), x=numbers
)
def test_the_proximal_step_is_the_least_of_its_objective(
    w: float, lr: float, strength: float, ratio: float, x: float
) -> None:
    """prox(w) = argmin (x - w)^2 / 2 + lr * penalty(x), against any other x."""

    def objective(x: float) -> float:
        penalty = ratio * abs(x) + (1 - ratio) / 2 * x * x
        return (x - w) ** 2 / 2 + lr * strength * penalty

    weights = torch.tensor([w], dtype=torch.float64)

    ElasticNet(strength=strength, l1_ratio=ratio).shrink([weights], lr)

    found = weights.item()
    assert objective(found) <= objective(x) + 1e-12
    threshold = lr * strength * ratio
    closed = np.sign(w) * max(abs(w) - threshold, 0) / (1 + lr * strength * (1 - ratio))
    assert found == pytest.approx(closed, abs=1e-12)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000), threshold=st.floats(0, 1))
def test_l1_is_torchs_soft_shrinkage_with_exact_zeros(seed: int, threshold: float) -> None:
    weights = torch.randn(7, 3, generator=torch.Generator().manual_seed(seed))
    expected = nn.functional.softshrink(weights, threshold)

    L1(strength=threshold).shrink([weights], 1.0)

    assert torch.equal(weights, expected)
    assert not torch.signbit(weights[weights == 0]).any()


def test_l2_with_sgd_is_torchs_weight_decay_bit_for_bit() -> None:
    ours, theirs = nn.Linear(6, 4, bias=False), nn.Linear(6, 4, bias=False)
    theirs.load_state_dict(ours.state_dict())
    update = updating(ours, L2(strength=0.3), lr=0.1)
    peer = torch.optim.SGD(theirs.parameters(), lr=0.1, weight_decay=0.3, foreach=False)
    x = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))

    for step in range(20):
        ours(x).square().mean().backward()
        update.gradients(step)
        update.step(step, step / 20)
        theirs(x).square().mean().backward()
        peer.step()
        peer.zero_grad()

    assert torch.equal(ours.weight, theirs.weight)


def updating(model: nn.Module, *penalties: Penalty, lr: float = 0.1) -> Update:
    return Update(model, optimizer=SGD(lr=lr), schedule=Constant(), penalties=penalties, seed=0)


def fitted(penalty: Penalty, x: torch.Tensor, y: torch.Tensor) -> np.ndarray:
    """Least squares / 2 with a penalty, by 1,000 full-batch steps of length 1 / L."""
    n, columns = x.shape
    model = nn.Linear(columns, 1, bias=False, dtype=torch.float64)
    lipschitz = torch.linalg.eigvalsh(x.T @ x / n).max().item()
    update = updating(model, penalty, lr=1 / lipschitz)
    for step in range(1000):
        ((model(x).squeeze(1) - y).square().mean() / 2).backward()
        update.gradients(step)
        update.step(step, step / 1000)
    return model.weight.detach().numpy()[0]


def diabetes() -> tuple[np.ndarray, np.ndarray]:
    x, y = load_diabetes(return_X_y=True)
    return (x - x.mean(0)) / x.std(0), y - y.mean()


def test_a_lasso_on_diabetes_is_scikit_learns() -> None:
    x, y = diabetes()
    peer = Lasso(alpha=3.0, fit_intercept=False, tol=1e-12, max_iter=100_000).fit(x, y)

    found = fitted(L1(strength=3.0), torch.from_numpy(x), torch.from_numpy(y))

    # coefficients are about 20; the rest is what 1,000 steps have not yet walked
    np.testing.assert_allclose(found, peer.coef_, rtol=0, atol=1e-6)
    assert (found == 0).sum() == (peer.coef_ == 0).sum() >= 3


def test_an_elastic_net_on_diabetes_is_scikit_learns() -> None:
    x, y = diabetes()
    peer = SklearnElasticNet(
        alpha=2.0, l1_ratio=0.7, fit_intercept=False, tol=1e-12, max_iter=100_000
    ).fit(x, y)
    penalty = ElasticNet(strength=2.0, l1_ratio=0.7)

    found = fitted(penalty, torch.from_numpy(x), torch.from_numpy(y))

    np.testing.assert_allclose(found, peer.coef_, rtol=0, atol=1e-6)


@pytest.mark.parametrize("ratio", [0.0, 0.3, 1.0])
def test_a_subgradient_is_that_of_autograd(ratio: float) -> None:
    weight = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    (0.2 * (ratio * weight.abs().sum() + (1 - ratio) / 2 * weight.square().sum())).backward()
    gradient = torch.zeros(4, 3)
    penalty = ElasticNet(strength=0.2, l1_ratio=ratio, method="subgradient")

    penalty.add_gradients([weight.detach()], [gradient])

    torch.testing.assert_close(gradient, weight.grad)


def test_a_proximal_step_follows_the_lr_of_its_group() -> None:
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    for layer in model:
        nn.init.ones_(layer.weight)
        layer.weight.grad = torch.zeros(2, 2)
    spec = SGD(lr=0.1, groups=(Group(match="1.*", lr_scale=5.0),))
    update = Update(
        model, optimizer=spec, schedule=Constant(), penalties=(L1(strength=1.0),), seed=0
    )

    update.step(0, 0.0)

    torch.testing.assert_close(model[0].weight.detach(), torch.full((2, 2), 0.9))
    torch.testing.assert_close(model[1].weight.detach(), torch.full((2, 2), 0.5))


def test_a_pattern_that_matches_no_matrix_is_refused() -> None:
    with pytest.raises(RecipeError) as caught:
        updating(nn.Linear(2, 2), L2(), L1(match="bias"))

    (fault,) = caught.value.faults
    assert fault.path == "fit.penalties.1.match"
    assert "parameters: weight" in fault.hint
