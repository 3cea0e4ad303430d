"""What two nets' last blocks look at: against a computation by hand, and nothing else changes."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from zafu.nets.attending import Attentive, Seen, apart, watched
from zafu.nets.decoder import Decoder
from zafu.nets.decoder import Shape as Text
from zafu.nets.vit import Shape as Picture
from zafu.nets.vit import ViT

TOKENS = torch.arange(14).view(2, 7) * 5 % 11
PIXELS = torch.linspace(-1, 1, 128).view(2, 1, 8, 8)


def decoder(heads: int = 4, kv_heads: int = 2, end: int | None = None, seed: int = 0) -> Decoder:
    torch.manual_seed(seed)
    sizes: dict[str, Any] = {
        "width": 8 * heads,
        "layers": 2,
        "heads": heads,
        "kv_heads": kv_heads,
        "hidden": 16,
    }
    net = Decoder(Text(vocab=11, context=8, qk_norm=True, end=end, **sizes))
    with torch.no_grad():
        for weight in net.parameters():
            weight.mul_(5) if weight.dim() > 1 else None
    return net


def vit(heads: int = 2, seed: int = 0) -> ViT:
    torch.manual_seed(seed)
    sizes: dict[str, Any] = {
        "patch": 4,
        "width": 8 * heads,
        "layers": 2,
        "heads": heads,
        "hidden": 16,
    }
    net = ViT(Picture(channels=1, picture=(8, 8), outputs=3, **sizes))
    with torch.no_grad():
        for weight in net.parameters():
            weight.mul_(20) if weight.dim() > 1 else None
    return net


def seen(net: nn.Module, inputs: Tensor) -> Seen:
    found = list[Seen]()
    assert isinstance(net, Attentive)
    with watched(net, found):
        net(inputs)
    return found[-1]


def plain(of: Seen) -> Seen:
    return Seen(of.queries.detach(), of.keys.detach(), of.values.detach(), of.mask)


def kl(of: Tensor, to: Tensor) -> float:
    """Of two lists of probabilities, term by term."""
    pairs = zip(of.tolist(), to.tolist(), strict=True)
    return sum(p * math.log(p / q) for p, q in pairs if p > 0)


@pytest.mark.parametrize("end", [None, 5])
def test_a_decoders_maps_are_those_by_hand(end: int | None) -> None:
    """Softmax over each query's allowed keys; heads of the student averaged in pairs."""
    nets = decoder(4, 2, end), decoder(2, 1, end, seed=1)
    own, theirs = (plain(seen(net, TOKENS)) for net in nets)

    found = apart(own, theirs)

    sample, query = 1, 6
    tokens = TOKENS[sample].tolist()
    begin = max([i for i in range(query + 1) if tokens[i] == end], default=0)
    allowed = slice(begin, query + 1)

    def look(left: Tensor, right: Tensor) -> Tensor:
        return (left[query] @ right[allowed].T / math.sqrt(left.shape[-1])).softmax(-1)

    ours = [look(own.queries[sample, h], own.keys[sample, h // 2]) for h in range(4)]
    others = [look(theirs.queries[sample, h], theirs.keys[sample, 0]) for h in range(2)]
    maps = [kl(others[h], (ours[2 * h] + ours[2 * h + 1]) / 2) for h in range(2)]
    joined = own.values[sample].transpose(0, 1).flatten(1)
    value = theirs.values[sample, 0]
    relation = kl(look(value, value), look(joined, joined))
    assert begin == (0 if end is None else 5)
    assert float(found[sample, query]) == pytest.approx(sum(maps) / 2 + relation, rel=1e-4)


def test_a_vits_maps_look_everywhere() -> None:
    own, theirs = (plain(seen(net, PIXELS)) for net in (vit(2), vit(2, seed=1)))

    found = apart(own, theirs)

    def looks(queries: Tensor, keys: Tensor) -> Tensor:
        return (queries @ keys.transpose(-1, -2) / math.sqrt(8)).softmax(-1)

    pairs = [
        (looks(own.queries, own.keys), looks(theirs.queries, theirs.keys)),
        (looks(own.values, own.values), looks(theirs.values, theirs.values)),
    ]
    each = [functional.kl_div(a.log(), b, reduction="none").sum(-1).mean(1) for a, b in pairs]
    torch.testing.assert_close(found, each[0] + each[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("net", [decoder(), vit()], ids=["decoder", "vit"])
def test_a_twin_is_not_apart_and_another_is(net: nn.Module) -> None:
    inputs, other = (TOKENS, decoder(seed=1)) if isinstance(net, Decoder) else (PIXELS, vit(seed=1))

    one, twin, another = (plain(seen(n, inputs)) for n in (net, net, other))

    same, different = apart(one, twin), apart(one, another)

    assert float(same.abs().max()) == 0
    assert float(different.min()) > -1e-6
    assert float(different.mean()) > 1e-2


@pytest.mark.parametrize("recompute", [False, True])
def test_watching_changes_no_bit_and_gradients_reach_what_is_seen(recompute: bool) -> None:
    net, teacher = decoder(), plain(seen(decoder(seed=1), TOKENS))
    expected = net(TOKENS)
    attend = net.last_attention().attend
    net.recompute = recompute

    found = list[Seen]()
    with watched(net, found):
        logits = net(TOKENS)
    apart(found[0], teacher).sum().backward()

    assert torch.equal(logits, expected)
    assert net.last_attention().attend is attend
    assert net.model.layers[0].mlp.down_proj.weight.grad is not None  # pyright: ignore
    assert net.last_attention().o_proj.weight.grad is None  # which comes behind
    if recompute:
        again = decoder()
        apart(seen(again, TOKENS), teacher).sum().backward()
        for name, weight in again.named_parameters():
            other = net.get_parameter(name).grad
            assert (weight.grad is None) == (other is None)
            assert weight.grad is None or torch.equal(weight.grad, other)  # pyright: ignore
