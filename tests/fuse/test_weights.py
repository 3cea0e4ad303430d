"""Weights that are learned: planted ones are found, and none is worse than the plain mean."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from torch import Tensor
from torch.nn import functional

from zafu.fuse.weights import blend, joined, mixture, odds, stacked


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def drawn(probabilities: Tensor, seed: int = 7) -> Tensor:  # apart from what features have
    generator = torch.Generator().manual_seed(seed)
    return torch.multinomial(probabilities, 1, generator=generator).squeeze(-1)


def test_a_planted_mixture_of_probabilities_is_found() -> None:
    shares = (normal(3, 20_000, 5) * 2).softmax(-1)
    planted = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
    targets = drawn(torch.einsum("m,mno->no", planted, shares))

    logs = shares.log().gather(-1, targets.expand(3, -1)[..., None]).squeeze(-1)

    found = mixture(logs)

    assert found == pytest.approx(planted.tolist(), abs=0.03)  # of a sample
    assert sum(found) == pytest.approx(1, abs=2e-4)
    likelihood = (
        torch.logsumexp(logs + w.log()[:, None], 0).sum()
        for w in (torch.tensor(found, dtype=torch.float64), planted)
    )
    assert next(likelihood) >= next(likelihood) - 0.02  # more likely than what was planted


@settings(deadline=None, max_examples=20)
@given(members=st.integers(1, 5), seed=st.integers(0, 50))
def test_a_learned_mixture_is_at_least_as_likely_as_the_plain_mean(members: int, seed: int) -> None:
    logs = functional.logsigmoid(normal(members, 60, seed=seed) * 3)

    weights = torch.tensor(mixture(logs), dtype=torch.float64)[:, None]

    plain = torch.logsumexp(logs, 0).sum() - 60 * np.log(members)
    assert torch.logsumexp(logs + weights.log(), 0).sum() >= plain - 0.02  # of four digits


def test_a_planted_blend_of_numbers_is_found_and_a_useless_member_left_out() -> None:
    predicted = normal(3, 5000, 2)
    targets = 0.7 * predicted[0] + 0.3 * predicted[1] - 0.2 * predicted[2]
    targets += 0.1 * normal(5000, 2, seed=1)

    found = blend(predicted, targets)

    assert found == pytest.approx([0.7, 0.3, 0.0], abs=0.02)


def test_log_odds_weigh_votes_and_a_guesser_has_none() -> None:
    right = np.array([np.arange(100) < 90, np.arange(100) < 75, np.arange(100) < 40])

    found = odds(right)

    assert found[0] / found[1] == pytest.approx(np.log(90.5 / 10.5) / np.log(75.5 / 25.5), abs=0.01)
    assert found[2] == 0


def test_a_stack_of_classes_recovers_planted_weights() -> None:
    logs = (normal(3, 8000, 3) * 2).log_softmax(-1)
    planted = torch.tensor([[1.0, 0.5, 0.0], [0.2, 0.5, 0.9], [0.3, 0.3, 0.3]]).double()
    offsets = torch.tensor([0.5, 0.0, -0.5]).double()
    shares = joined(logs, planted, offsets).softmax(-1)

    weights, bias, strength = stacked(logs, drawn(shares))

    # what classes share is known less well than what tells them apart: so is each weight alone
    torch.testing.assert_close(weights, planted, atol=0.1, rtol=0)
    learned = joined(logs, weights, bias).log_softmax(-1)
    divergence = (shares * (shares.log() - learned)).sum(-1).mean()
    assert divergence < 12 / 8000  # 12 numbers cost half of that on average
    assert strength <= 0.001


def test_a_stack_of_numbers_recovers_planted_weights() -> None:
    predicted = normal(3, 4000, 2)
    planted = torch.tensor([[0.8, 0.1], [0.3, 0.1], [-0.2, 0.7]]).double()
    targets = joined(predicted, planted, torch.tensor([1.0, -1.0])) + 0.1 * normal(4000, 2, seed=1)

    weights, bias, _ = stacked(predicted, targets)

    torch.testing.assert_close(weights, planted, atol=0.02, rtol=0)
    torch.testing.assert_close(bias, torch.tensor([1.0, -1.0]).double(), atol=0.02, rtol=0)


def test_a_stack_of_numbers_is_ridge_regression_around_the_mean() -> None:
    """Parity: scikit-learn's Ridge on what the mean leaves, with a column of ones."""
    predicted, targets = normal(2, 50, 1), normal(50, 1, seed=3)

    weights, bias, strength = stacked(predicted, targets)

    columns = np.concatenate([predicted[:, :, 0].T.numpy(), np.ones((50, 1))], 1)
    left = (targets[:, 0] - predicted[:, :, 0].mean(0)).numpy()
    peer = Ridge(alpha=strength * 50, fit_intercept=False).fit(columns, left)
    found = [*(weights[:, 0] - 0.5).tolist(), bias.item()]
    assert found == pytest.approx(peer.coef_.tolist(), abs=1e-9)


def test_a_stack_learned_from_few_samples_of_noise_stays_near_the_mean() -> None:
    logs = (normal(4, 40, 5) * 2).log_softmax(-1)
    targets = torch.arange(40) % 5

    weights, _, _ = stacked(logs, targets)

    assert (weights - 0.25).abs().max() < 0.1
