"""Drafts change how fast a text is written, and nothing of what is written."""

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zafu.nets.decoder import Decoder, Shape
from zafu.nets.sampling import Choice, sample, shares
from zafu.nets.speculative import Drafted

GREEDY = Choice(temperature=0)


def net(seed: int, *, context: int = 16, layers: int = 2, vocab: int = 31) -> Decoder:
    torch.manual_seed(seed)
    sizes = {"width": 32, "heads": 4, "kv_heads": 2, "hidden": 64}
    module = Decoder(Shape(vocab=vocab, context=context, layers=layers, **sizes))
    with torch.no_grad():
        for weight in module.parameters():
            weight.mul_(8) if weight.dim() > 1 else None
    return module.eval()


MODULE = net(0)


@settings(deadline=None, max_examples=8)
@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=20),
    st.sampled_from([net(0), net(1, context=12, layers=1), net(2, context=40)]),
    st.integers(1, 6),
)
def test_likeliest_tokens_are_those_of_the_model_alone(
    prompt: list[int], draft: Decoder, ahead: int
) -> None:
    """Also where the window moves, and with a draft whose window is another."""
    tokens = torch.tensor(prompt)

    found = list(Drafted(MODULE, draft, ahead).sample(tokens, length=30, choice=GREEDY))

    assert found == list(sample(MODULE, tokens, length=30, choice=GREEDY))


def test_a_draft_that_is_the_model_is_always_right() -> None:
    drafted = Drafted(MODULE, net(0))

    tokens = list(drafted.sample(torch.tensor([1]), length=60, choice=GREEDY))

    assert len(tokens) == 60
    assert drafted.stayed == drafted.drafted > 0


@pytest.mark.parametrize("choice", [Choice(temperature=1.5), Choice(top_k=3, top_p=0.9)], ids=str)
def test_drawn_tokens_are_distributed_as_those_of_the_model_alone(choice: Choice) -> None:
    """Chi-square of pairs of tokens against their exact probabilities, at one in ten thousand."""
    module, draft = net(3, layers=1, vocab=4), net(4, layers=1, vocab=4)
    prompt, generator = torch.tensor([1]), torch.Generator().manual_seed(0)
    with torch.no_grad():
        first = shares(module(prompt[None])[0, -1], choice)
        both = [shares(module(torch.tensor([[1, i]]))[0, -1], choice) for i in range(4)]
    exact = {(i, j): float(first[i] * both[i][j]) for i in range(4) for j in range(4)}
    drafted, draws = Drafted(module, draft, 2), 600

    found = Counter(
        tuple(drafted.sample(prompt, length=2, choice=choice, generator=generator))
        for _ in range(draws)
    )

    assert 0 < drafted.stayed < drafted.drafted  # else nothing is tried
    assert all(exact[pair] > 0 for pair in found)
    seen = [(found[pair], p * draws) for pair, p in exact.items() if p > 0]
    square = sum((a - e) ** 2 / e for a, e in seen)
    assert square < 44.3  # the 1 - 1e-4 quantile of chi-square at 15 degrees of freedom


def test_shares_are_what_tokens_are_chosen_with() -> None:
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0])

    found = shares(logits, Choice(top_k=3, top_p=0.8))

    kept = logits[:2].softmax(-1)  # of three, two reach 0.8 of their sum
    torch.testing.assert_close(found, torch.cat([kept, torch.zeros(2)]))
    assert shares(logits, GREEDY).tolist() == [1, 0, 0, 0]
