"""Attention in parts is attention: what some keys answer, merged, and their gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from zafu.nets.decoder import attend
from zafu.parallel import ring
from zafu.parallel.ring import Attended, Known, attended, gradients, merge


def drawn(seed: int, queries: int, keys: int, *, heads: int = 4, kv: int = 2) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    sizes = [(heads, queries), (kv, keys), (kv, keys)]
    return [torch.randn(2, h, n, 8, generator=generator, dtype=torch.float64) for h, n in sizes]


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**16),
    queries=st.integers(1, 9),
    sizes=st.lists(st.integers(1, 7), min_size=1, max_size=5),
    loud=st.sampled_from([1.0, 30.0, 1000.0]),
)
def test_keys_may_come_in_any_parts(seed: int, queries: int, sizes: list[int], loud: float) -> None:
    """Parity with softmax attention; scores of thousands overflow nothing."""
    q, k, v = drawn(seed, queries, sum(sizes))
    q = (q * loud).float()
    k, v = k.float(), v.float()

    found: Attended | None = None
    for keys, values in zip(k.split(sizes, 2), v.split(sizes, 2), strict=True):
        part = attended(q, keys, values, causal=False)
        found = part if found is None else merge(found, part)

    assert found is not None
    shares = (q.double() @ k.double().repeat_interleave(2, 1).mT / 8**0.5).softmax(-1)
    expected = shares @ v.double().repeat_interleave(2, 1)
    scale = 1e-6 * loud  # a score is rounded in float32, and its error is exponentiated
    torch.testing.assert_close(found.out.double(), expected, rtol=scale, atol=5 * scale)


@pytest.mark.parametrize("rows", [3, 512])
def test_causal_attention_and_its_gradients_are_those_of_torch(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parity, also where queries come in several tiles."""
    monkeypatch.setattr(ring, "ROWS", rows)
    q, k, v = (x.float().requires_grad_() for x in drawn(0, 11, 11))
    expected = attend(q, k, v, None)
    given_back = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, (q, k, v), given_back)

    found = attended(q.detach(), k.detach(), v.detach(), causal=True)
    known = Known(q.detach(), found.weight, given_back, (given_back * found.out).sum(-1))
    grads = gradients(known, k.detach(), v.detach(), causal=True)

    torch.testing.assert_close(found.out, expected)
    for name, ours, theirs in zip("qkv", grads, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, msg=name)
