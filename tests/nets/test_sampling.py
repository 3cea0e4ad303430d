"""Continuing a text: the same with a cache as without, and within the limits that are set."""

from itertools import islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from zafu.nets.decoder import Decoder, Shape
from zafu.nets.sampling import Choice, choose, sample, window_start, written

greedy = Choice(temperature=0)


class Uncached:
    """The same decoder for callers that know nothing of its cache."""

    def __init__(self, module: Decoder) -> None:
        self.module, self.context = module, module.context
        self.longest = 0

    def __call__(self, tokens: Tensor) -> Tensor:
        """Logits of the whole window."""
        self.longest = max(self.longest, tokens.shape[1])
        return self.module(tokens)


def net(context: int) -> Decoder:
    """A small decoder whose greedy continuations wander."""
    torch.manual_seed(0)
    shape = Shape(vocab=31, context=context, width=32, layers=2, heads=4, kv_heads=2, hidden=64)
    module = Decoder(shape)
    with torch.no_grad():
        for weight in module.parameters():
            weight.mul_(8) if weight.dim() > 1 else None
    return module.eval()


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 12), st.lists(st.integers(0, 30), min_size=1, max_size=20))
def test_greedy_continuations_are_equal_with_and_without_a_cache(
    context: int, prompt: list[int]
) -> None:
    module = net(context)
    plain = Uncached(module)

    cached = list(sample(module, torch.tensor(prompt), length=20, choice=greedy))
    uncached = list(sample(plain, torch.tensor(prompt), length=20, choice=greedy))

    assert cached == uncached
    assert len(cached) == 20
    assert plain.longest <= context


def test_the_continuation_is_not_one_token_over_and_over() -> None:
    tokens = list(sample(net(16), torch.tensor([1]), length=40, choice=greedy))

    assert len(set(tokens)) > 5  # else the equality above would prove little


@given(st.integers(1, 200), st.integers(1, 64))
def test_a_window_ends_with_the_last_token_and_is_at_least_half_full(
    tokens: int, context: int
) -> None:
    start = window_start(tokens, context)

    assert 1 <= tokens - start <= context
    assert start == 0 or tokens - start > context - max(1, context // 2)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 999), st.integers(1, 12), st.floats(0.05, 1.0))
def test_only_the_likeliest_tokens_are_drawn(seed: int, top_k: int, top_p: float) -> None:
    torch.manual_seed(seed)
    logits = torch.randn(12)
    shares, order = logits.softmax(-1).sort(descending=True)
    kept = shares[:top_k] / shares[:top_k].sum()
    nucleus = 1 + int((kept.cumsum(0) < top_p - 1e-6).sum())
    allowed = set(order[: min(top_k, nucleus)].tolist())

    choice = Choice(top_k=top_k, top_p=top_p)
    drawn = {int(choose(logits, choice)) for _ in range(50)}

    assert drawn <= allowed


def test_draws_follow_the_softmax_at_this_temperature() -> None:
    logits = torch.tensor([0.0, 1.0, 2.0])
    generator = torch.Generator().manual_seed(0)

    draws = torch.cat([choose(logits, Choice(temperature=2.0), generator) for _ in range(4000)])

    # standard error of a share: at most sqrt(0.25 / 4000) = 0.008; four of them
    expected = (logits / 2).softmax(-1)
    torch.testing.assert_close(draws.bincount() / 4000, expected, rtol=0, atol=0.032)


def test_one_generator_seed_gives_one_text() -> None:
    module = net(8)

    texts = []
    for seed in (5, 5, 6):
        generator = torch.Generator().manual_seed(seed)
        texts.append(list(sample(module, torch.tensor([3]), length=30, generator=generator)))

    assert texts[0] == texts[1] != texts[2]


def test_tokens_come_one_by_one() -> None:
    endless = sample(net(8), torch.tensor([3]), length=10**12, choice=greedy)

    assert len(list(islice(endless, 3))) == 3


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"temperature": -1.0}, ">= 0"), ({"top_k": 0}, ">= 1"), ({"top_p": 0.0}, "0 < top_p <= 1")],
)
def test_limits_outside_their_range_are_refused(settings: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Choice(**settings)


def test_an_empty_prompt_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one token"):
        next(sample(net(8), torch.tensor([], dtype=torch.int64), length=1))


def test_texts_are_a_function_of_their_numbers_whoever_is_beside_them() -> None:
    module = net(16)
    prompts = torch.arange(12).view(3, 4) % 31
    drawn = torch.rand(3, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    together = written(module, prompts, drawn)
    alone = torch.cat([written(module, prompts[i : i + 1], drawn[i : i + 1]) for i in range(3)])
    uncached = written(Uncached(module), prompts, drawn)

    assert together.shape == (3, 12)
    assert torch.equal(together, alone)
    assert torch.equal(together, uncached)
    assert not torch.equal(together, written(module, prompts, drawn.flip(0)))


def test_tokens_come_as_often_as_they_are_likely() -> None:
    """Evenly spread numbers give each token its share of the distribution."""
    module, prompt, count = net(8), torch.tensor([[3, 5]]), 4096
    drawn = (torch.arange(count, dtype=torch.float64)[:, None] + 0.5) / count

    found = written(module, prompt.expand(count, 2), drawn)[:, 0].bincount(minlength=31) / count

    shares = module(prompt)[0, -1].softmax(-1)
    torch.testing.assert_close(found, shares.detach(), rtol=0, atol=1.5 / count)
